"""Tiles and geoids as dem-stitcher is given them: opened, at sea level, beyond the antimeridian."""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from skystage.archives.dem import Box, Cell, wrapped

PAD = 8
"""Columns that a geoid is continued by beyond the antimeridian: more than a cubic kernel reaches."""


def read(path: Path, name: str, opened: ExitStack) -> Any:
    """A tile as GDAL reads it; what lies zipped, unpacked in memory."""
    import rasterio
    from dem_stitcher.stitcher import RASTER_READERS
    from rasterio.io import MemoryFile

    if path.suffix != ".zip":
        return opened.enter_context(rasterio.open(path))
    heights, profile = RASTER_READERS[name](str(path))
    memory = opened.enter_context(MemoryFile())
    profile.update(driver="GTiff", dtype="float32")
    dataset = opened.enter_context(memory.open(**profile))
    dataset.write(heights)
    dataset.update_tags(AREA_OR_POINT="Point")
    return dataset


def zeros(like: Any, cell: Cell, opened: ExitStack) -> Any:
    """A tile of sea level on the grid of another one."""
    from affine import Affine
    from rasterio.io import MemoryFile

    left, bottom, right, top = like.bounds
    here = math.floor((left + right) / 2), math.floor((bottom + top) / 2)
    (lon, lat), step = wrapped(cell), like.transform
    memory = opened.enter_context(MemoryFile())
    dataset = opened.enter_context(
        memory.open(
            driver="GTiff",
            dtype="float32",
            count=1,
            height=like.height,
            width=like.width,
            crs=like.crs,
            transform=Affine(step.a, 0.0, step.c + lon - here[0], 0.0, step.e, step.f + lat - here[1]),
            sparse_ok=True,
        )
    )
    dataset.update_tags(AREA_OR_POINT=like.tags().get("AREA_OR_POINT", "Area"))
    return dataset


def shifted(dataset: Any, bounds: Box, opened: ExitStack) -> Any:
    """The tile where bounds beyond the antimeridian look for it."""
    from dem_stitcher.rio_tools import translate_dataset

    if bounds[2] <= 180 or dataset.bounds.right > 0:
        return dataset
    tags = dataset.tags()
    memory, moved = translate_dataset(dataset, 360 / dataset.res[0], 0)
    opened.enter_context(memory)
    moved = opened.enter_context(moved)
    moved.update_tags(**tags)
    return moved


def continued(path: Path, work: Path) -> Path:
    """A geoid of the whole earth, continued beyond both of its ends by a few columns of the other one.

    The grids end half a cell before the antimeridian: what lies between would have no geoid.
    """
    import rasterio

    with rasterio.open(path) as geoid:
        wide, high, step = geoid.width, geoid.height, geoid.transform.a
        turn = round(360 / step)
        if abs(wide - turn) > 1:
            return path
        left, _, _, top = geoid.bounds
        down, nodata, crs = geoid.transform.e, geoid.nodata, geoid.crs.to_wkt()
    pieces = [(turn - PAD, PAD, 0), (0, wide, PAD), (wide - turn, PAD, PAD + wide)]
    sources = "".join(
        f'<SimpleSource><SourceFilename relativeToVRT="0">{escape(str(path.absolute()))}</SourceFilename>'
        f'<SourceBand>1</SourceBand><SrcRect xOff="{first}" yOff="0" xSize="{count}" ySize="{high}"/>'
        f'<DstRect xOff="{at}" yOff="0" xSize="{count}" ySize="{high}"/></SimpleSource>'
        for first, count, at in pieces
    )
    hole = "" if nodata is None else f"<NoDataValue>{nodata!r}</NoDataValue>"
    continued = work / "geoid.vrt"
    continued.write_text(
        f'<VRTDataset rasterXSize="{wide + 2 * PAD}" rasterYSize="{high}"><SRS>{escape(crs)}</SRS>'
        f"<GeoTransform>{left - PAD * step!r}, {step!r}, 0, {top!r}, 0, {down!r}</GeoTransform>"
        f'<VRTRasterBand dataType="Float32" band="1">{hole}{sources}</VRTRasterBand></VRTDataset>\n'
    )
    return continued
