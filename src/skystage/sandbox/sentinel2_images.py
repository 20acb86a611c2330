"""The pixels of the sandbox's Sentinel-2 products, as JPEG 2000 files without loss.

Ground and clouds are functions of the place, so that bands and resolutions agree, and neighbouring tiles too.
What a date has of its own (where its clouds are, how bright it is) follows from the sensing alone: two
baselines of one sensing show the same, but for the offset that baselines from 04.00 on add to it.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WIDTH = 109_800
"""Metres along each side of a tile."""
SMALL = 36
"""Pixels a side up to which an image is kept: at most some kB."""
PIXELS = 366
"""Along each side of a 10 m band; the real ones have 10,980."""
OFFSET = 1000
"""Added to the numbers of reflectances by baselines from 04.00 on."""
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""In the order of their numbers in the metadata."""
NODATA, DARK, SHADOW, VEGETATION, SOIL, WATER, MEDIUM, HIGH, CIRRUS = 0, 2, 3, 4, 5, 6, 8, 9, 10
"""Classes of the scene classification (Sentinel-2 Products Specification Document)."""

_SPECTRA = {
    WATER: (600, 550, 500, 300, 250, 200, 180, 150, 140, 120, 10, 80, 60),
    VEGETATION: (300, 350, 600, 400, 900, 2300, 2900, 3100, 3200, 3300, 20, 1700, 800),
    SOIL: (900, 1000, 1300, 1600, 1800, 2000, 2100, 2200, 2300, 2300, 25, 2900, 2400),
    DARK: (200, 250, 300, 280, 350, 500, 600, 650, 700, 700, 15, 500, 350),
    HIGH: (6800, 6600, 6400, 6300, 6300, 6400, 6400, 6400, 6400, 5600, 300, 4200, 3200),
}
"""Reflectances of each class by band, times 10,000: such as one sees, and measured nowhere."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Where a tile lies: its coordinate system, and the upper left corner in metres."""

    epsg: int
    left: int
    top: int


@dataclass(frozen=True, slots=True)
class View:
    """What the pixels of one sensing depend on."""

    grid: Grid
    sensing: str
    """What all products of one sensing have in common, and no other."""
    clouds: float
    """Percent of the pixels with data."""
    cut: tuple[float, float] | None = None
    """The swath's edge, if it cuts off the lower right corner: where it meets the lower and the right side,
    each as a share of the side, from the left and from the top."""


def image(view: View, key: str, size: int, offset: int) -> bytes:
    """One image of a product.

    Parameters
    ----------
    key
        ``B02``, ``TCI``, ``SCL``, ``AOT``, ``WVP``, or a mask: ``CLDPRB``, ``SNWPRB``, ``CLASSI``,
        ``DETFOO``, ``QUALIT``.
    size
        Pixels along each side.
    offset
        Added to reflectances.
    """
    if key in ("SNWPRB", "DETFOO", "QUALIT"):
        return _same_for_all(view.grid, key, size)
    make = _small_image if size <= SMALL else _image
    return make(view, key, size, offset)


def _image(view: View, key: str, size: int, offset: int) -> bytes:
    return _encode(_pixels(view, key, size, offset), view.grid)


_small_image = lru_cache(maxsize=8192)(_image)
"""Kept: thousands of recorded products share their views."""


def picture(view: View, size: int) -> bytes:
    """The quicklook, a JPEG."""
    return _write("JPEG", ".jpg", _true_color(view, size), view.grid, {"QUALITY": "80"})


def cloud_share(classes: NDArray[np.uint8]) -> float:
    """Percent of the pixels with data that are clouds in a scene classification."""
    valid = int((classes != NODATA).sum())
    clouds = sum(int((classes == kind).sum()) for kind in (MEDIUM, HIGH, CIRRUS))
    return 100 * clouds / valid


def _pixels(view: View, key: str, size: int, offset: int) -> NDArray[Any]:
    import numpy as np

    classes = _classes(view, size)
    valid = classes != NODATA
    if key == "TCI":
        return _true_color(view, size)
    if key == "SCL":
        return classes[None]
    if key == "CLDPRB":
        share = {HIGH: 95, MEDIUM: 60, CIRRUS: 30, SHADOW: 5}
        return _by_class(classes, share, 0).astype(np.uint8)[None]
    if key == "CLASSI":
        layers = [np.isin(classes, (HIGH, MEDIUM)), classes == CIRRUS, np.zeros_like(valid)]
        return np.stack(layers).astype(np.uint8)
    if key in ("AOT", "WVP"):
        return np.where(valid, (90 if key == "AOT" else 1700) + _number(view.sensing) % 60, 0)[None].astype(
            np.uint16
        )
    return np.where(valid, _reflectances(view, key, size) + offset, 0)[None].astype(np.uint16)


