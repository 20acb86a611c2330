"""The cloud over an area, by the scene classification of a Sentinel-2 product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from skystage.derive import cogs
from skystage.derive.grids import covering, on_tile
from skystage.derive.sentinel2 import CLASSES, CLOUD, SHADOW
from skystage.model import Json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Clouds:
    """How much of an area is under cloud.

    Attributes
    ----------
    cloud, shadow
        The parts, 0..1, of the valid pixels that are cloud (classes 8, 9 and 10) and cloud shadow (3); None
        where no pixel is valid.
    valid
        The part, 0..1, of the area's pixels on the tile that are anything but no data (class 0).
    """

    cloud: float | None
    shadow: float | None
    valid: float

    def to_json(self) -> dict[str, Json]:
        """As receipts have it."""
        return {"cloud": self.cloud, "shadow": self.shadow, "valid": self.valid}

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read what `to_json` wrote."""
        return cls(data["cloud"], data["shadow"], data["valid"])


def clouds(scenes: Path, area: Mapping[str, Json] | None = None) -> Clouds | None:
    """Count the classes of an SCL file over an area; None if the area is not on the tile.

    Parameters
    ----------
    scenes
        ``..._SCL_20m.jp2`` or ``..._SCL_60m.jp2``.
    area
        GeoJSON as `skystage.aoi.parse` returns it: pixels count whose middle lies in it; of points and lines
        those that they touch. Default: the whole tile.

    Raises
    ------
    StructureError
        If the file is not what it should be.
    """
    import numpy as np

    with cogs.quietly():
        grid = cogs.grid_of(scenes)
        inside = None if area is None else on_tile(area, grid)
        window = grid.whole if inside is None else covering(inside, grid)
        if window is None:
            return None
        counts, touched = np.zeros(256, np.int64), np.zeros(256, np.int64)
        with cogs.open_file(scenes) as file:
            for part in cogs.strips(window):
                classes: NDArray[np.uint8] = cogs.read(file, part)[0]
                touched += np.bincount(classes.ravel(), minlength=256)
                if inside is not None:
                    classes = classes[~cogs.outside(inside, grid, part)]
                counts += np.bincount(classes.ravel(), minlength=256)
    # An area that is smaller than a pixel may hold the middle of none.
    return counted(counts if counts.any() else touched)


def counted(counts: NDArray[np.int64]) -> Clouds:
    """The parts that numbers of pixels, by class, come to."""
    total, valid = int(counts.sum()), int(counts.sum() - counts[CLASSES["no_data"]])
    if not valid:
        return Clouds(None, None, 0.0)
    cloud, shadow = (int(counts[list(classes)].sum()) for classes in (CLOUD, SHADOW))
    return Clouds(cloud / valid, shadow / valid, valid / total)
