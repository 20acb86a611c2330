"""Staged archives (tar, zip) as folders of their files: no request, nothing outside of the folder.

An archive comes from somewhere else, and may be made to harm. Each member is looked at before a byte of it is
written: only files with names that stay inside, no devices, never more files and bytes than were allowed. A
link is written as the file that it leads to, if that is in the archive; so what lies there in the end are
files, and the same ones each time.

A folder appears when all is in it, and after it a receipt beside it, ``NAME.json``: the archive's sha256, and
that of every file. While they agree with what lies there, there is nothing to do.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import json
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from skystage.canon import canonical
from skystage.derive.outcome import Outcome
from skystage.derive.scratch import scratch
from skystage.errors import (
    Offline,
    PlanError,
    StructureError,
    TransferError,
)
from skystage.model import Asset
from skystage.plan import Plan
from skystage.planfile import Batch
from skystage.staged import inside
from skystage.store import Store
from skystage.verify import digest_file
from skystage.whole import publish

MOST_TIMES = 100
"""Times the archive's own size that its files may have together; gzip alone reaches 1,000 with zeros."""
MOST_FILES = 100_000
SMALL = 10 << 20
"""Bytes that any archive may have: small ones of text are packed better than others."""
_BLOCK = 1 << 20

_OPENERS: Mapping[str, Callable[[Path, str], Any]] = {
    ".tar": open,
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tar.xz": lzma.open,
}
SUFFIXES = (*_OPENERS, ".zip")
"""What an archive's name ends with, in any case."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an archive may hold.

    Attributes
    ----------
    times
        Of the archive's own size, in bytes together.
    files
        In number.
    """

    times: int = MOST_TIMES
    files: int = MOST_FILES


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What became of one archive.

    Attributes
    ----------
    asset
        Its path in the store.
    path
        The folder of its files.
    files
        How many there are.
    bytes
        Theirs together.
    already
        Whether they lay there already.
    """

    asset: str
    path: Path
    files: int
    bytes: int
    already: bool


def suffix(asset: Asset) -> str | None:
    """What says that an asset is an archive; None if nothing does."""
    name = asset.name.lower()
    return next((one for one in SUFFIXES if name.endswith(one) and name != one), None)


def unpack(
    plan: Plan,
    store: Store,
    out: Path,
    *,
    batch: Batch | None = None,
    keys: list[str] | None = None,
    limits: Limits | None = None,
) -> Outcome[Unpacked]:
    """Unpack the staged archives of a plan, each into ``OUT/ARCHIVE/COLLECTION/GRANULE/NAME`` without suffix.

    Parameters
    ----------
    out
        The folder; made if it is not there.
    keys
        Only assets of these keys; default: all.

    Raises
    ------
    PlanError
        If the plan has no archives, or two would be one folder.
    """
    limits = limits or Limits()
    chosen: dict[str, tuple[Asset, str]] = {}
    for asset in plan.chosen(batch, keys):
        if (kind := suffix(asset)) is None:
            continue
        folder = inside(asset.path[: -len(kind)])
        if folder in chosen:
            raise PlanError(
                f"{chosen[folder][0].path} and {asset.path} would both be {folder}",
                hint="choose one by --asset",
            )
        chosen[folder] = (asset, kind)
    outcome = Outcome[Unpacked]()
    outcome.failures.update(plan.lacking(batch, keys))
    if not chosen and not outcome.failures and batch is None:
        raise PlanError(f"{plan.path}: has no archives", hint=f"they end with {', '.join(SUFFIXES)}")
    for asset, kind in chosen.values():
        try:
            outcome.made.append(_one(asset, kind, store, out, limits))
        except TransferError as error:
            outcome.failures[asset.path] = error
    return outcome


def _one(asset: Asset, kind: str, store: Store, out: Path, limits: Limits) -> Unpacked:
    receipt = store.receipt(asset)
    if receipt is None:
        raise Offline(f"{asset.path}: not staged", hint=f"skystage fetch PLAN --store {store.root}")
    folder = asset.path[: -len(kind)]
    final = out / folder
    with scratch(out, hashlib.sha256(folder.encode()).hexdigest()[:16]) as work:
        if (there := _found(asset, final, receipt.digests["sha256"])) is not None:
            return there
        target = work / "files"
        target.mkdir()
        most = max(limits.times * receipt.size, SMALL)
        budget = _Budget(asset.path, most, limits)
        with _readable(asset):
            members = _zipped if kind == ".zip" else _tarred
            found = members(store.path(asset), kind, budget)
            files = {name: _write(target, name, source, budget) for name, source in found}
        said = {"archive": asset.path, "sha256": receipt.digests["sha256"], "files": files}
        (work / "receipt").write_text(f"{canonical(said)}\n", encoding="utf-8")
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.is_dir():
            # Of an archive that was another one, or touched since: its receipt does not describe it.
            _receipt(final).unlink(missing_ok=True)
            final.rename(work / "old")
        target.rename(final)
        publish(work / "receipt", _receipt(final))
        return Unpacked(asset.path, final, len(files), budget.bytes, already=False)


def _receipt(final: Path) -> Path:
    return final.with_name(f"{final.name}.json")


def _found(asset: Asset, final: Path, digest: str) -> Unpacked | None:
    """What lies there, if it came of the same archive and is still what came."""
    try:
        said = json.loads(_receipt(final).read_bytes())
        if (said["archive"], said["sha256"]) != (asset.path, digest):
            return None
        files: dict[str, str] = said["files"]
        there = {path.relative_to(final).as_posix() for path in final.rglob("*") if not path.is_dir()}
        if there != set(files):
            return None
        if any(digest_file(final / name, {})["sha256"] != one for name, one in files.items()):
            return None
        size = sum((final / name).stat().st_size for name in files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Unpacked(asset.path, final, len(files), size, already=True)


@contextmanager
def _readable(asset: Asset) -> Iterator[None]:
    """What the readers of archives raise, as an error of that asset."""
    try:
        yield
    except (
        EOFError,
        NotImplementedError,
        OSError,
        RuntimeError,
        ValueError,
        lzma.LZMAError,
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        # What packs by bzip2 or gzip raises OSError without a number, and a zip that leads to before its
        # begin this one. All others are of the disk.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise StructureError(
            f"{asset.path}: cannot be unpacked: {error}", hint="is it whole? skystage verify --deep"
        ) from error


class _Budget:
    """How much of an archive has been unpacked, and whether that goes on."""

    def __init__(self, archive: str, most: int, limits: Limits) -> None:
        self._archive = archive
        self._most = most
        self._limits = limits
        self._names: set[str] = set()
        self.bytes = 0

    def spend(self, count: int) -> None:
        self.bytes += count
        self.check(self.bytes)

    def check(self, total: int) -> None:
        """Refuse an archive that says, or has, so many bytes."""
        if total > self._most:
            raise StructureError(
                f"{self._archive}: unpacks to more than {self._most:,} bytes, {self._limits.times} times "
                "its size",
                hint="--max-ratio allows more",
            )

    def name(self, name: str) -> str:
        """The name of a member as a path inside of the folder."""
        path = name.removeprefix("./").rstrip("/")
        parts = path.split("/")
        wrong = name.startswith("/") or not all(parts) or {".", ".."} & set(parts)
        if wrong or "\\" in path or not path.isprintable():
            raise StructureError(f"{self._archive}: the member {name!r} has no name inside of a folder")
        if any(len(part.encode()) > 255 for part in parts):
            raise StructureError(
                f"{self._archive}: the member {name[:60]!r}... has a name too long for a file"
            )
        return path

    def file(self, name: str) -> str:
        """The same for a file: each once, and no more than so many."""
        path = self.name(name)
        if path in self._names:
            raise StructureError(f"{self._archive}: has the member {path!r} twice")
        self._names.add(path)
        if len(self._names) > self._limits.files:
            raise StructureError(
                f"{self._archive}: has more than {self._limits.files:,} files", hint="--max-files allows more"
            )
        return path

    def refuse(self, name: str, what: str) -> StructureError:
        return StructureError(f"{self._archive}: the member {name!r} is {what}")


class _Metered:
    """What a tar is unpacked from, with an end: its headers may lie about their length as well."""

    def __init__(self, file: BinaryIO, budget: _Budget) -> None:
        self._file = file
        self._budget = budget

    def read(self, count: int = -1) -> bytes:
        self._budget.check(count)
        return self._file.read(count)

    def seek(self, place: int, whence: int = 0) -> int:
        return self._file.seek(place, whence)

    def tell(self) -> int:
        return self._file.tell()


def _tarred(path: Path, kind: str, budget: _Budget) -> Iterator[tuple[str, IO[bytes]]]:
    """The files of a tar; directories are made for them as they come."""
    with (
        _OPENERS[kind](path, "rb") as file,
        tarfile.open(fileobj=cast("Any", _Metered(file, budget)), mode="r:") as tar,
    ):
        declared = 0
        for member in tar:
            if member.isdir():
                if member.name not in (".", "./"):
                    budget.name(member.name)
                continue
            name = budget.file(member.name)
            if not (member.isreg() or member.issym() or member.islnk()):
                raise budget.refuse(member.name, "a device, and no file")
            declared += member.size
            budget.check(declared)
            try:
                source = tar.extractfile(member)
            except (KeyError, RecursionError):
                source = None
            if source is None:
                raise budget.refuse(member.name, f"a link out of the archive, to {member.linkname!r}")
            yield name, source
        # tarfile takes a header that is broken, or not there, for the end; and who has not read all of a
        # compressed file has not read its checksum.
        file.seek(tar.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it ends without an end")
        while block := file.read(_BLOCK):
            declared += len(block)
            budget.check(declared)


def _zipped(path: Path, kind: str, budget: _Budget) -> Iterator[tuple[str, IO[bytes]]]:
    """The files of a zip."""
    del kind
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        budget.check(sum(member.file_size for member in members))
        for member in members:
            if member.is_dir():
                budget.name(member.filename)
                continue
            name = budget.file(member.filename)
            form = stat.S_IFMT(member.external_attr >> 16)
            if form not in (0, stat.S_IFREG):
                raise budget.refuse(member.filename, "a link or a device, and no file")
            with archive.open(member) as source:
                yield name, source


def _write(folder: Path, name: str, source: IO[bytes], budget: _Budget) -> str:
    """Write a file; its sha256."""
    target = folder / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while block := source.read(_BLOCK):
                budget.spend(len(block))
                file.write(block)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise budget.refuse(name, "a file and a folder") from None
    return digest_file(target, {})["sha256"]