def _reflectances(view: View, band: str, size: int) -> NDArray[np.int64]:
    import numpy as np

    number = BANDS.index(band)
    ground = {kind: spectrum[number] for kind, spectrum in _SPECTRA.items()}
    # No two dates are equally bright.
    bright = 0.9 + _number(view.sensing) % 21 / 100
    table = np.zeros((16, 16), np.float32)
    for below, light in ground.items():
        table[below] = light * bright
        table[below, SHADOW] *= 0.4
        for kind, cover in ((HIGH, 1.0), (MEDIUM, 0.7), (CIRRUS, 0.3)):
            table[below, kind] = cover * ground[HIGH] + (1 - cover) * table[below, kind]
    found = table.ravel()[_ground(view.grid, size) * 16 + _classes(view, size)]
    # A ramp to the lower right: no pixel has the number of its neighbour, and it costs little to pack.
    steps = np.arange(size) * (PIXELS // size)
    numbers: NDArray[np.int64] = np.rint(found).astype(np.int64) + 1 + steps[None, :] + steps[:, None]
    return numbers


def _true_color(view: View, size: int) -> NDArray[np.uint8]:
    """Red, green and blue; a reflectance of 0.35 is as bright as it gets."""
    import numpy as np

    valid = _classes(view, size) != NODATA
    layers = [
        np.where(valid, np.clip(_reflectances(view, band, size) * 255 // 3500, 1, 255), 0)
        for band in ("B04", "B03", "B02")
    ]
    return np.stack(layers).astype(np.uint8)


@lru_cache(maxsize=32)
def _classes(view: View, size: int) -> NDArray[np.uint8]:
    """The scene classification."""
    import numpy as np

    valid = _valid(view, size)
    clouds = _waves(view.grid, size, view.sensing)
    high, medium, thin = _thresholds(view, size)
    classes = _ground(view.grid, size).copy()
    # The sun stands in the south-east: shadows fall to the north-west.
    shift = max(size // 60, 1)
    classes[np.roll(clouds, (-shift, -shift), (0, 1)) > medium] = SHADOW
    classes[clouds > thin] = CIRRUS
    classes[clouds > medium] = MEDIUM
    classes[clouds > high] = HIGH
    classes[~valid] = NODATA
    return classes


def _thresholds(view: View, size: int) -> tuple[float, float, float]:
    """From which value of the cloud field on there are high, medium and thin clouds."""
    import numpy as np

    field = np.sort(_waves(view.grid, size, view.sensing)[_valid(view, size)])[::-1]
    count = round(field.size * view.clouds / 100)
    return tuple(  # type: ignore[return-value]  # there are three
        float(field[rank]) if (rank := round(count * part)) < field.size else -math.inf
        for part in (0.6, 0.9, 1.0)
    )


@lru_cache(maxsize=16)
def _ground(grid: Grid, size: int) -> NDArray[np.uint8]:
    """The classes without clouds."""
    import numpy as np

    field, other = _waves(grid, size, "ground"), _waves(grid, size, "use")
    classes = np.full((size, size), VEGETATION, np.uint8)
    classes[other > 0.2] = SOIL
    classes[other < -0.5] = DARK
    classes[field < -0.4] = WATER
    return classes


def _valid(view: View, size: int) -> NDArray[np.bool_]:
    import numpy as np

    if view.cut is None:
        return np.ones((size, size), bool)
    bottom, right = view.cut
    middle = (np.arange(size) + 0.5) / size
    across, down = middle[None, :], middle[:, None]
    inside: NDArray[np.bool_] = (1 - across) / (1 - bottom) + (1 - down) / (1 - right) >= 1
    return inside


@lru_cache(maxsize=64)
def _waves(grid: Grid, size: int, seed: str) -> NDArray[np.float64]:
    """A smooth field from -1 to 1 of wave lengths from 47 to 113 km, a function of the place and the seed."""
    import numpy as np

    middle = (np.arange(size) + 0.5) * WIDTH / size
    across, down = (grid.left + middle)[None, :], (grid.top - middle)[:, None]
    digest = hashlib.sha256(seed.encode()).digest()
    field = np.zeros((size, size))
    lengths = (113e3, 71e3, 47e3)
    for number, length in enumerate(lengths):
        angle, phase = (digest[2 * number + part] / 128 * math.pi for part in (0, 1))
        along = across * math.cos(angle) + down * math.sin(angle)
        beside = down * math.cos(angle) - across * math.sin(angle)
        field += np.sin(2 * math.pi * along / length + phase) * np.cos(2 * math.pi * beside / length - phase)
    return field / len(lengths) * 2


@lru_cache(maxsize=64)
def _same_for_all(grid: Grid, key: str, size: int) -> bytes:
    """Masks that no date changes: no snow, twelve detectors side by side, nothing wrong."""
    import numpy as np

    if key == "DETFOO":
        strips = np.arange(size, dtype=np.int64) * 12 // size + 1
        return _encode(np.broadcast_to(strips, (1, size, size)).astype(np.uint8), grid)
    return _encode(np.zeros((8 if key == "QUALIT" else 1, size, size), np.uint8), grid)


def _by_class(classes: NDArray[np.uint8], values: dict[int, int], other: int) -> NDArray[np.int64]:
    import numpy as np

    table = np.full(256, other, np.int64)
    table[list(values)] = list(values.values())
    found: NDArray[np.int64] = table[classes]
    return found


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[-4:], "big")


def _encode(pixels: NDArray[Any], grid: Grid) -> bytes:
    """A JPEG 2000 file that gives back each pixel; as the real ones, it names no value for no data."""
    options = {"QUALITY": "100", "REVERSIBLE": "YES", "YCBCR420": "NO"}
    return _write("JP2OpenJPEG", ".jp2", pixels, grid, options)


def _write(driver: str, suffix: str, pixels: NDArray[Any], grid: Grid, options: dict[str, str]) -> bytes:
    from affine import Affine
    from rasterio.io import MemoryFile

    layers, height, width = pixels.shape
    step = WIDTH / width
    kind = {"driver": driver, "width": width, "height": height, "count": layers, "dtype": pixels.dtype}
    place = {"crs": f"EPSG:{grid.epsg}", "transform": Affine(step, 0, grid.left, 0, -step, grid.top)}
    with MemoryFile(ext=suffix) as memory:
        with memory.open(**kind, **place, **options) as file:
            file.write(pixels)
        return bytes(memory.getbuffer())
