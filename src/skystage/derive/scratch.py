"""Where one process at a time makes what others may want as well."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skystage.locks import Lock
from skystage.staged import HOME


@contextmanager
def scratch(out: Path, stem: str) -> Iterator[Path]:
    """A folder to work in, beside what is made; nobody else makes the same meanwhile.

    What a killed process left there is gone, and nothing is left of it in the end.

    Parameters
    ----------
    out
        The folder of what is made; it is made as well.
    stem
        The name of what is made, as no two have it.
    """
    home = out / HOME
    home.mkdir(parents=True, exist_ok=True)
    with Lock(home / f"{stem}.lock"):
        work = home / f"{stem}.work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
