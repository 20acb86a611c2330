"""Take over what other tools have left: find the files of a plan in a folder, verify them, link them in.

A file is known by its name. One whose name only begins like that (``NAME.zip.1``, ``NAME (1).zip``) counts
if size and checksum say so. It is verified as a fetch would, and goes the way into the store that fetched
bytes go. Nothing in the folder is changed, unless it is to be moved.
"""

from __future__ import annotations

import os
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from skystage import events
from skystage.crew import Crew
from skystage.errors import (
    ChecksumMismatch,
    SizeMismatch,
    SkystageError,
    StoreError,
    StructureError,
    TransferError,
)
from skystage.locks import waiting_for
from skystage.model import Asset, Receipt
from skystage.parts import PartFile
from skystage.plan import Plan
from skystage.planfile import Batch
from skystage.retry import pause
from skystage.safefile import names_its_manifest, prove_packed
from skystage.staged import MANIFEST
from skystage.store import UNLINKABLE, Store, copy
from skystage.verify import Digester, blocks, strongest

WAYS = ("link", "copy", "move")
"""How a file gets into the store: as a second name of the same bytes, as a copy, or as its only name."""
_ENDS = (".zip", ".xml", ".eof", ".kml", ".fits", ".fz", ".gz")
"""Kinds of file whose structure says by itself that nothing is missing at the end."""


@dataclass(slots=True)
class Adopted:
    """What became of an adoption.

    Attributes
    ----------
    receipts
        Of what was adopted, in the order of the plan.
    already
        Staged before, by whatever means.
    wrong
        Asset path to a file of that name, below the folder, and why it is not the asset. One is enough:
        if another file was right, the asset is not here.
    not_found
        Paths of assets of which there is nothing in the folder: a fetch will bring them.
    unpacked
        Folders below the folder that are an unpacked zip of the plan: the checksum is the zip's, so
        nothing can prove them.
    bytes
        Of what was adopted.
    """

    planned: int = 0
    receipts: list[Receipt] = field(default_factory=list)
    already: int = 0
    wrong: dict[str, tuple[str, SkystageError]] = field(default_factory=dict)
    not_found: list[str] = field(default_factory=list)
    unpacked: list[str] = field(default_factory=list)
    bytes: int = 0


def adopt_folder(
    plan: Plan,
    folder: Path,
    store: Store,
    *,
    batch: Batch | None = None,
    keys: Collection[str] | None = None,
    way: str = "link",
    jobs: int = 4,
    listen: events.Listener = events.ignore,
    stop: threading.Event | None = None,
) -> Adopted:
    """Verify the files of a plan that lie in a folder, and stage them from there.

    Parameters
    ----------
    batch
        ``(i, n)``: the i-th of n parts of the plan, `i` from 1; or a granule's id.
    keys
        Only assets of these keys; default: all.
    way
        One of `WAYS`. A link falls back to a copy where the file system has none between the two.
    jobs
        Files that are hashed at a time.
    listen
        Called from the threads that hash, one call at a time.
    stop
        When set, nothing more is adopted.

    Raises
    ------
    PlanError
        If there is no such batch, or no asset has such a key.
    SkystageError
        If there is no such folder. Files that are wrong do not raise: they are in `Adopted.wrong`.
    """
    if not folder.is_dir():
        raise SkystageError(f"{folder}: no such folder", hint="give the one that the files lie below")
    stop = stop or threading.Event()
    chosen = plan.chosen(batch, keys)
    result = Adopted(planned=len(chosen))
    missing = []
    for asset in chosen:
        if (receipt := store.receipt(asset)) is None:
            missing.append(asset)
        else:
            result.already += 1
            listen(events.AlreadyStaged(asset.path, receipt))
    found = _Found(plan, missing, folder, store)
    result.unpacked = found.unpacked
    adoption = _Adoption(store, found, way, listen, stop)
    if missing:
        adoption.run(missing, jobs)
    for asset in missing:
        if (receipt := adoption.receipts.get(asset.path)) is not None:
            result.receipts.append(receipt)
            result.bytes += receipt.size
        elif asset.path in adoption.wrong:
            result.wrong[asset.path] = adoption.wrong[asset.path]
        else:
            result.not_found.append(asset.path)
    return result


class _Found:
    """The files below a folder that may be assets of a plan."""

    def __init__(self, plan: Plan, missing: list[Asset], folder: Path, store: Store) -> None:
        self.folder = folder
        self.unpacked: list[str] = []
        self._names: dict[str, list[Path]] = {asset.name: [] for asset in missing}
        self._stems = {_stem(asset.name) for asset in missing}
        self._others: dict[str, list[Path]] = defaultdict(list)
        # Of granules that all have a `manifest.safe`, only a checksum can say whose it is.
        self._owners = Counter(entry.path.rpartition("/")[2] for entry in plan.entries())
        self._look(store)

    def of(self, asset: Asset) -> list[Path]:
        """The files with the asset's name, those of the right size first."""
        named = self._names[asset.name]
        if self._owners[asset.name] > 1 and strongest(asset.checksums) is None:
            return []
        return sorted(named, key=lambda path: (_size(path) != asset.size, str(path)))

    def others(self, asset: Asset) -> list[Path]:
        """The files of right size whose names only begin like the asset's, if a checksum can tell them."""
        if asset.size is None or strongest(asset.checksums) is None:
            return []
        alike = self._others.get(_stem(asset.name), ())
        return sorted(path for path in alike if _size(path) == asset.size)

    def name(self, path: Path) -> str:
        """How a file is called to people: by its place in the folder."""
        return str(path.relative_to(self.folder))

    def _look(self, store: Store) -> None:
        own = store.root.resolve()
        seen: set[Path] = set()
        for place, folders, files in os.walk(self.folder, followlinks=True):
            real = Path(place).resolve()
            if real in seen or own in (real, *real.parents):
                folders.clear()
                continue
            seen.add(real)
            for name in folders:
                if name.endswith(".SAFE") and f"{name.removesuffix('.SAFE')}.zip" in self._names:
                    self.unpacked.append(self.name(Path(place, name)))
            for name in files:
                path = Path(place, name)
                if path.exists() and not path.is_file():  # a pipe would be waited at for ever
                    continue
                if name in self._names:
                    self._names[name].append(path)
                elif _stem(name) in self._stems:
                    self._others[_stem(name)].append(path)
        self.unpacked.sort()


