"""What bytes are: digests taken while they stream, magic numbers at their start, structure at their end."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from skystage.errors import ChecksumMismatch, SizeMismatch, StructureError, WrongBody

if TYPE_CHECKING:
    from skystage.model import Asset
    from skystage.planfile import Entry

Buffer: TypeAlias = bytes | bytearray | memoryview

BLOCK = 1 << 20
STRUCTURE = "size+structure"
"""The proof of a file that no checksum is known of."""
FITS_CHECKSUM = "fits-checksum"
"""The same of a FITS file that has a checksum of its own in each header."""

ALGORITHMS = ("blake3", "sha256", "sha3-256", "sha512", "sha1", "md5")
"""Checksum algorithms to prove an asset by, in the order of preference: all are strong enough against
accidents, and BLAKE3 costs a sixth of MD5."""


class Hash(Protocol):
    """What hashlib and blake3 agree on."""

    def update(self, data: Buffer, /) -> object:
        """Take more bytes."""

    def hexdigest(self) -> str:
        """The digest so far."""


def _new(algorithm: str) -> Hash | None:
    if algorithm == "blake3":
        # Six times cheaper than MD5 where the optional package is there; not needed otherwise,
        # because archives that give BLAKE3 give MD5 beside it.
        try:
            from blake3 import blake3
        except ImportError:
            return None
        return blake3()
    name = algorithm.replace("-", "_")
    return hashlib.new(name, usedforsecurity=False) if name in hashlib.algorithms_available else None


def strongest(checksums: Mapping[str, str]) -> str | None:
    """The algorithm to prove an asset by, of those that the archive gives and this machine can take."""
    for algorithm in ALGORITHMS:
        if checksums.get(algorithm) and _new(algorithm) is not None:
            return algorithm
    return None


class Digester:
    """Takes the digests that a receipt needs: ``sha256``, and what the archive gives to compare with."""

    def __init__(self, checksums: Mapping[str, str]) -> None:
        self.proof = strongest(checksums)
        self._hashes = {"sha256": hashlib.sha256()}
        if self.proof is not None and self.proof != "sha256":
            chosen = _new(self.proof)
            self._hashes[self.proof] = chosen  # type: ignore[assignment]

    def update(self, data: Buffer) -> None:
        """Take more bytes."""
        for taken in self._hashes.values():
            taken.update(data)

    def update_from(self, path: Path) -> None:
        """Take the bytes of a file."""
        for block in blocks(path):
            self.update(block)

    def digests(self) -> dict[str, str]:
        """Algorithm to hex digest of everything taken so far."""
        return {name: taken.hexdigest() for name, taken in self._hashes.items()}


def digest_file(path: Path, checksums: Mapping[str, str]) -> dict[str, str]:
    """The digests of a file, as `Digester` takes them."""
    digester = Digester(checksums)
    digester.update_from(path)
    return digester.digests()


def prove(asset: Asset | Entry, path: Path, digests: Mapping[str, str]) -> str:
    """Compare a whole file with what the plan says of it; name the proof.

    Parameters
    ----------
    asset
        What the plan expects.
    path
        The file, wherever it lies.
    digests
        Its digests, already taken.

    Returns
    -------
    The algorithm of the checksum that agrees; where the archive gives none, what `check_structure` says.

    Raises
    ------
    SizeMismatch, ChecksumMismatch, StructureError
        If the file is not what the plan says.
    """
    size = path.stat().st_size
    if asset.size is not None and size != asset.size:
        raise SizeMismatch(
            f"{asset.path}: {size:,} bytes, the plan says {asset.size:,}",
            hint="the archive may have reprocessed it: make the plan again, and compare with plan-diff",
        )
    algorithm = strongest(asset.checksums)
    if algorithm is not None and algorithm in digests:
        expected = asset.checksums[algorithm].lower()
        if digests[algorithm] != expected:
            raise ChecksumMismatch(
                f"{asset.path}: {algorithm} {digests[algorithm]}, the plan says {expected}",
                hint="the archive may have reprocessed it: make the plan again, and compare with plan-diff",
            )
        return algorithm
    return check_structure(asset, path)


# --------------------------------------------------------------------------------------------------
# The first bytes: is this a file of the kind that was promised?

_MAGIC: Mapping[str, tuple[bytes, ...]] = {
    ".zip": (b"PK\x03\x04", b"PK\x05\x06"),
    ".tif": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    ".tiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    ".fits": (b"SIMPLE  =",),
    ".fz": (b"SIMPLE  =",),
    ".h5": (b"\x89HDF\r\n\x1a\n",),
    ".nc": (b"\x89HDF\r\n\x1a\n", b"CDF"),
    ".gz": (b"\x1f\x8b",),
    ".jp2": (b"\0\0\0\x0cjP  ", b"\xffO\xffQ"),
    ".png": (b"\x89PNG",),
    ".jpg": (b"\xff\xd8\xff",),
}
_XML = (".xml", ".eof", ".safe", ".kml")
_PAGES = (".html", ".htm")


def check_start(asset: Asset, start: bytes) -> None:
    """Refuse a page where data was promised, by the first bytes of the body.

    Raises
    ------
    WrongBody
        With what arrived instead.
    """
    suffix = Path(asset.name).suffix.lower()
    text = start[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if suffix not in _PAGES and (text.startswith((b"<!doctype html", b"<html")) or b"<html" in text):
        raise WrongBody(
            f"{asset.path}: an HTML page arrived instead of the file",
            hint="often a log-in, licence or maintenance page: run `skystage doctor`",
        )
    if text.startswith(b"<") and b"<error>" in text and b"<code>" in text:
        raise WrongBody(f"{asset.path}: an error document arrived instead of the file")
    if suffix in _XML:
        if not text.startswith(b"<"):
            raise WrongBody(f"{asset.path}: not XML: it begins with {start[:16]!r}")
        return
    expected = _MAGIC.get(suffix)
    if expected is not None and start and not start.startswith(expected):
        raise WrongBody(f"{asset.path}: not a {suffix} file: it begins with {start[:16]!r}")


# --------------------------------------------------------------------------------------------------
# The whole file: is it all there, as far as its own format can say?


def check_structure(asset: Asset | Entry, path: Path) -> str:
    """Check that a file is a whole one of its kind, where no checksum of the archive can say so.

    Zip: the directory, and the CRC-32 of every member. FITS: each HDU is as long as its header says, nothing
    follows, and ``CHECKSUM`` and ``DATASUM`` agree where they are given (`skystage.fitsfile`). Gzip: length
    and CRC-32; FITS in it is looked at as well. TIFF: the first directory lies inside. XML: well-formed. Any
    other file: not empty.

    Returns
    -------
    The proof: `FITS_CHECKSUM` if each HDU has a ``CHECKSUM``, else `STRUCTURE`.

    Raises
    ------
    StructureError
        With what is missing.
    """
    proof = STRUCTURE
    suffix = Path(asset.path).suffix.lower()
    size = path.stat().st_size
    problem: str | None = None
    if size == 0:
        problem = "it is empty"
    elif suffix == ".zip":
        problem = _zip_problem(path)
    elif suffix in (".fits", ".fz", ".gz"):
        proof, problem = _read_through(asset.path, path)
    elif suffix in (".tif", ".tiff"):
        problem = _tiff_problem(path, size)
    elif suffix in _XML:
        problem = _xml_problem(path)
    if problem is not None:
        raise StructureError(f"{asset.path}: not a whole {suffix or 'file'}: {problem}")
    return proof


def _read_through(name: str, path: Path) -> tuple[str, str | None]:
    """Read FITS, or what is in a gzip, to its end: the proof, and what is wrong."""
    import gzip
    import zlib

    # Here, and not above: to compile its patterns costs the light paths a tenth of what they take.
    from skystage import fitsfile

    packed = name.lower().endswith(".gz")
    proof = STRUCTURE
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            if fitsfile.is_fits(name) and fitsfile.check(file):
                proof = FITS_CHECKSUM
            while file.read(BLOCK):
                pass
    except (OSError, EOFError, ValueError, zlib.error) as error:
        return proof, str(error)
    return proof, None


def _zip_problem(path: Path) -> str | None:
    from zipfile import ZipFile

    try:
        with ZipFile(path) as file:
            damaged = file.testzip()
    except (NotImplementedError, RuntimeError):
        return None  # encrypted, or packed by a method that Python does not know: its directory is whole
    except Exception as error:  # noqa: BLE001 - each of the decoders has errors of its own
        return str(error)
    return None if damaged is None else f"its member {damaged!r} is damaged"


def _tiff_problem(path: Path, size: int) -> str | None:
    with path.open("rb") as file:
        head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    if len(head) < 16:
        return "its header is cut"
    big = struct.unpack(f"{order}H", head[2:4])[0] == 43  # the version of BigTIFF
    first = struct.unpack(f"{order}Q", head[8:16])[0] if big else struct.unpack(f"{order}I", head[4:8])[0]
    return None if 8 <= first < size else "its first directory lies beyond its end"


def _xml_problem(path: Path) -> str | None:
    # expat directly: no tree is built, and no external entity is ever opened.
    from xml.parsers import expat

    parser = expat.ParserCreate()
    try:
        for block in blocks(path):
            parser.Parse(block, False)  # noqa: FBT003
        parser.Parse(b"", True)  # noqa: FBT003
    except (expat.ExpatError, LookupError, ValueError) as error:  # the latter two: of an unknown encoding
        return f"it is not well-formed: {error}"
    return None


def blocks(path: Path) -> Iterable[memoryview]:
    """The bytes of a file, in one buffer: each block is void when the next is asked for."""
    buffer = bytearray(BLOCK)
    view = memoryview(buffer)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while count := os.readv(fd, [buffer]):
            yield view[:count]
    finally:
        os.close(fd)
