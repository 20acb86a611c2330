"""Where an area lies on a tile's pixels: areas in the tile's projection, windows of whole pixels. No I/O."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import shapely
from shapely.geometry import shape

from skystage.model import Json

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

STEP = 0.01
"""Degrees between the vertices of a projected edge. A parallel leaves its chord by 0.1 m at 70 degrees."""
TOLERANCE = 0.001
"""Pixels that an area may reach into one without taking it: projecting is exact to less. GDAL's own."""
_RIM = 64
"""Vertices of a side of the tile, when its place in degrees is asked."""
_MARGIN = 0.05
"""Degrees around the tile within which an area is projected: UTM knows no other side of the earth."""
_TURN = 360.0


@dataclass(frozen=True, slots=True)
class Window:
    """Whole pixels of a grid: the first column and row, and how many."""

    column: int
    row: int
    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class Grid:
    """Square pixels, north up.

    Attributes
    ----------
    crs
        As WKT, or anything that names a CRS in metres.
    west, north
        The outer corner of the first pixel, in metres.
    step
        The side of a pixel, in metres.
    """

    crs: str
    west: float
    north: float
    step: float
    columns: int
    rows: int

    def with_step(self, step: float) -> Grid:
        """The same tile in other pixels, from the same corner; the last ones may reach beyond it."""
        columns, rows = (
            math.ceil(count * self.step / step - TOLERANCE) for count in (self.columns, self.rows)
        )
        return Grid(self.crs, self.west, self.north, step, columns, rows)

    def corner(self, window: Window) -> tuple[float, float]:
        """West and north of a window, in metres."""
        return self.west + window.column * self.step, self.north - window.row * self.step

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north, in metres."""
        return (
            self.west,
            self.north - self.rows * self.step,
            self.west + self.columns * self.step,
            self.north,
        )

    @property
    def whole(self) -> Window:
        """All of it."""
        return Window(0, 0, self.columns, self.rows)


def on_tile(area: Mapping[str, Json], grid: Grid) -> BaseGeometry:
    """The part of an area that lies on a tile, in the tile's projection; empty where there is none.

    Edges are straight in longitude and latitude, as everywhere, and so curved on the tile.

    Parameters
    ----------
    area
        GeoJSON, as `skystage.aoi.parse` returns it: cut at the antimeridian.
    """
    change = _transformer(grid.crs)
    tile = shapely.box(*grid.bounds)
    rim = shapely.get_coordinates(shapely.segmentize(tile, (tile.bounds[2] - tile.bounds[0]) / _RIM))
    lon, lat = change.transform(rim[:, 0], rim[:, 1], direction="INVERSE")
    # Longitudes that run on across the antimeridian, as the tile does.
    lon = lon[0] + (lon - lon[0] + _TURN / 2) % _TURN - _TURN / 2
    near = shapely.box(
        lon.min() - _MARGIN, lat.min() - _MARGIN, lon.max() + _MARGIN, min(lat.max() + _MARGIN, 90.0)
    )
    given = shape(dict(area))
    turned = [shapely.transform(given, _shift(turn)) for turn in (-_TURN, 0.0, _TURN)]
    found = shapely.union_all([shapely.intersection(one, near) for one in turned])
    found = shapely.segmentize(found, STEP)
    found = shapely.transform(found, lambda xy: np.column_stack(change.transform(xy[:, 0], xy[:, 1])))
    found = shapely.intersection(shapely.make_valid(found), tile)
    # An area that only touches the tile leaves a line or a point of itself there.
    kind = shapely.get_dimensions(given)
    return shapely.union_all([part for part in _simple(found) if shapely.get_dimensions(part) == kind])


def _simple(found: BaseGeometry) -> list[BaseGeometry]:
    """Its points, lines and polygons."""
    parts: list[BaseGeometry] = []
    for part in shapely.get_parts(found):
        parts += _simple(part) if hasattr(part, "geoms") else [part]
    return parts


def covering(found: BaseGeometry, grid: Grid) -> Window | None:
    """The smallest window of whole pixels that covers a geometry; None if it lies on no pixel.

    What reaches into a pixel by less than `TOLERANCE` of its side does not take it. A point takes the one
    pixel that it lies in.
    """
    if found.is_empty:
        return None
    west, south, east, north = found.bounds
    left, right = _span((west - grid.west) / grid.step, (east - grid.west) / grid.step, grid.columns)
    top, bottom = _span((grid.north - north) / grid.step, (grid.north - south) / grid.step, grid.rows)
    if left >= right or top >= bottom:
        return None
    return Window(left, top, right - left, bottom - top)


def _span(first: float, last: float, count: int) -> tuple[int, int]:
    begin = math.floor(first + TOLERANCE)
    end = max(math.ceil(last - TOLERANCE), begin + 1)
    return max(begin, 0), min(end, count)


def _shift(by: float) -> Any:
    return lambda xy: xy + np.array([by, 0.0])


@functools.cache
def _transformer(crs: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
