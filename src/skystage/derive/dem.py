"""One elevation raster a stack, stitched from tiles that are staged: no request, equal bytes each time.

dem-stitcher merges the tiles, adds the geoid and moves samples. It is told which files, by the function below
`stitch_dem`: that one asks its own index again, fetches what it misses, and wants a log-in for tiles that lie
here. Where the plan says that a cell is sea, a tile of zeros stands for it: heights above the geoid are 0
there, those above the ellipsoid the geoid's own.

A raster appears when it was checked, and after it a receipt beside it, ``NAME.json``: what it was made of,
and the sha256 of its bytes. While both agree with what is asked there is nothing to do.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skystage.archives.dem import (
    ELLIPSOIDAL,
    GAPS,
    GEOID,
    KEY,
    NOTE,
    SHELVES,
    Cell,
    Options,
    cells,
    default_geoid,
    join,
    quietly,
    wrapped,
)
from skystage.canon import canonical
from skystage.derive import isce2, tiles
from skystage.derive.outcome import Outcome
from skystage.derive.scratch import scratch
from skystage.errors import (
    Offline,
    PlanError,
    SkystageError,
    StructureError,
    TransferError,
    Unresolvable,
)
from skystage.model import Asset, Companion, Json
from skystage.plan import Plan
from skystage.store import Store
from skystage.verify import digest_file
from skystage.whole import publish

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERTICAL = {
    "egm_08": ("EGM2008 geoid", 3855),
    "egm_96": ("EGM96 geoid", 5773),
    "geoid_18": ("NAVD 88 (GEOID18)", 5703),
}
"""What dem-stitcher calls a geoid: what the heights above it are, and their EPSG code."""
SECOND = 1 / 3600
"""Of arc, in degrees: the step of the 30 m models."""
SEAM = 2
"""Pixels from each side that close a seam between tiles of 30 m and of 90 m."""
TOOLS = ("dem-stitcher", "rasterio")
"""Packages whose version can change a raster's bytes."""


@dataclass(frozen=True, slots=True)
class Stitched:
    """The elevation raster of one stack.

    Attributes
    ----------
    stack
        Its key.
    path
        The raster.
    files
        All files that belong to it, the receipt included.
    already
        Whether it lay there already, made of the same.
    replaced
        Whether another one lay there, made of something else: another extent, other tiles.
    """

    stack: str
    path: Path
    files: tuple[Path, ...]
    already: bool
    replaced: bool = False


def stitch(
    plan: Plan,
    store: Store,
    out: Path,
    *,
    stacks: Sequence[str] = (),
    height: str | None = None,
    area_or_point: str | None = None,
    resolution: float | None = None,
    format: str | None = None,  # noqa: A002 - as the query and the command line call it
) -> Outcome[Stitched]:
    """Stitch the elevation raster of each stack of a plan, or of some.

    Parameters
    ----------
    plan
        One made ``with: {dem: ...}``, whose tiles are staged.
    store
        Where they are staged.
    out
        The folder for the rasters; made if it is not there.
    stacks
        Keys of stacks; default: all.
    height, area_or_point, resolution, format
        Instead of what the query says: see `skystage.archives.dem.Options`.

    Returns
    -------
    What became of every stack. A raster is in degrees of WGS 84, heights in metres, 32-bit floats. One
    that crosses the antimeridian has longitudes that go on beyond 180.

    Raises
    ------
    PlanError
        If the plan has no such stack, or no elevation model at all.
    QueryError
        If an option cannot be.
    SkystageError
        If dem-stitcher is not installed.
    """
    tools = {name: _version(name) for name in TOOLS}
    outcome = Outcome[Stitched]()
    for companion in _chosen(plan, stacks):
        noted = companion.properties[NOTE]
        options = Options(**{name: noted[name] for name in Options.__dataclass_fields__}).but(
            height=height, area_or_point=area_or_point, resolution=resolution, format=format
        )
        try:
            work = _Work(companion, options, _staged(companion, options, plan, store), tools)
            outcome.made.append(work.run(out))
        except TransferError as error:
            outcome.failures[companion.id] = error
    return outcome


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        raise SkystageError(
            f"derive dem: {name} is not installed", hint="pip install 'skystage[raster]'"
        ) from None


