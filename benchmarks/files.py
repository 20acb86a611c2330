"""What is served: seeded random files, made once in a run, and plans that name them."""

from __future__ import annotations

import hashlib
import random
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from contest import File
from skystage import plan
from skystage.model import Asset, Granule, Query, Receipt, Source
from skystage.sandbox import kaguya, kaguya_labels
from skystage.store import Store

MB = 1_000_000
AT_ONCE = 10 * MB


def make(directory: Path, prefix: str, count: int, size: int) -> dict[str, tuple[int, str]]:
    """Write `count` files of `size` random bytes; their names, sizes and digests."""
    directory.mkdir(parents=True, exist_ok=True)
    made = {}
    for number in range(count):
        name = f"{prefix}-{number:05}.bin"
        source = random.Random(f"{name} {size}")  # noqa: S311 - the same for all runs
        taken = hashlib.sha256()
        with (directory / name).open("wb") as file:
            for start in range(0, size, AT_ONCE):
                block = source.randbytes(min(AT_ONCE, size - start))
                file.write(block)
                taken.update(block)
        made[name] = (size, taken.hexdigest())
    return made


def make_labels(directory: Path, prefix: str, count: int) -> dict[str, tuple[int, str]]:
    """Write `count` labels in PVL, of about 7 kB, as the sandbox has them; their names, sizes and digests."""
    directory.mkdir(parents=True, exist_ok=True)
    scenes, made = kaguya.scenes(), {}
    for number in range(count):
        name = f"{prefix}-{number:05}.caminfo.pvl"
        content = kaguya_labels.caminfo(scenes[number % len(scenes)])
        (directory / name).write_bytes(content)
        made[name] = (len(content), hashlib.sha256(content).hexdigest())
    return made


def at(base: str, made: dict[str, tuple[int, str]], auth: str | None = None) -> list[File]:
    """The files below the address `base`."""
    return [
        File(name=name, url=f"{base}/{name}", size=size, sha256=digest, auth=auth)
        for name, (size, digest) in made.items()
    ]


def make_zip(path: Path, bands: int, band: int, member: int) -> tuple[str, bytes]:
    """Write a zip like that of a Sentinel-2 product, its members stored: path and bytes of a small one.

    Parameters
    ----------
    bands, band
        How many large members, and their size in bytes.
    member
        The size of the small one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    source = random.Random(path.name)  # noqa: S311 - the same for all runs
    wanted = "S2.SAFE/GRANULE/IMG_DATA/R20m/SCL_20m.bin"
    content = source.randbytes(member)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for number in range(bands):
            file.writestr(f"S2.SAFE/GRANULE/IMG_DATA/R10m/B{number:02}.bin", source.randbytes(band))
            if number == bands // 2:
                file.writestr(wanted, content)
        for number in range(90):
            file.writestr(f"S2.SAFE/DATASTRIP/QI_DATA/{number:03}.xml", source.randbytes(5000))
    return wanted, content


def stage(root: Path, base: str, count: int) -> tuple[Path, Path, list[File]]:
    """A plan of `count` small files below the address `base`, and a store in which all are staged."""
    content = b"staged"
    identity = (len(content), hashlib.sha256(content).hexdigest())
    staged = at(base, {f"S1A_IW_SLC__1SDV_{number:06}.zip": identity for number in range(count)})
    made = write_plan(root / "plan.ndjson", staged, SAID)
    store = Store(root / "store")
    receipts = []
    for asset in plan.Plan(made).assets():
        path = store.path(asset)
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        receipts.append(
            Receipt(
                path=asset.path,
                size=len(content),
                mtime_ns=path.stat().st_mtime_ns,
                digests={"sha256": identity[1]},
                verified="size+structure",
                source=asset.sources[0].href,
                staged=datetime.now(UTC),
            )
        )
    store.record(receipts)
    return made, store.root, staged


SAID = dict.fromkeys((f"property{number:02}" for number in range(18)), "as long as what archives say of it")
"""Properties that make a line of a plan as long as a Sentinel-1 granule's: 1.3 kB."""


def write_plan(path: Path, files: Sequence[File], properties: Mapping[str, str] | None = None) -> Path:
    """A plan of these files, each a granule of its own."""
    granules = []
    for file in files:
        name = Path(file.name).stem
        source = Source(href=file.url, auth=file.auth, member=file.member)
        asset = Asset(key="data", path=f"bench/B/{name}/{file.name}", size=file.size, sources=(source,))
        granules.append(
            Granule(
                archive="bench",
                collection="B",
                id=name,
                native_id=name,
                properties=properties or {},
                assets=(asset,),
            )
        )
    count = len(granules)
    plan.write(
        path,
        query=Query(archive="bench"),
        granules=sorted(granules, key=lambda one: one.id),
        hits=count,
        received=count,
    )
    return path
