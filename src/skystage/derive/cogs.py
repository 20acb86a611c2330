"""Bands as windows of pixels, and windows as cloud-optimised GeoTIFFs: the only reader and writer of rasters.

Nothing is held but a strip of a window: what a whole tile costs in memory is what a strip of it costs.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skystage.derive.grids import Grid, Window
from skystage.derive.sentinel2 import Numbers
from skystage.errors import SkystageError, StructureError
from skystage.s2names import MASK, PICTURE, Band

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

STRIP = 1024
"""Rows that are read at once: a row of the tiles that Sentinel-2's JPEG 2000 files are made of."""
BLOCK = 512
"""The side of a COG's tiles, in pixels."""
RESAMPLINGS = ("nearest", "bilinear", "cubic", "average", "mode", "med", "min", "max")
"""GDAL's names."""
CHANNELS = ("red", "green", "blue")


@dataclass(frozen=True, slots=True)
class Layer:
    """One band of a product, on its way to a file.

    Attributes
    ----------
    resampling
        One of `RESAMPLINGS`, used where the file's grid is not the band's own.
    """

    path: Path
    band: Band
    numbers: Numbers | None
    resampling: str


@dataclass(frozen=True, slots=True)
class Cut:
    """What of a tile is wanted, and how.

    Attributes
    ----------
    grid, window
        The pixels.
    inside
        In the tile's projection: pixels whose middle lies outside of it become no data; of points and lines
        the pixels are kept that they touch. None keeps all.
    scenes, masked
        The file of the scene classification, and its classes that become no data in all bands but classes.
    scale
        Whether numbers become what they mean, as 32-bit floats.
    """

    grid: Grid
    window: Window
    inside: BaseGeometry | None = None
    scenes: Path | None = None
    masked: Sequence[int] = ()
    scale: bool = False