def _chosen(plan: Plan, stacks: Sequence[str]) -> list[Companion]:
    found = {one.id: one for one in plan.companions() if NOTE in one.properties}
    if not found:
        raise PlanError(
            f"{plan.path}: has no elevation model", hint="make it with `with: {dem: {name: glo_30}}`"
        )
    for key in stacks:
        if key not in found:
            near = difflib.get_close_matches(key, found, 1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise PlanError(f"--stack: got {key!r}", hint=f"the plan has: {', '.join(found)}{meant}")
    return [one for key, one in found.items() if not stacks or key in stacks]


@dataclass(frozen=True, slots=True)
class _File:
    """A staged file, and the sha256 that its receipt has."""

    path: Path
    sha256: str


def _staged(companion: Companion, options: Options, plan: Plan, store: Store) -> dict[str, list[_File]]:
    """The staged files by key; what is lacking is named, with the command that brings it."""
    holes = [one.reason for one in companion.unresolved]
    if holes and not (options.allow_voids and companion.assets):
        raise Unresolvable(
            f"{companion.id}: {'; '.join(holes)}",
            hint="another model may cover it; allow_voids: true leaves it without heights",
        )
    found: dict[str, list[_File]] = {}
    missing: list[Asset] = []
    for asset in companion.assets:
        receipt = store.receipt(asset)
        if receipt is None:
            missing.append(asset)
        else:
            found.setdefault(asset.key, []).append(_File(store.path(asset), receipt.digests["sha256"]))
    if missing:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        keys = " ".join(f"--asset {key}" for key in sorted({asset.key for asset in missing}))
        raise Offline(
            f"{companion.id}: {missing[0].path}{more}: not staged",
            hint=f"skystage fetch {plan.path} --store {store.root} {keys}",
        )
    return found


class _Work:
    """The way of one stack: from staged tiles to a checked raster and its receipt."""

    def __init__(
        self,
        companion: Companion,
        options: Options,
        staged: Mapping[str, list[_File]],
        tools: Mapping[str, str],
    ) -> None:
        noted = companion.properties[NOTE]
        self._stack, self._options, self._tools = companion.id, options, tools
        self._bounds = join(companion.bounds)
        self._sea: set[Cell] = {(lon, lat) for lon, lat in noted["sea"]}
        self._tiles = staged[KEY]
        self._geoid = self._find_geoid(staged)
        self._recipe: dict[str, Json] = {
            "stack": self._stack,
            "dem": {**noted, **options.to_json()},
            "bounds": list(self._bounds),
            "tiles": {one.path.name: one.sha256 for one in self._tiles},
            "geoid": {self._geoid.path.name: self._geoid.sha256} if self._geoid else {},
            "tools": dict(tools),
        }

    def _find_geoid(self, staged: Mapping[str, list[_File]]) -> _File | None:
        """The staged geoid, or the one that dem-stitcher ships; none where no heights are changed."""
        if self._options.height == "geoid" or self._options.name in ELLIPSOIDAL:
            return None
        if GEOID in staged:
            return staged[GEOID][0]
        path = Path(default_geoid(self._options.name))
        if not path.is_file():
            raise Offline(
                f"{self._stack}: the plan has no geoid",
                hint="make it with `with: {dem: {height: ellipsoid}}`",
            )
        return _File(path, digest_file(path, {})["sha256"])

    def run(self, out: Path) -> Stitched:
        """Make it, unless it is there; one process at a time."""
        stem = f"dem_{re.sub(r'[^A-Za-z0-9._-]', '_', self._stack)}_{self._options.name}"
        with scratch(out, stem) as work:
            return self._found(out, stem) or self._make(out, work, stem)

    def _found(self, out: Path, stem: str) -> Stitched | None:
        """What lies there, if it was made of the same and is still what was made."""
        for path in sorted(out.glob(f"{stem}_*.json")):
            try:
                receipt = json.loads(path.read_bytes())
                files = {out / name: digest for name, digest in receipt["files"].items()}
                if receipt["recipe"] != self._recipe:
                    continue
                right = all(digest_file(file, {})["sha256"] == digest for file, digest in files.items())
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue
            if right:
                return Stitched(self._stack, next(iter(files)), (*files, path), already=True)
        return None

    def _make(self, out: Path, work: Path, stem: str) -> Stitched:
        with _quietly():
            heights, profile, convention = self._heights(work)
        self._check(heights, profile)
        step = profile["transform"].a, -profile["transform"].e
        seconds = [f"{round(one * 3600, 3):g}" for one in step]
        size = "x".join(dict.fromkeys(seconds))
        stem = f"{stem}_{self._options.height}_{convention.lower()}_{size}arcsec"
        with _quietly():
            names = self._write(work, stem, heights, profile, convention)
        files = {name: digest_file(work / name, {})["sha256"] for name in names}
        receipt = f"{names[0]}.json"
        replaced = (out / names[0]).exists()
        (work / receipt).write_text(f"{canonical({'recipe': self._recipe, 'files': files})}\n")
        # Last the receipt: while it is not there, what lies there counts as not made.
        for name in (*names, receipt):
            publish(work / name, out / name)
        made = tuple(out / name for name in (*names, receipt))
        return Stitched(self._stack, out / names[0], made, already=False, replaced=replaced)

    # ----------------------------------------------------------------------------------------------
    # Heights

    def _heights(self, work: Path) -> tuple[NDArray[np.float32], dict[str, Any], str]:
        """Heights, the raster's profile, and whether its pixels are areas or points."""
        from dem_stitcher.merge import merge_arrays_with_geometadata

        geoid = None if self._geoid is None else tiles.continued(self._geoid.path, work)
        gap = GAPS.get(self._options.name)
        beside = [one for one in self._tiles if gap and one.path.parent.name == SHELVES[gap]]
        own = [one for one in self._tiles if one not in beside]
        resolution = None if self._options.resolution is None else self._options.resolution * SECOND
        if not own:
            # As dem-stitcher does where all of a 30 m raster comes from 90 m tiles.
            step = SECOND if resolution is None else resolution
            heights, profile, convention = self._merged(beside, gap or "", geoid, step, sea=True)
        else:
            heights, profile, convention = self._merged(own, self._options.name, geoid, resolution, sea=True)
            if beside:
                more, wider, _ = self._merged(beside, gap or "", geoid, resolution, sea=False)
                heights, profile = merge_arrays_with_geometadata([heights, more], [profile, wider])
                heights = _closed(heights[0])[None]
        return *self._trimmed(heights[0], profile), convention

    def _trimmed(
        self, heights: NDArray[np.float32], profile: dict[str, Any]
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Without the last rows and columns that are beyond the bounds and have holes.

        Where tiles of different widths meet, near the poles, some reach further than others.
        """
        import numpy as np
        from affine import Affine

        transform, (west, south, east, north) = profile["transform"], self._bounds
        void = np.isnan(heights)
        top, bottom, left, right = 0, heights.shape[0], 0, heights.shape[1]
        while right - left > 1 and void[:, right - 1].any() and _middle(transform, right - 1, 0)[0] > east:
            right -= 1
        while right - left > 1 and void[:, left].any() and _middle(transform, left, 0)[0] < west:
            left += 1
        while bottom - top > 1 and void[bottom - 1].any() and _middle(transform, 0, bottom - 1)[1] < south:
            bottom -= 1
        while bottom - top > 1 and void[top].any() and _middle(transform, 0, top)[1] > north:
            top += 1
        a, e = transform.a, transform.e
        moved = Affine(a, 0.0, transform.c + left * a, 0.0, e, transform.f + top * e)
        cut = heights[top:bottom, left:right]
        return cut, {**profile, "transform": moved, "height": cut.shape[0], "width": cut.shape[1]}

    def _merged(
        self, files: list[_File], name: str, geoid: Path | None, resolution: float | None, *, sea: bool
    ) -> tuple[NDArray[np.float32], dict[str, Any], str]:
        from dem_stitcher.stitcher import merge_and_transform_dem_tiles

        convention = self._options.area_or_point
        with ExitStack() as opened:
            datasets = [
                tiles.read(one.path, name, opened) for one in sorted(files, key=lambda one: one.path.name)
            ]
            if sea:
                datasets += [
                    tiles.zeros(datasets[0], cell, opened)
                    for cell in cells(self._bounds)
                    if wrapped(cell) in self._sea
                ]
            datasets = [tiles.shifted(one, self._bounds, opened) for one in datasets]
            native = datasets[0].tags().get("AREA_OR_POINT", "Area")
            heights, profile = merge_and_transform_dem_tiles(
                datasets,
                list(self._bounds),
                name,
                dst_ellipsoidal_height=geoid is not None,
                dst_area_or_point=convention and convention.capitalize(),
                dst_resolution=resolution,
                num_threads_reproj=1,
                n_threads_for_reading_tile_data=1,
                # It takes no Path.
                geoid_path=None if geoid is None else str(geoid),
            )
        return heights, profile, (convention or native).capitalize()

    def _check(self, heights: NDArray[np.float32], profile: Mapping[str, Any]) -> None:
        """Refuse a raster that is not where it should be, or has holes.

        Raises
        ------
        StructureError
            With what is wrong.
        """
        import numpy as np

        transform, (rows, columns) = profile["transform"], heights.shape
        if profile["crs"].to_epsg() != 4326:
            raise StructureError(f"{self._stack}: the raster is in {profile['crs']}, not in EPSG:4326")
        west, south, east, north = self._bounds
        beyond = 90.0 - 1e-9
        # Area and point differ by half a pixel, and a chosen resolution may cost another one.
        dx, dy = 1.5 * transform.a, -1.5 * transform.e
        covers = (
            transform.c <= west + dx
            and transform.c + columns * transform.a >= east - dx
            and (transform.f >= north - dy or north > beyond)
            and (transform.f + rows * transform.e <= south + dy or south < -beyond)
        )
        if not covers:
            raise StructureError(
                f"{self._stack}: the raster does not cover {self._bounds}", hint="are the tiles whole?"
            )
        void = np.isnan(heights)
        if void.any() and not self._options.allow_voids:
            row, column = np.argwhere(void)[0]
            where = _middle(transform, column, row)
            raise StructureError(
                f"{self._stack}: {int(void.sum()):,} of {void.size:,} pixels have no height, "
                f"the first at {where[0]:.4f} {where[1]:.4f}",
                hint="the model or its geoid has holes: take another, or allow_voids: true",
            )

    # ----------------------------------------------------------------------------------------------
    # Files

    def _write(
        self, work: Path, stem: str, heights: NDArray[np.float32], profile: Mapping[str, Any], convention: str
    ) -> list[str]:
        if self._options.format == "isce2":
            reference = "WGS84" if self._options.height == "ellipsoid" else self._above()[0].split()[0]
            name = f"{stem}.dem.wgs84" if self._options.height == "ellipsoid" else f"{stem}.dem"
            return isce2.write(work / name, heights, profile["transform"], reference)
        import rasterio
        import rasterio.shutil
        from rasterio.crs import CRS

        datum, code = self._above()
        crs = CRS.from_epsg(4326) if code is None else CRS.from_user_input(f"EPSG:4326+{code}")
        name = f"{stem}.tif"
        with rasterio.open(
            work / name,
            "w",
            driver="GTiff",
            dtype="float32",
            count=1,
            height=heights.shape[0],
            width=heights.shape[1],
            crs=crs,
            transform=profile["transform"],
            nodata=math.nan,
            tiled=True,
            blockxsize=512,
            blockysize=512,
            compress="deflate",
            predictor=3,
            bigtiff="if_safer",
        ) as file:
            file.write(heights, 1)
            file.update_tags(
                AREA_OR_POINT=convention,
                DEM_NAME=self._options.name,
                VERTICAL_DATUM=datum,
                GEOID=canonical(self._recipe["geoid"]),
                SOURCE_TILES=canonical(self._recipe["tiles"]),
                TIFFTAG_SOFTWARE=f"skystage; dem-stitcher {self._tools['dem-stitcher']}",
            )
            file.set_band_description(1, "height")
            file.set_band_unit(1, "metre")
        if self._options.format == "tif":
            return [name]
        cog = f"{stem}_cog.tif"
        rasterio.shutil.copy(
            work / name, work / cog, driver="COG", compress="deflate", predictor="yes", bigtiff="if_safer"
        )
        return [cog]

    def _above(self) -> tuple[str, int | None]:
        """What heights are above, and the EPSG code of a height system where there is one."""
        if self._options.height == "ellipsoid":
            return "WGS 84 ellipsoid", None
        from dem_stitcher.geoid import DEM2GEOID

        return VERTICAL[DEM2GEOID[self._options.name]]


@contextmanager
def _quietly() -> Iterator[None]:
    """dem-stitcher without bars and warnings; GDAL without neighbours, side files and threads of its own."""
    with quietly():
        import rasterio

        with rasterio.Env(
            GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_NUM_THREADS="1", GDAL_PAM_ENABLED="NO"
        ):
            yield


def _closed(heights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Seams closed with the mean of their neighbours.

    Between the last sample of a 30 m tile and the first pixel of a 90 m one there is a line without heights.
    """
    import numpy as np

    for _ in range(SEAM):
        void = np.isnan(heights)
        if not void.any():
            break
        around = np.pad(heights, 1, constant_values=math.nan)
        sides = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:])
        near = np.stack([side[void] for side in sides])
        count = np.isfinite(near).sum(axis=0)
        heights[void] = np.where(count > 0, np.nansum(near, axis=0) / np.maximum(count, 1), math.nan)
    return heights


def _middle(transform: Any, column: int, row: int) -> tuple[float, float]:
    """Longitude and latitude of the middle of a pixel."""
    return transform.c + (column + 0.5) * transform.a, transform.f + (row + 0.5) * transform.e
