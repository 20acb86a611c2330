"""The fault bench, for the tests in this folder."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from skystage.sandbox import Sandbox


def _load(name: str) -> ModuleType:
    # Tests are collected by path: what they share is loaded by path, too.
    spec = importlib.util.spec_from_file_location(f"skystage_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def table() -> ModuleType:
    """The module `bench`."""
    return _load("bench")


@pytest.fixture(scope="session")
def small_box() -> Iterator[Sandbox]:
    """A sandbox of small files, for all cases of this worker."""
    with Sandbox(payload_size=16_384) as box:
        yield box


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where the machine has one: thousands of stores are made and thrown away."""
    shared = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


@pytest.fixture
def bench(table: ModuleType, small_box: Sandbox, memory: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """A bench that is led into the sandbox, with waits cut short."""
    for name, value in small_box.environ.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    table.hurry(monkeypatch)
    return table.Bench(small_box, memory)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own of 2 MB; root alone can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip("no small file system can be mounted here (not root)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