class _Adoption:
    """Files on their way into a store."""

    def __init__(
        self, store: Store, found: _Found, way: str, listen: events.Listener, stop: threading.Event
    ) -> None:
        self.receipts: dict[str, Receipt] = {}
        self.wrong: dict[str, tuple[str, SkystageError]] = {}
        self._store = store
        self._found = found
        self._way = way
        self._listen = listen
        self._stop = stop
        self._mutex = threading.Lock()

    def run(self, missing: list[Asset], jobs: int) -> None:
        """Try the candidates of each asset until one is right."""
        crew = Crew(min(jobs, len(missing)))
        crew.run(missing, self._one, stop=self._stop, watch=lambda: None, helping=False)
        pause(self._stop)

    def _tell(self, event: events.Event) -> None:
        with self._mutex:
            self._listen(event)

    def _one(self, asset: Asset) -> None:
        refused: list[tuple[str, SkystageError]] = []
        named, others = self._found.of(asset), self._found.others(asset)
        if not named and not others:
            return
        with waiting_for(self._store.lock(asset), self._stop):
            # Somebody else may have brought it since.
            self._store.refresh()
            if (receipt := self._store.receipt(asset)) is not None:
                self.receipts[asset.path] = receipt
                return
            for path in [*named, *others]:
                try:
                    receipt = self._adopt(asset, path)
                except TransferError as error:
                    said: SkystageError = error
                except OSError as error:
                    said = StoreError(f"{asset.path}: {error.strerror}")
                else:
                    self.receipts[asset.path] = receipt
                    self._tell(events.Staged(asset.path, receipt))
                    return
                if path in named:
                    refused.append((self._found.name(path), said))
        if refused:
            self.wrong[asset.path] = refused[0]
            self._tell(events.Failed(asset.path, refused[0][1]))

    def _adopt(self, asset: Asset, path: Path) -> Receipt:
        """Verify a file, and give it its name in the store."""
        source = path.resolve()
        before = source.stat()
        # The same product may have been zipped by another archive.
        if asset.size not in (None, before.st_size) and not names_its_manifest(asset.name):
            raise SizeMismatch(f"{asset.path}: {before.st_size:,} bytes, the plan says {asset.size:,}")
        if strongest(asset.checksums) is None and asset.size is None and source.suffix.lower() not in _ENDS:
            raise StructureError(
                f"{asset.path}: the plan knows neither its size nor a checksum: nothing says that it is whole"
            )
        digests = self._digests(asset, source)
        verified = prove_packed(asset, source, digests, partial(pause, self._stop))
        if verified != MANIFEST:
            self._store.check_drift(asset, digests)
        part = self._store.part(asset)
        # What an earlier fetch has noted goes first: nobody ever writes into a part without a note, and
        # the one that comes is perhaps another name of a file that is not ours.
        part.discard()
        try:
            self._place(source, part, before)
        except (OSError, TransferError):
            part.discard()
            raise

        def receipt(found: os.stat_result) -> Receipt:
            return Receipt(
                path=asset.path,
                size=found.st_size,
                # Of a link the time at which it was hashed: who wrote into it since voids the receipt.
                mtime_ns=before.st_mtime_ns if os.path.samestat(found, before) else found.st_mtime_ns,
                digests=digests,
                verified=verified,
                source=f"file:{source.name}",
                staged=datetime.now(UTC),
                attempts=0,
            )

        made = self._store.publish(asset, part.path, part, receipt)
        # A rename onto another name of the same file does nothing, and such a one may have lain there.
        part.path.unlink(missing_ok=True)
        if self._way == "move":
            path.unlink()
        return made

    def _digests(self, asset: Asset, path: Path) -> dict[str, str]:
        digester = Digester(asset.checksums)
        for block in blocks(path):
            pause(self._stop)
            digester.update(block)
            self._tell(events.Progressed(asset.path, len(block)))
        return digester.digests()

    def _place(self, source: Path, part: PartFile, before: os.stat_result) -> None:
        """Put the bytes where fetched ones would have arrived, if they are still those that were read."""
        linked = self._way != "copy"
        if linked:
            try:
                os.link(source, part.path)
            except OSError as error:
                if error.errno not in UNLINKABLE:
                    raise
                linked = False
        if not linked:
            copy(source, part.path)
        now = source.stat()
        if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise ChecksumMismatch(f"{source.name}: it changes while it is read: does another tool write it?")


def _stem(name: str) -> str:
    """What a name has in common with those that browsers and other tools make of it."""
    return re.split(r"[^\w-]", name, maxsplit=1)[0]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
