"""What is staged: the reading side of a store, for whoever looks and changes nothing.

No request, no hashing, nothing is made: an asset is staged if the file at its final path is still the
one that a receipt describes, and released if no file lies there and the last record says so.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from skystage.canon import Json
from skystage.errors import PlanError
from skystage.index import Index
from skystage.verify import strongest

if TYPE_CHECKING:
    from skystage.model import Asset
    from skystage.planfile import Entry

HOME = ".skystage"
MANIFEST = "manifest"
"""The proof of a product that came repacked: its name proves its manifest, and that its files."""


class Staged:
    """A directory of staged assets, to look at. One that is not there holds nothing.

    Parameters
    ----------
    root
        The directory; its file system may be read-only.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._shards = self.root / HOME / "receipts"
        self._index = Index(self._shards)

    def path(self, asset: Asset | Entry) -> Path:
        """The final path of an asset.

        Raises
        ------
        PlanError
            If the plan names a path outside the store.
        """
        return self.root / inside(asset.path)

    def proof(self, asset: Asset | Entry) -> dict[str, Json] | None:
        """The receipt, as its shard has it, that this very asset is staged and was not touched since.

        A receipt counts only if the file still has the recorded size and time of modification, and
        if what was recorded is what the plan expects today.
        """
        candidates = self._index.find(asset.path)
        if not candidates:
            return None
        try:
            found = os.stat(f"{self.root}/{inside(asset.path)}")  # noqa: PTH116 - a third of the cost of Path.stat
        except OSError:
            return None
        # An asset that was staged more than once has several: the one that describes the file that
        # lies there counts, whatever the clocks said when they were written.
        for receipt in candidates:
            unchanged = found.st_size == receipt.get("size") and found.st_mtime_ns == receipt.get("mtime_ns")
            if unchanged and "released" not in receipt and _proves(receipt, asset):
                return receipt
        return None

    def tombstone(self, asset: Asset | Entry) -> dict[str, Json] | None:
        """The record, as its shard has it, that this very asset was staged, and then released on purpose.

        As long as a file lies there, or if one was staged after the release, there is none: who is
        killed between the record and the deletion has released nothing.
        """
        records = self._index.find(asset.path)
        released = [record for record in records if "released" in record and _proves(record, asset)]
        if not released or os.path.lexists(f"{self.root}/{inside(asset.path)}"):
            return None
        last = max(released, key=lambda record: _time(record, "released"))
        later = (_time(one, "staged") > _time(last, "released") for one in records if "released" not in one)
        return None if any(later) else last

    def refresh(self) -> None:
        """Read the receipts that writers have added."""
        self._index.refresh()


def inside(path: str) -> str:
    """The path of an asset below any store or folder, if it is one that stays there.

    Raises
    ------
    PlanError
        If it does not.
    """
    parts = path.split("/")
    if path.startswith("/") or not all(parts) or {".", "..", HOME} & set(parts) or "\0" in path:
        raise PlanError(f"{path!r} is no path inside a store", hint="the plan was changed by hand?")
    return path


def _time(record: dict[str, Json], name: str) -> str:
    """A time that can be compared as text: of two, the one without a fraction of a second is shorter."""
    return str(record.get(name, "")).removesuffix("Z")


def _proves(receipt: dict[str, Json], asset: Asset | Entry) -> bool:
    if receipt.get("verified") == MANIFEST:
        # The product of that name, whatever its packing: size and checksum of another one say nothing.
        return True
    if asset.size is not None and asset.size != receipt.get("size"):
        return False
    algorithm = strongest(asset.checksums)
    digests = receipt.get("digests")
    if not isinstance(digests, dict):
        return False
    return algorithm is None or digests.get(algorithm) == asset.checksums[algorithm].lower()
