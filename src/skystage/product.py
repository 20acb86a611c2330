"""Parts of a product that is staged whole: they are taken out of its zip, without a request.

The zip of a granule lies in the granule's folder under the granule's name, and what else is in that folder
may be a file of it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from skystage.errors import NotFound, StructureError
from skystage.model import Asset
from skystage.parts import BLOCK
from skystage.store import Store

_BROKEN = (
    *(BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError),
    *(struct.error, zlib.error),
)
"""What zipfile says of a zip that it cannot read: RuntimeError of one that is encrypted, ValueError of names
that are no text."""


def beside(asset: Asset, store: Store) -> Path | None:
    """The staged product that an asset may be a file of; None if there is none."""
    folder = asset.path.rpartition("/")[0]
    path = f"{folder}/{folder.rpartition('/')[2]}.zip"
    # Whatever a plan says of its size: it was proved when it was staged, and the part is proved now.
    product = Asset(key="data", path=path)
    found = "/" in folder and path != asset.path and store.receipt(product) is not None
    return store.path(product) if found else None


def blocks(product: Path, name: str) -> Iterator[bytes]:
    """The one file of that name in a product, wherever it lies in it.

    Raises
    ------
    NotFound
        If there is not just one.
    StructureError
        If the zip cannot be read, or the file's CRC-32 is not as its directory says.
    """
    try:
        with ZipFile(product) as whole:
            found = [one for one in whole.namelist() if one.rpartition("/")[2] == name]
            if len(found) != 1:
                raise NotFound(f"{product.name}: has {len(found)} files named {name}")
            with whole.open(found[0]) as file:
                while block := file.read(BLOCK):
                    yield block
    except _BROKEN as error:
        raise StructureError(f"{product.name}: {name}: {error}") from error
