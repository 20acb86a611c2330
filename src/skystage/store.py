"""Where staged files lie, and the proof that they are right: layout, part files, locks, receipts.

::

    STORE/ARCHIVE/COLLECTION/GRANULE/NAME     verified files, and nothing else
    STORE/.skystage/parts/*                   what has arrived so far, and of which version (`parts`)
    STORE/.skystage/locks/*.lock              one writer an asset
    STORE/.skystage/receipts/*.ndjson         one shard a writer, append-only; the truth: what was staged,
                                              and what of it was released

Safe under SIGKILL at any instruction and with any number of processes: a file appears at its final
path by one atomic rename of verified, durable bytes, and its receipt is appended after that. It goes
after the record of its release has become durable.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import filecmp
import hashlib
import os
import secrets
import shutil
import socket
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from skystage.errors import Drifted, SkystageError, StoreError
from skystage.locks import Lock, work
from skystage.model import Asset, Receipt, Release, canonical
from skystage.parts import PartFile
from skystage.planfile import Entry
from skystage.staged import HOME, MANIFEST, Staged, inside

STRIPES = 1024
"""Lock files of a store: enough that two assets in flight hardly ever share one, and no more inodes."""
BIG = 8 << 20
"""Bytes from which a file is synced by itself; smaller ones that finish together share one sync."""
UNLINKABLE = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP)
"""Errors after which a copy can do what a hard link could not."""
_FICLONE = 0x40049409
"""The ioctl of Linux that makes a copy share its blocks (reflink)."""


@dataclass(eq=False, slots=True)
class _Pending:
    """Verified bytes on their way to their final path."""

    whole: Path
    part: PartFile
    final: Path
    receipt: Callable[[os.stat_result], Receipt]
    result: Receipt | SkystageError | None = None


class Store(Staged):
    """A directory of staged assets: what `Staged` sees of it, and the way in.

    Parameters
    ----------
    root
        The directory; made if it is not there.
    read_only
        Only look: nothing is made, nothing is locked, and the file system may be read-only. A store
        that is not there holds nothing.

    Raises
    ------
    StoreError
        If it cannot be written, or its file system has no working locks.
    """

    def __init__(self, root: Path | str, *, read_only: bool = False) -> None:
        super().__init__(root)
        self._locks = self.root / HOME / "locks"
        self._parts = self.root / HOME / "parts"
        if not read_only:
            self._make()
        self._torn = False
        self._mutex = threading.Lock()
        self._shard = -1
        self._pending: list[_Pending] = []
        self._commits = threading.Condition()
        self._committing = False

    def _make(self) -> None:
        try:
            for directory in (self._locks, self._parts, self._shards):
                directory.mkdir(parents=True, exist_ok=True)
            if not work(self._locks):
                raise StoreError(
                    f"{self.root}: locks do not exclude each other on this file system",
                    hint="put the store on another file system, or run one process on it at a time",
                )
        except OSError as error:
            raise StoreError(f"{self.root}: cannot be used as a store: {error.strerror}") from error

    def lock(self, asset: Asset | Entry) -> Lock:
        """The lock that a writer of this asset holds."""
        stripe = int.from_bytes(hashlib.sha256(asset.path.encode()).digest()[:4]) % STRIPES
        return Lock(self._locks / f"{stripe:04}.lock")

    def part(self, asset: Asset) -> PartFile:
        """The asset's part file."""
        return PartFile(self._parts, asset)

    def free(self) -> int:
        """Bytes that the store's file system still has for this user."""
        try:
            return shutil.disk_usage(self.root).free
        except OSError as error:
            raise StoreError(f"{self.root}: cannot be used as a store: {error.strerror}") from error

    def held(self, assets: Iterable[Asset]) -> int:
        """Bytes of these assets that are already in part files."""
        return sum(self.part(asset).read().held for asset in assets)

    # ----------------------------------------------------------------------------------------------
    # Receipts

    def receipt(self, asset: Asset | Entry) -> Receipt | None:
        """The proof that this very asset is staged and was not touched since; no hashing."""
        found = self.proof(asset)
        try:
            return None if found is None else Receipt.from_json(found)
        except (ValueError, KeyError, TypeError):
            return None

    def released(self, asset: Asset | Entry) -> Release | None:
        """The record that this very asset was staged and then released, if it is not there."""
        found = self.tombstone(asset)
        try:
            return None if found is None else Release.from_json(found)
        except (ValueError, KeyError, TypeError):
            return None

    def check_drift(self, asset: Asset, digests: Mapping[str, str]) -> None:
        """Refuse other bytes than those that were staged before the asset was released.

        Raises
        ------
        Drifted
            With both digests.
        """
        before = self.released(asset)
        if (
            before is None or before.receipt.verified == MANIFEST
        ):  # the same product may come packed otherwise
            return
        if before.receipt.digests["sha256"] != digests["sha256"]:
            raise Drifted(
                f"{asset.path}: sha256 {digests['sha256']}, and {before.receipt.digests['sha256']} "
                "before it was released: the file at the source has changed",
                hint="to have the new one, stage it into another --store",
            )

    def record(self, receipts: Iterable[Receipt | Release]) -> None:
        """Append receipts to this writer's shard."""
        with self._mutex:
            batch = list(receipts)
            lines = "".join(f"{canonical(receipt.to_json())}\n" for receipt in batch)
            if self._shard < 0:
                name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.ndjson"
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
                self._shard = os.open(self._shards / name, flags, 0o666)
                # A process may make a store for each of its tasks.
                weakref.finalize(self, os.close, self._shard)
            # A line that a full disk cut must not swallow the next one.
            content = (b"\n" if self._torn else b"") + lines.encode()
            self._torn = True
            write_all(self._shard, content)
            self._torn = False
            for receipt in batch:
                self._index.add(receipt.to_json())

    # ----------------------------------------------------------------------------------------------
    # Releasing

    def announce(self, releases: Iterable[Release]) -> None:
        """Record, durably, that these files are about to go; none of them is released before it has gone.

        Raises
        ------
        StoreError
            If there is no room even for that.
        """
        try:
            self.record(releases)
            os.fsync(self._shard)
            _call(os.fsync, self._shards)
        except OSError as error:
            raise StoreError(
                f"{self._shards}: cannot be written: {error.strerror}",
                hint="a release is recorded before bytes go: make room for some kilobytes first",
            ) from error

    def remove(self, asset: Asset | Entry) -> int:
        """Delete a file, and the directories that it leaves empty; its lock is held by the caller.

        Returns
        -------
        Bytes that this frees: none as long as the file has another name (a hard link).

        Raises
        ------
        StoreError
            If the file system refuses.
        """
        path = self.path(asset)
        try:
            found = path.stat()
            path.unlink()
        except OSError as error:
            raise StoreError(f"{asset.path}: cannot be deleted: {error.strerror}") from error
        self.prune(asset)
        return found.st_size if found.st_nlink == 1 else 0

    def prune(self, asset: Asset | Entry) -> None:
        """Delete the directories above an asset's path that are empty."""
        for directory in self.path(asset).parents:
            if directory == self.root:
                return
            try:
                directory.rmdir()
            except FileNotFoundError:
                continue
            except OSError:  # it is not empty
                return

    # ----------------------------------------------------------------------------------------------
    # Publishing

    def publish(
        self, asset: Asset, whole: Path, part: PartFile, receipt: Callable[[os.stat_result], Receipt]
    ) -> Receipt:
        """Make verified bytes durable, give them their final name, and write their receipt: in this order.

        The bytes lie at `whole`; `part` is forgotten, whether they are its own or were unpacked from it.

        Parts that are finished at the same time by several threads share one sync of the file
        system, because a sync costs 3 ms and a small file 0.3 (group commit).

        Raises
        ------
        StoreError
            If the file system refuses.
        """
        final = self.path(asset)
        item = _Pending(whole, part, final, receipt)
        with self._commits:
            self._pending.append(item)
            while item.result is None and self._committing:
                self._commits.wait()
            if item.result is None:
                self._committing = True
                group, self._pending = self._pending, []
            else:
                group = []
        if group:
            try:
                self._commit(group)
            finally:
                with self._commits:
                    self._committing = False
                    self._commits.notify_all()
        if isinstance(item.result, Receipt):
            return item.result
        raise item.result or StoreError(f"{asset.path}: was not published")

    def _commit(self, group: list[_Pending]) -> None:
        try:
            _sync([item.whole for item in group])
        except OSError as error:
            failed = StoreError(f"{self.root}: cannot be synced: {error.strerror}")
            for item in group:
                item.result = failed
            return
        receipts = []
        for item in group:
            try:
                _rename(item.whole, item.final)
                item.part.published(item.whole)
                receipts.append(item.receipt(item.final.stat()))
                item.result = receipts[-1]
            except OSError as error:
                item.result = StoreError(f"{item.final}: cannot be written: {error.strerror}")
        try:
            self.record(receipts)
        except OSError as error:
            for item in group:
                item.result = StoreError(f"{self._shards}: cannot be written: {error.strerror}")

    def link(
        self, asset: Asset | Entry, into: Path, *, symbolic: bool = False, name: str | None = None
    ) -> Path:
        """Give a staged file a second name below `into`: hard link, else reflink, else copy.

        Who deletes or replaces that name deletes or replaces nothing else. But a hard link shares
        its time of modification with the store: who touches it voids the receipt. For them there
        is the symbolic link, which has a time of its own.

        Parameters
        ----------
        name
            The path below `into`, instead of the asset's own. Below its own path lies what came from a
            store, and is replaced; at any other a file of other content is left as it is.

        Raises
        ------
        StoreError
            If a file of other content has that name.
        """
        source, target = self.path(asset), into / inside(asset.path if name is None else name)
        try:
            same = target.samefile(source)
        except OSError:  # nothing has that name, or a link to nothing
            same = None
        if same and target.is_symlink() == symbolic:
            return target
        if same is False and name is not None:
            if filecmp.cmp(source, target, shallow=False):  # a copy of an earlier run
                return target
            raise StoreError(f"{target}: another file has that name", hint="move it away")
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.part")
        part.unlink(missing_ok=True)
        try:
            if symbolic:
                # Relative, so that a folder that holds both can move.
                part.symlink_to(os.path.relpath(source.resolve(), target.parent.resolve()))
            else:
                os.link(source, part)
        except OSError as error:
            if symbolic or error.errno not in UNLINKABLE:
                raise
            copy(source, part)
        part.replace(target)
        part.unlink(missing_ok=True)  # a rename onto another name of the same file does nothing
        return target


