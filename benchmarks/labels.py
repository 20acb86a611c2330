"""Read labels as a plan does, and one value of each; what the benchmark of labels runs.

::

    python benchmarks/labels.py FILES CACHE
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from skystage import documents
from skystage.model import Asset, Source
from skystage.pvl import Label
from skystage.transport import Access

PATH = "Caminfo.Geometry.IncidenceAngle"


def main(wanted: Path, cache: str) -> None:
    """Read them all, and fail if one cannot be read."""
    os.environ["SKYSTAGE_CACHE"] = cache
    assets = [
        Asset(key="label", path=f"bench/B/{number}/{one['name']}", sources=(Source(href=one["url"]),))
        for number, one in enumerate(json.loads(wanted.read_bytes()))
    ]
    for asset, content in zip(assets, documents.read_all(assets, Access()), strict=True):
        if not isinstance(content, bytes):
            raise content
        value = Label(content, asset.name).value(PATH).value
        if not isinstance(value, float):
            sys.exit(f"{asset.path}: {value!r} is no angle")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
