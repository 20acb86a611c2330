"""A plan as a list for other download tools, for those who move bytes with them.

What they bring is not verified: let skystage check and take over the files afterwards. None of the
lists holds a credential.
"""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping

from skystage.direct import DIRECT
from skystage.model import Asset, Source
from skystage.s3 import EODATA, https_url
from skystage.staged import inside


def urls(assets: Iterable[Asset]) -> Iterator[str]:
    """One address a line: each asset's first source."""
    for _, addresses in _addressed(assets):
        yield addresses[0]


def curl(assets: Iterable[Asset]) -> Iterator[str]:
    """A shell script: resumes, makes directories, follows log-ins with the user's netrc."""
    yield "#!/bin/sh"
    yield "set -e"
    for asset, addresses in _addressed(assets):
        yield (
            "curl --fail --location --netrc-optional --cookie '' --continue-at - --retry 5 --create-dirs "
            f"--output {shlex.quote(inside(asset.path))} {shlex.quote(addresses[0])}"
        )


def aria2(assets: Iterable[Asset]) -> Iterator[str]:
    """An input file for ``aria2c --input-file``: mirrors on one line, the checksum it can check."""
    for asset, addresses in _addressed(assets):
        yield "\t".join(addresses)
        yield f"  out={inside(asset.path)}"
        for ours, theirs in (("sha256", "sha-256"), ("md5", "md5")):
            if ours in asset.checksums:
                yield f"  checksum={theirs}={asset.checksums[ours]}"
                break


def rclone(assets: Iterable[Asset]) -> Iterator[str]:
    """A CSV for ``rclone copyurl --urls``: address and file name."""
    for asset, addresses in _addressed(assets):
        row = io.StringIO()
        csv.writer(row, lineterminator="").writerow([addresses[0], inside(asset.path)])
        yield row.getvalue()


def _addressed(assets: Iterable[Asset]) -> Iterator[tuple[Asset, list[str]]]:
    """Each asset with its addresses, if it has any: only of its own bytes, which tools may join."""
    for asset in assets:
        plain = [https_url(one.href) for one in asset.sources if _plain(one)]
        if plain:
            yield asset, plain


def _plain(source: Source) -> bool:
    """Whether the file at a source is the asset, for whoever has no more than a log-in."""
    return source.repacked is None and source.member is None and source.auth not in (EODATA, *DIRECT)


FORMATS: Mapping[str, Callable[[Iterable[Asset]], Iterator[str]]] = {
    "aria2": aria2,
    "curl": curl,
    "rclone": rclone,
    "urls": urls,
}