def link_all(
    store: Store, arranged: Mapping[str, Asset], into: Path, *, symbolic: bool = False
) -> tuple[int, dict[str, SkystageError]]:
    """Link what is staged to the names of a layout: how many, and by path why one could not be.

    One name that is taken stops no other.
    """
    count, failures = 0, dict[str, SkystageError]()
    for path, asset in arranged.items():
        if store.proof(asset) is None:
            continue
        try:
            store.link(asset, into, symbolic=symbolic, name=path)
        except StoreError as error:
            failures[path] = error
        else:
            count += 1
    return count, failures


def _rename(whole: Path, final: Path) -> None:
    """Give a file its final name, and the directory for it."""
    for left in reversed(range(5)):
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            os.replace(whole, final)  # noqa: PTH105 - the tests count these calls
        except (FileNotFoundError, FileExistsError):
            # A release may have taken the empty directory away meanwhile.
            if not left:
                raise
        else:
            return


def write_all(fd: int, content: bytes) -> None:
    """Write, however many calls it takes."""
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def _sync(paths: list[Path]) -> None:
    """Make these files durable: big ones one by one, several small ones with one call."""
    small = [path for path in paths if path.stat().st_size < BIG]
    together = len(small) > 1
    for path in paths if not together else [path for path in paths if path not in small]:
        _call(os.fsync, path)
    if together:
        _call(_syncfs, small[0])


def _call(sync: Callable[[int], object], path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync(fd)
    finally:
        os.close(fd)


def _syncfs(fd: int) -> None:
    # Python has no name for it. It syncs the file system that the file lies on, and no other.
    try:
        call = ctypes.CDLL(None, use_errno=True).syncfs
    except AttributeError:  # not Linux
        os.sync()
        return
    if call(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def copy(source: Path, target: Path) -> None:
    """Copy a file with its times, durably; its blocks are shared where the file system can."""
    with source.open("rb") as old, target.open("xb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:
            shutil.copyfileobj(old, new, 1 << 20)
        new.flush()
        os.fsync(new.fileno())
    shutil.copystat(source, target)