@contextmanager
def quietly(threads: int = 1) -> Iterator[None]:
    """GDAL without neighbours and side files, with that many threads; its complaints as ours.

    Raises
    ------
    StructureError
        If a file is not what it should be.
    SkystageError
        If rasterio is not installed.
    """
    try:
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning, RasterioError
    except ImportError:
        raise SkystageError(
            "derive: rasterio is not installed", hint="pip install 'skystage[raster]'"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # which is found out, and an error
        try:
            with rasterio.Env(
                GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR",
                GDAL_NUM_THREADS=str(threads),
                GDAL_PAM_ENABLED="NO",
            ):
                yield
        except RasterioError as error:
            raise StructureError(f"{error}", hint="is the file whole? skystage verify --deep") from error


def open_file(path: Path) -> Any:
    """A file as GDAL reads it.

    Raises
    ------
    StructureError
        If it cannot.
    """
    import rasterio
    from rasterio.errors import RasterioError

    try:
        return rasterio.open(path)
    except RasterioError as error:
        raise _unreadable(path.name, error) from error


def _unreadable(name: str, error: Exception) -> StructureError:
    # rasterio's own words may be no more than that something went wrong before.
    return StructureError(f"{name}: {error.__cause__ or error}", hint="is it whole? skystage verify --deep")


def grid_of(path: Path) -> Grid:
    """The pixels of a file.

    Raises
    ------
    StructureError
        If they are not square, or not north up, or nowhere.
    """
    with open_file(path) as file:
        at = file.transform
        if file.crs is None or at.b or at.d or at.a <= 0 or not math.isclose(at.a, -at.e):
            raise StructureError(f"{path.name}: is not on a grid of square pixels in a projection")
        return Grid(file.crs.to_wkt(), at.c, at.f, at.a, file.width, file.height)


@contextmanager
def opened(path: Path, band: Band, grid: Grid, resampling: str) -> Iterator[Any]:
    """A file as it is, or as GDAL's warper sees it on another grid of the same tile."""
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT

    own = grid_of(path)
    with open_file(path) as file:
        if own == grid:
            yield file
            return
        with WarpedVRT(
            file,
            crs=file.crs,
            transform=rasterio.Affine(grid.step, 0.0, grid.west, 0.0, -grid.step, grid.north),
            width=grid.columns,
            height=grid.rows,
            src_nodata=band.nodata,
            nodata=band.nodata,
            resampling=Resampling[resampling],
        ) as warped:
            yield warped


def strips(window: Window) -> Iterator[Window]:
    """A window in parts that are read at once; they end where the tiles of the file do."""
    row, end = window.row, window.row + window.rows
    while row < end:
        following = min((row // STRIP + 1) * STRIP, end)
        yield Window(window.column, row, window.columns, following - row)
        row = following


def read(dataset: Any, window: Window) -> NDArray[Any]:
    """The pixels of a window: bands, rows, columns."""
    from rasterio.errors import RasterioError
    from rasterio.windows import Window as Pixels

    try:
        found: NDArray[Any] = dataset.read(
            window=Pixels(window.column, window.row, window.columns, window.rows)
        )
    except RasterioError as error:
        raise _unreadable(Path(dataset.name).name, error) from error
    return found


def read_as(dataset: Any, bands: Sequence[int], shape: tuple[int, int], resampling: str) -> NDArray[Any]:
    """Bands of a file in fewer or more pixels, rows and columns; from its overviews where they will do."""
    from rasterio.enums import Resampling
    from rasterio.errors import RasterioError

    try:
        found: NDArray[Any] = dataset.read(
            list(bands),
            out_shape=(len(bands), *shape),
            # More pixels are the same ones several times.
            resampling=Resampling[resampling if shape[0] < dataset.height else "nearest"],
        )
    except RasterioError as error:
        raise _unreadable(Path(dataset.name).name, error) from error
    return found


def outside(shape: BaseGeometry, grid: Grid, window: Window) -> NDArray[np.bool_]:
    """Which pixels of a window do not belong to an area; see `Cut`."""
    import shapely
    from rasterio import Affine
    from rasterio.features import geometry_mask

    west, north = grid.corner(window)
    found: NDArray[np.bool_] = geometry_mask(
        [shape],
        (window.rows, window.columns),
        Affine(grid.step, 0.0, west, 0.0, -grid.step, north),
        all_touched=bool(shapely.get_dimensions(shape) < 2),
    )
    return found


def write(path: Path, layers: Sequence[Layer], cut: Cut, tags: Mapping[str, str], threads: int = 1) -> None:
    """Write bands on one grid as one cloud-optimised GeoTIFF; equal bands and cuts are equal bytes.

    Parameters
    ----------
    path
        The file to be made; beside it lies for a while what it is made from.
    tags
        The file's own.
    """
    import rasterio.shutil

    plain = path.with_name(f"{path.stem}.plain.tif")
    try:
        _write_plain(plain, layers, cut, tags)
        average = not any(layer.band.is_classes for layer in layers)
        rasterio.shutil.copy(
            plain,
            path,
            driver="COG",
            compress="deflate",
            predictor="yes",
            blocksize=BLOCK,
            overview_resampling="average" if average else "nearest",
            bigtiff="if_safer",
            num_threads=str(threads),
        )
    finally:
        plain.unlink(missing_ok=True)


def _write_plain(path: Path, layers: Sequence[Layer], cut: Cut, tags: Mapping[str, str]) -> None:
    """The pixels as a GeoTIFF that is quickly written and read, with all that is said about them."""
    import numpy as np
    import rasterio

    grid, window = cut.grid, cut.window
    west, north = grid.corner(window)
    with ExitStack() as stack:
        sources = [stack.enter_context(opened(one.path, one.band, grid, one.resampling)) for one in layers]
        scenes = None
        if cut.masked and cut.scenes is not None:
            band = Band.named("SCL")
            assert band is not None  # noqa: S101 - that is its name
            scenes = stack.enter_context(opened(cut.scenes, band, grid, "nearest"))
        scaled = [cut.scale and one.numbers is not None for one in layers]
        kinds = {one.band.kind for one in layers}
        dtype = "float32" if any(scaled) else np.result_type(*(one.dtypes[0] for one in sources)).name
        nodata = math.nan if any(scaled) else layers[0].band.nodata
        file = stack.enter_context(
            rasterio.open(
                path,
                "w",
                driver="GTiff",
                dtype=dtype,
                count=sum(one.count for one in sources),
                width=window.columns,
                height=window.rows,
                crs=sources[0].crs,
                transform=rasterio.Affine(grid.step, 0.0, west, 0.0, -grid.step, north),
                nodata=nodata,
                bigtiff="if_safer",
                photometric="RGB" if kinds == {PICTURE} and len(layers) == 1 else "MINISBLACK",
            )
        )
        file.update_tags(**tags)
        _describe(file, layers, [one.count for one in sources], scaled)
        for part in strips(window):
            beyond = np.zeros((part.rows, part.columns), bool)
            if cut.inside is not None:
                beyond = outside(cut.inside, grid, part)
            hidden = beyond
            if scenes is not None:
                hidden = beyond | np.isin(read(scenes, part)[0], cut.masked)
            at = rasterio.windows.Window(0, part.row - window.row, part.columns, part.rows)
            first = 1
            for layer, source, scale in zip(layers, sources, scaled, strict=True):
                pixels = read(source, part)
                void = pixels == layer.band.nodata
                if scale and layer.numbers is not None:
                    pixels = (pixels.astype("float64") + layer.numbers.offset) / layer.numbers.quantification
                pixels = pixels.astype(dtype, copy=False)
                void |= beyond if layer.band.is_classes else hidden
                pixels[void] = nodata
                file.write(pixels, range(first, first + source.count), window=at)
                first += source.count


def _describe(file: Any, layers: Sequence[Layer], counts: Sequence[int], scaled: Sequence[bool]) -> None:
    """Give each band of a file its name, and what its numbers mean."""
    names, steps, shifts = [], [], []
    for layer, count, scale in zip(layers, counts, scaled, strict=True):
        key, numbers = layer.band.key, layer.numbers
        several = CHANNELS if layer.band.kind == PICTURE else range(1, count + 1)
        own = [key] if count == 1 else [f"{key}_{one}" for one in several]
        for name in own:
            names.append(name)
            if numbers is None or scale:
                steps.append(1.0)
                shifts.append(0.0)
            else:
                steps.append(1 / numbers.quantification)
                shifts.append(numbers.offset / numbers.quantification)
            if numbers is not None:
                prefix = "APPLIED_" if scale else ""
                said = {
                    f"{prefix}QUANTIFICATION_VALUE": f"{numbers.quantification:g}",
                    f"{prefix}ADD_OFFSET": f"{numbers.offset:g}",
                }
                file.update_tags(len(names), **said)
    file.descriptions = tuple(names)
    if set(steps) != {1.0}:
        file.scales, file.offsets = tuple(steps), tuple(shifts)


def stackable(bands: Sequence[Band]) -> str:
    """Why bands cannot be in one file, or nothing: a file has one value for no data."""
    masks = [band.key for band in bands if band.kind == MASK]
    if masks and len(masks) < len(bands):
        return f"{masks[0]} has another value for no data than the other bands"
    return ""
