"""What the tests share: no network but loopback, state of their own, and the archives in a box."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from skystage import archives, retry
from skystage.limits import HostLimit, Limits
from skystage.model import Asset, Granule, Query, Receipt, from_iso
from skystage.resume import Part
from skystage.sandbox import Sandbox
from skystage.sandbox.buckets import Bucket
from skystage.store import Store
from skystage.transport import Access

ROOT = Path(__file__).resolve().parent.parent
SMALL = Asset(key="data", path="asf/C/g/f.bin", size=5)
RECORDINGS = Path(os.environ.get("SKYSTAGE_RECORDINGS", ROOT.parent / "shared" / "recordings"))


# A machine that is busy is no fault of what is tested.
settings.register_profile("skystage", deadline=None)
settings.load_profile("skystage")


def _patient(hook: object, settrace: Callable[[Any], None] = sys.settrace) -> None:
    while True:
        try:
            return settrace(hook)
        except RuntimeError:
            time.sleep(0.001)


# CPython 3.11 lets one thread at a time begin to be traced, and kills the other: no fault of what is tested.
sys.settrace = _patient


def _stay_at_home(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1]
        if isinstance(address, tuple) and not str(address[0]).startswith(("127.", "::1", "localhost")):
            raise RuntimeError(f"a test reached for the network: {address}")


sys.addaudithook(_stay_at_home)


@pytest.fixture(scope="session")
def recordings() -> Path:
    if not (RECORDINGS / "earth").is_dir():
        pytest.skip("the recorded catalogue is not on this machine (SKYSTAGE_RECORDINGS)")
    return RECORDINGS


@pytest.fixture(autouse=True)
def state_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SKYSTAGE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("SKYSTAGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SKYSTAGE_CONFIG", str(tmp_path / "no-config.yaml"))
    monkeypatch.delenv("SKYSTAGE_RECORDINGS", raising=False)


def _enter(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in box.environ.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)


@pytest.fixture
def open_box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Sandbox]]:
    """Open a sandbox with buckets and options of the test's own, and lead this process into it."""
    boxes: list[Sandbox] = []

    def enter(*buckets: Bucket, **options: object) -> Sandbox:
        box = Sandbox(**options)
        box._world.catalogue.buckets.update({bucket.name: bucket for bucket in buckets})
        box.__enter__()
        boxes.append(box)
        _enter(box, monkeypatch)
        return box

    yield enter
    for box in boxes:
        box.__exit__(None, None, None)


@pytest.fixture
def box(open_box: Callable[..., Sandbox]) -> Sandbox:
    """The sandbox with its built-in catalogue; this process and its children see the archives in it."""
    return open_box()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between tries are short, so that a test of five tries does not take a minute."""
    monkeypatch.setattr(retry, "FIRST", 0.01)


@pytest.fixture
def access() -> Iterator[Access]:
    made = Access()
    yield made
    made.close()


@pytest.fixture
def limited() -> Iterator[Callable[..., Access]]:
    """An access with limits of the test's own: ``limited({"host": 4})``."""
    made: list[Access] = []

    def limit(connections: dict[str, int]) -> Access:
        hosts = {host: HostLimit(connections=count) for host, count in connections.items()}
        made.append(Access(limits=Limits(hosts)))
        return made[-1]

    yield limit
    for one in made:
        one.close()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def slcs(box: Sandbox, access: Access) -> list[Granule]:
    """The built-in Sentinel-1 SLCs of path 35, as the archive gives them."""
    query = Query(archive="asf", criteria={"relative_orbit": [35], "processing_level": ["SLC"]})
    found = sorted(archives.get("asf").search(query, access), key=lambda granule: granule.id)
    box.clear()
    return found


@pytest.fixture
def five_scenes() -> dict[str, Any]:
    """A query that keeps five of them: three batches of two granules at most."""
    return {
        "archive": "asf",
        "start": "2018-01-01",
        "end": "2018-03-31",
        "processing_level": "SLC",
        "relative_orbit": 35,
        "filter": {"polarization": ["VV+VH"]},
    }


@pytest.fixture
def with_orbits(five_scenes: dict[str, Any]) -> dict[str, Any]:
    """The same with their orbits."""
    return {**five_scenes, "with": {"orbits": True}}


@pytest.fixture
def slc(slcs: list[Granule]) -> Asset:
    """One zip."""
    asset = slcs[0].asset("data")
    assert asset is not None
    return asset


@pytest.fixture
def staged() -> Callable[..., Receipt]:
    """Publish an asset's bytes as fetch does, without fetching: ``staged(store, asset, b"...")``."""

    def publish(store: Store, asset: Asset = SMALL, content: bytes = b"bytes") -> Receipt:
        part = store.part(asset)
        fd = part.restart(Part(validator="v", origin="https://h", total=len(content)), None)
        os.write(fd, content)
        os.close(fd)

        def receipt(found: os.stat_result) -> Receipt:
            return Receipt(
                path=asset.path,
                size=found.st_size,
                mtime_ns=found.st_mtime_ns,
                digests={"sha256": "s", "md5": "m"},
                verified="md5",
                source="https://h",
                staged=from_iso("2020-01-01T00:00:00"),
            )

        return store.publish(asset, part.path, part, receipt)

    return publish
