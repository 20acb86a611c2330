"""SAFE products: what their name proves of their manifest, and their manifest of every file in them.

The last four digits of a Sentinel-1 product's name are the CRC-16 of its ``manifest.safe`` (Sentinel-1
Product Specification, S1-RS-MDA-52-7441), and the manifest holds size and MD5 of all other files. So whoever
knows the name can tell whether a zip holds that product, however it was packed and by whom.
"""

from __future__ import annotations

import binascii
import hashlib
import os
import re
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zipfile import BadZipFile, ZipFile

from skystage.errors import ChecksumMismatch, SizeMismatch, StructureError
from skystage.staged import MANIFEST as BY_MANIFEST
from skystage.verify import prove

if TYPE_CHECKING:
    from skystage.model import Asset
    from skystage.planfile import Entry

MANIFEST = "manifest.safe"
_NAME = re.compile(r"S1[A-D]_\w{2}_\w{4}_\w{4}_\d{8}T\d{6}_\d{8}T\d{6}_\d{6}_\w{6}_(?P<crc>[0-9A-F]{4})")
_BLOCK = 1 << 20


class Listed(NamedTuple):
    """A file of a product, as its manifest describes it."""

    path: str
    """Below the product's folder."""
    size: int
    algorithm: str
    digest: str


def stem(name: str) -> str:
    """The product's name without ``.zip``, ``.SAFE`` or both."""
    return name.removesuffix(".zip").removesuffix(".SAFE")


def names_its_manifest(name: str) -> bool:
    """Whether a product of that name can be proved by it: those of Sentinel-1."""
    return _NAME.fullmatch(stem(name)) is not None


def manifest_crc(manifest: bytes) -> str:
    """The four digits that a Sentinel-1 product with this manifest has in its name.

    CRC-16 with the polynomial 0x1021 and the initial value 0xFFFF.
    """
    return f"{binascii.crc_hqx(manifest, 0xFFFF):04X}"


def listed(manifest: bytes) -> list[Listed]:
    """The files that a manifest lists.

    Raises
    ------
    ValueError
        If it is no manifest.
    """
    try:
        root = ET.fromstring(manifest)  # noqa: S314 - expat of Python 3.11 bounds expansion
    except ET.ParseError as error:
        raise ValueError(f"its manifest is not XML: {error}") from None
    found = []
    for stream in root.iter("byteStream"):
        location, checksum = stream.find("fileLocation"), stream.find("checksum")
        if location is None or checksum is None:
            raise ValueError("its manifest lists a file without place or checksum")
        found.append(
            Listed(
                path=location.get("href", "").removeprefix("./").lstrip("/"),
                size=int(stream.get("size", "")),
                algorithm=checksum.get("checksumName", "").lower(),
                digest=(checksum.text or "").strip().lower(),
            )
        )
    if not found:
        raise ValueError("its manifest lists no file")
    return found


def prove_zip(path: Path, name: str, between: Callable[[], object] = lambda: None) -> None:
    """Prove that a zip holds the whole product of that name: name, manifest, and every file in it.

    Parameters
    ----------
    name
        The product's, with or without suffix.
    between
        Called now and then: the files of a scene are 8 GB to hash.

    Raises
    ------
    StructureError
        With the first thing that is not as the name, or the manifest, says.
    """
    match = _NAME.fullmatch(stem(name))
    if match is None:
        raise StructureError(f"{name}: its name does not prove what is in it")
    try:
        with ZipFile(path) as file:
            folder = f"{stem(name)}.SAFE"
            manifest = file.read(f"{folder}/{MANIFEST}")
            problem = None
            if not _ends_there(path, file):
                problem = "there are bytes behind its end"
            elif (crc := manifest_crc(manifest)) != match["crc"]:
                problem = f"its manifest has the CRC {crc}"
            for one in () if problem else listed(manifest):
                if not _is(file, f"{folder}/{one.path}", one, between):
                    problem = f"{one.path} is not the file that its manifest lists"
                    break
    except KeyError as error:
        problem = str(error.args[0])
    except (BadZipFile, OSError, EOFError, ValueError, NotImplementedError, zlib.error) as error:
        problem = str(error)
    if problem is not None:
        raise StructureError(f"{name}: {problem}")


def prove_packed(
    asset: Asset | Entry,
    path: Path,
    digests: Mapping[str, str],
    between: Callable[[], object] = lambda: None,
) -> str:
    """As `skystage.verify.prove`, but a Sentinel-1 product may be packed otherwise than the plan's.

    Returns
    -------
    The proof; ``manifest`` for another packing.

    Raises
    ------
    SizeMismatch, ChecksumMismatch, StructureError
        If the file is neither.
    """
    try:
        return prove(asset, path, digests)
    except (SizeMismatch, ChecksumMismatch):
        name = asset.path.rpartition("/")[2]
        if not (name.endswith(".zip") and names_its_manifest(name)):
            raise
        with suppress(StructureError):
            prove_zip(path, name, between)
            return BY_MANIFEST
        raise


def _ends_there(path: Path, file: ZipFile) -> bool:
    """Whether nothing was appended: readers of zips do not mind, but it is no longer what was zipped."""
    with path.open("rb") as whole:
        whole.seek(-22 - len(file.comment), os.SEEK_END)  # the record at the end of the directory
        return whole.read(4) == b"PK\x05\x06"


def _is(file: ZipFile, member: str, one: Listed, between: Callable[[], object]) -> bool:
    digest = hashlib.new(one.algorithm.replace("-", "_"), usedforsecurity=False)
    size = 0
    with file.open(member) as stream:
        while block := stream.read(_BLOCK):
            between()
            digest.update(block)
            size += len(block)
    return size == one.size and digest.hexdigest() == one.digest
