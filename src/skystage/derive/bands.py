"""Bands of Sentinel-2 cut to an area: staged JPEG 2000 files in, cloud-optimised GeoTIFFs out, no request.

A window of the band's own pixels is read, and nothing is moved unless a resampling is named. Each raster has
a receipt beside it, ``NAME.tif.json``: what it was made of, the clouds over the area, and its sha256. While
both agree with what is asked there is nothing to do. Each product has a folder of its own, so two processings
of one sensing never meet.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from skystage.canon import canonical
from skystage.derive import cogs
from skystage.derive.clouds import Clouds, clouds
from skystage.derive.grids import Grid, covering, on_tile
from skystage.derive.outcome import Outcome
from skystage.derive.scratch import scratch
from skystage.derive.sentinel2 import radiometry
from skystage.errors import (
    Offline,
    PlanError,
    QueryError,
    SkystageError,
    TransferError,
    Unresolvable,
)
from skystage.model import Asset, Granule, Json, iso
from skystage.plan import Plan
from skystage.planfile import Batch
from skystage.s2names import METADATA, Band, Product, finest
from skystage.store import Store
from skystage.verify import digest_file
from skystage.whole import publish

TOOLS = ("rasterio",)
"""Packages whose version can change a raster's bytes."""
CLASSES_BY = ("nearest", "mode")
"""Resamplings that make no class of two others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to make of bands.

    Attributes
    ----------
    area
        GeoJSON as `skystage.aoi.parse` returns it; default: the whole tile.
    clip
        Whether what lies outside of the area, and not only of its bounds, becomes no data.
    resolution
        Metres: bands are brought to pixels of that side, from the tile's corner on.
    resampling
        One of `skystage.derive.cogs.RESAMPLINGS`. Classes are moved by ``mode`` if that is it, else by
        ``nearest``.
    stack
        Whether all bands of a product are in one file.
    scale
        Whether numbers become what they mean: reflectances, and 0 becomes NaN.
    mask
        Classes of SCL that become no data.
    max_cloud
        Products with more cloud over the area than this part, 0..1, are skipped.

    Raises
    ------
    QueryError
        If an option cannot be.
    """

    area: Mapping[str, Json] | None = None
    clip: bool = False
    resolution: float | None = None
    resampling: str | None = None
    stack: bool = False
    scale: bool = False
    mask: tuple[int, ...] = ()
    max_cloud: float | None = None

    def __post_init__(self) -> None:
        if self.clip and self.area is None:
            raise QueryError("--clip: there is no area to clip to", hint="it belongs to --area")
        if self.resolution is not None and not (math.isfinite(self.resolution) and self.resolution >= 1):
            raise QueryError(f"--resolution: got {self.resolution:g}", hint="metres, at least 1")
        if self.resampling is not None and self.resampling not in cogs.RESAMPLINGS:
            near = difflib.get_close_matches(self.resampling, cogs.RESAMPLINGS, 1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise QueryError(
                f"--resampling: got {self.resampling!r}",
                hint=f"allowed: {', '.join(cogs.RESAMPLINGS)}{meant}",
            )
        if (self.resolution is None) != (self.resampling is None):
            given, other = ("resampling", "resolution") if self.resampling else ("resolution", "resampling")
            raise QueryError(
                f"--{given}: without --{other}", hint="both, or neither: bands keep their own pixels"
            )
        if self.max_cloud is not None and not 0 <= self.max_cloud <= 1:
            raise QueryError(f"--max-cloud: got {self.max_cloud:g}", hint="a part of the area, 0 to 1")

    def moved_by(self, band: Band) -> str:
        """The resampling of a band."""
        asked = self.resampling or "nearest"
        return asked if not band.is_classes or asked in CLASSES_BY else "nearest"

    @property
    def suffix(self) -> str:
        """What a file's name says of them: whatever changes its numbers or its pixels, but not its extent."""
        at = "" if self.resolution is None else f"_at_{self.resolution:g}m"
        return f"{at}{'_masked' if self.mask else ''}{'_scaled' if self.scale else ''}"

    def to_json(self) -> dict[str, Json]:
        """As receipts have them: those that change a file."""
        return {
            "area": None if self.area is None else dict(self.area),
            "clip": self.clip,
            "resolution": self.resolution,
            "resampling": self.resampling,
            "stack": self.stack,
            "scale": self.scale,
            "mask": list(self.mask),
        }


@dataclass(frozen=True, slots=True)
class Extracted:
    """The rasters of one product, or why it has none.

    Attributes
    ----------
    paths
        The rasters, in the order of the bands; each has its receipt beside it, ``NAME.tif.json``.
    clouds
        Over the area; None where the product's SCL is not staged.
    already
        Whether all lay there already, made of the same.
    replaced
        Those of them that another one lay in the place of, made of something else: another area, other bands.
    skipped
        Why there are none: the area is not on the tile, or is cloudier than allowed. No failure.
    """

    product: str
    paths: tuple[Path, ...] = ()
    clouds: Clouds | None = None
    already: bool = False
    replaced: tuple[Path, ...] = ()
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class _File:
    """A file, and its sha256; `there` is false if it was released, and only its receipt is left."""

    path: Path
    sha256: str
    there: bool = True


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What the rasters of one product are made of."""

    product: Product
    bands: Mapping[str, _File]
    scenes: _File | None
    metadata: _File | None

    def all(self) -> Iterator[_File]:
        yield from self.bands.values()
        yield from (one for one in (self.scenes, self.metadata) if one is not None)


def extract(
    bands: Sequence[Path],
    out: Path,
    *,
    product: str,
    options: Options | None = None,
    scenes: Path | None = None,
    metadata: Path | None = None,
    threads: int = 1,
) -> Extracted:
    """Make rasters of some bands of one product, below ``OUT/PRODUCT``.

    Parameters
    ----------
    bands
        JPEG 2000 files under Sentinel-2's own names, or others that end as those do (``..._B02_10m.jp2``).
    product
        The product's name without suffix. It names the folder, and says the baseline.
    scenes
        The SCL file that clouds are taken from; default: the finest of `bands`.
    metadata
        The product's MTD_MSIL2A.xml or MTD_MSIL1C.xml.
    threads
        That decode and compress. The bytes are the same with any number.

    Raises
    ------
    QueryError
        If a file's name is no band's or another's as well, or bands cannot be brought together as asked.
    StructureError
        If a file is not what it should be.
    """
    named = {}
    for path in bands:
        band = Band.named(path.stem)
        if band is None:
            raise QueryError(f"{path.name}: is no band", hint="a band's file ends like _B02_10m.jp2")
        if band.key in named:
            raise QueryError(f"{path}: a second {band.key}", hint="bands of one product, each once")
        named[band.key] = _hashed(path)
    own = finest("SCL", named)
    inputs = _Inputs(
        Product.named(product),
        named,
        _hashed(scenes) if scenes is not None else named[own] if own else None,
        None if metadata is None else _hashed(metadata),
    )
    return _Work(inputs, options or Options(), threads).run(out)


def _hashed(path: Path) -> _File:
    return _File(path, digest_file(path, {})["sha256"])


def extract_all(
    plan: Plan,
    store: Store,
    out: Path,
    options: Options | None = None,
    *,
    bands: Sequence[str] = (),
    granules: Sequence[str] = (),
    batch: Batch | None = None,
    threads: int = 1,
) -> Outcome[Extracted]:
    """Make rasters of the staged bands of a plan's products, or of some.

    Parameters
    ----------
    bands
        Their keys; ``B02`` is the finest B02 that a product has. Default: all that the plan has.
    granules
        Ids of products; default: all of the plan, or of its `batch`.

    Raises
    ------
    PlanError
        If the plan has no such band or product, or products without a band. Of a plan that kept nothing
        nothing is made.
    """
    _check(plan, bands, granules)
    outcome = Outcome[Extracted]()
    for granule in plan.granules(batch):
        if granules and granule.id not in granules:
            continue
        try:
            inputs = _staged(granule, bands, plan, store)
            done = _Work(inputs, options or Options(), threads).run(out)
        except (QueryError, TransferError) as error:
            outcome.failures[granule.id] = error
        else:
            (outcome.skipped if done.skipped else outcome.made).append(done)
    return outcome


def band_assets(granule: Granule) -> dict[str, Asset]:
    """The bands of a granule: its JPEG 2000 files that are named as bands are, by the key in their names.

    A plan that was asked for ``B02`` calls the finest one so; here it is ``B02_10m``.
    """
    named = (
        (Band.named(one.name.removesuffix(".jp2")), one)
        for one in granule.assets
        if one.name.endswith(".jp2")
    )
    return {band.key: asset for band, asset in named if band is not None}


def raster_names(stems: Mapping[str, str], options: Options) -> dict[str, tuple[str, ...]]:
    """The names of a product's rasters, each with the keys of its bands.

    Parameters
    ----------
    stems
        The names of the bands' files by key, without suffix; at least one.
    """
    if not options.stack:
        return {f"{stem}{options.suffix}.tif": (key,) for key, stem in stems.items()}
    first = next(iter(stems.values()))
    # Not the key it goes by: `B02` of a plan may be the file of B02_10m.
    band = Band.named(first)
    return {f"{first.removesuffix(band.key if band else '')}stack{options.suffix}.tif": tuple(stems)}


def _check(plan: Plan, bands: Sequence[str], granules: Sequence[str]) -> None:
    """Refuse what the whole plan does not have."""
    keys: dict[str, None] = {}
    ids = set()
    for granule in plan.granules():
        keys.update(dict.fromkeys(band_assets(granule)))
        ids.add(granule.id)
    if not ids:
        return
    if not keys:
        raise PlanError(
            f"{plan.path}: has no bands of Sentinel-2", hint="plan them: assets: [B04_10m, SCL_20m]"
        )
    for option, given, known in (("--band", bands, keys), ("--granule", granules, ids)):
        for one in given:
            if finest(one, known) is None:
                near = difflib.get_close_matches(one, known, 1)
                meant = f"did you mean {near[0]!r}?" if near else ""
                has = f"the plan has: {', '.join(sorted(keys))}" if option == "--band" else ""
                raise PlanError(
                    f"{option}: the plan has no {one!r}", hint="; ".join(filter(None, (has, meant)))
                )


def _staged(granule: Granule, bands: Sequence[str], plan: Plan, store: Store) -> _Inputs:
    """The staged files of a product; what is lacking is named, with the command that brings it."""
    there = band_assets(granule)
    allowed = plan.query.get("allow_missing", ())
    gaps = {one.key: one.reason for one in granule.unresolved if one.key not in allowed}
    wanted: dict[str, Asset] = {}
    if bands:
        for key in bands:
            if (own := finest(key, there)) is not None:
                wanted[own] = there[own]
            elif key not in allowed:
                reason = gaps.get(key, "the plan has none of it")
                raise Unresolvable(f"{granule.id}: {key}: {reason}", hint="another --band, or plan it")
    else:
        for key, reason in gaps.items():
            raise Unresolvable(f"{granule.id}: {key}: {reason}", hint="--band names those to make")
        wanted = there
    if not wanted:
        raise Unresolvable(f"{granule.id}: has no bands", hint="plan them: assets: [B04_10m, SCL_20m]")
    missing: dict[str, Asset] = {}

    def find(asset: Asset | None) -> _File | None:
        if asset is None:
            return None
        receipt = store.receipt(asset)
        if receipt is not None:
            return _File(store.path(asset), receipt.digests["sha256"])
        if (released := store.released(asset)) is not None:
            return _File(store.path(asset), released.receipt.digests["sha256"], there=False)
        missing[asset.path] = asset
        return None

    found = {key: file for key, asset in wanted.items() if (file := find(asset)) is not None}
    scenes, metadata = there.get(finest("SCL", there) or ""), granule.asset(METADATA)
    inputs = _Inputs(Product.named(granule.id), found, find(scenes), find(metadata))
    if missing:
        first, *others = missing.values()
        more = f" and {len(others):,} more" if others else ""
        keys = " ".join(f"--asset {key}" for key in sorted({asset.key for asset in missing.values()}))
        raise Offline(
            f"{granule.id}: {first.name}{more}: not staged",
            hint=f"skystage fetch {plan.path} --store {store.root} --granule {granule.id} {keys}",
        )
    if inputs.product.sensed is None and granule.start is not None:
        return replace(inputs, product=replace(inputs.product, sensed=granule.start))
    return inputs


def _versions() -> dict[str, str]:
    try:
        return {name: version(name) for name in TOOLS}
    except PackageNotFoundError as error:
        raise SkystageError(
            f"derive bands: {error.name} is not installed", hint="pip install 'skystage[raster]'"
        ) from None


class _Work:
    """The way of one product: from staged bands to checked rasters and their receipts."""

    def __init__(self, inputs: _Inputs, options: Options, threads: int) -> None:
        self._inputs, self._options, self._threads = inputs, options, threads
        self._id = inputs.product.id
        self._tools = _versions()
        self._bands = {
            key: band
            for key, file in inputs.bands.items()
            if (band := Band.named(file.path.stem)) is not None
        }
        if options.resampling not in {None, *CLASSES_BY} and all(
            band.is_classes for band in self._bands.values()
        ):
            raise QueryError(
                f"--resampling: got {options.resampling!r} for classes: {', '.join(self._bands)}",
                hint=f"allowed for them: {', '.join(CLASSES_BY)}",
            )
        if inputs.scenes is None and (options.mask or options.max_cloud is not None):
            raise Unresolvable(
                f"{self._id}: has no SCL to tell clouds by", hint="plan it: assets: [SCL_20m, ...]"
            )

    def run(self, out: Path) -> Extracted:
        """Make them, unless they are there; one process at a time."""
        stem = re.sub(r"[^A-Za-z0-9._-]", "_", self._id)
        folder = out / stem
        with scratch(out, stem) as work:
            files = self._files()
            found = {name: self._found(folder, name, keys) for name, keys in files.items()}
            lacking = [name for name, receipt in found.items() if receipt is None]
            if not lacking:
                seen = next(iter(found.values())) or {}
                noted = Clouds.from_json(seen["clouds"]) if seen["clouds"] else None
                skipped = self._too_cloudy(noted)
                paths = () if skipped else tuple(folder / name for name in files)
                return Extracted(self._id, paths, noted, already=True, skipped=skipped)
            self._need_files()
            with cogs.quietly(self._threads):
                return self._make(folder, work, files, lacking)

    def _files(self) -> dict[str, tuple[str, ...]]:
        """The names of the rasters, each with the keys of its bands."""
        return raster_names({key: self._inputs.bands[key].path.stem for key in self._bands}, self._options)

    def _recipe(self, keys: Sequence[str]) -> dict[str, Json]:
        """What a raster is made of: all that can change its bytes, or what is said of it."""
        scenes, metadata = self._inputs.scenes, self._inputs.metadata
        return {
            "product": self._id,
            "bands": {key: self._inputs.bands[key].sha256 for key in keys},
            "scenes": None if scenes is None else scenes.sha256,
            "metadata": None if metadata is None else metadata.sha256,
            "options": self._options.to_json(),
            "tools": self._tools,
        }

    def _found(self, folder: Path, name: str, keys: Sequence[str]) -> dict[str, Json] | None:
        """The receipt of a raster that was made of the same and is still what was made."""
        try:
            receipt = json.loads((folder / f"{name}.json").read_bytes())
            same = receipt["recipe"] == json.loads(canonical(self._recipe(keys)))
            right = same and digest_file(folder / name, {})["sha256"] == receipt["files"][name]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return receipt if right and "clouds" in receipt else None

    def _need_files(self) -> None:
        gone = [one for one in self._inputs.all() if not one.there]
        if gone:
            raise Offline(
                f"{self._id}: {gone[0].path.name} was released",
                hint="skystage fetch --released brings it back",
            )

    def _too_cloudy(self, found: Clouds | None) -> str:
        limit = self._options.max_cloud
        if limit is None or found is None:
            return ""
        if found.cloud is None:
            return "no valid pixel in the area"
        return f"cloud {found.cloud:.3f} of the area, at most {limit:g}" if found.cloud > limit else ""

    def _make(
        self, folder: Path, work: Path, files: Mapping[str, Sequence[str]], lacking: Sequence[str]
    ) -> Extracted:
        grids = {key: self._grid(file) for key, file in self._inputs.bands.items()}
        self._check_together(grids)
        area, some = self._options.area, next(iter(grids.values()))
        inside = None if area is None else on_tile(area, some)
        windows = {
            key: grid.whole if inside is None else covering(inside, grid) for key, grid in grids.items()
        }
        if None in windows.values():
            return Extracted(self._id, skipped="the area is not on the tile")
        scenes = self._inputs.scenes
        noted = None if scenes is None else clouds(scenes.path, area)
        if skipped := self._too_cloudy(noted):
            return Extracted(self._id, clouds=noted, skipped=skipped)
        metadata = self._inputs.metadata
        meaning = radiometry(self._inputs.product, None if metadata is None else metadata.path.read_bytes())
        replaced = []
        for name in lacking:
            layers = [
                cogs.Layer(
                    self._inputs.bands[key].path,
                    self._bands[key],
                    meaning.of(self._bands[key]),
                    self._options.moved_by(self._bands[key]),
                )
                for key in files[name]
            ]
            first = files[name][0]
            window = windows[first]
            assert window is not None  # noqa: S101 - looked at above
            cut = cogs.Cut(
                grids[first],
                window,
                inside if self._options.clip else None,
                None if scenes is None else scenes.path,
                self._options.mask,
                self._options.scale,
            )
            cogs.write(work / name, layers, cut, self._tags(meaning.baseline), self._threads)
            receipt = {
                "recipe": self._recipe(files[name]),
                "files": {name: digest_file(work / name, {})["sha256"]},
                "clouds": None if noted is None else noted.to_json(),
                "window": [window.column, window.row, window.columns, window.rows],
            }
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / name).exists():
                replaced.append(folder / name)
            # Last the receipt: while it is not there, what lies there counts as not made.
            (folder / f"{name}.json").unlink(missing_ok=True)
            publish(work / name, folder / name)
            (work / f"{name}.json").write_text(f"{canonical(receipt)}\n")
            publish(work / f"{name}.json", folder / f"{name}.json")
        paths = tuple(folder / name for name in files)
        return Extracted(self._id, paths, noted, replaced=tuple(replaced))

    def _grid(self, file: _File) -> Grid:
        own = cogs.grid_of(file.path)
        wanted = self._options.resolution
        return own if wanted is None or math.isclose(own.step, wanted) else own.with_step(wanted)

    def _check_together(self, grids: Mapping[str, Grid]) -> None:
        """Refuse a stack that no single file can hold."""
        if not self._options.stack:
            return
        steps = {f"{grid.step:g} m": key for key, grid in grids.items()}
        if len(set(grids.values())) > 1:
            said = ", ".join(f"{key} {step}" for step, key in sorted(steps.items()))
            raise QueryError(
                f"--stack: {self._id} has bands on several grids ({said})",
                hint="bring them to one: --resolution 10 --resampling nearest",
            )
        if problem := cogs.stackable(list(self._bands.values())):
            raise QueryError(f"--stack: {problem}", hint="choose with --band")

    def _tags(self, baseline: str | None) -> dict[str, str]:
        product, options = self._inputs.product, self._options
        tags = {"PRODUCT_ID": self._id, "TIFFTAG_SOFTWARE": f"skystage; rasterio {self._tools['rasterio']}"}
        if baseline is not None:
            tags["PROCESSING_BASELINE"] = baseline
        if product.sensed is not None:
            tags["ACQUISITION_TIME"] = iso(product.sensed)
        if options.mask:
            tags["SCL_MASKED"] = " ".join(map(str, options.mask))
        if options.resampling is not None:
            tags["RESAMPLING"] = options.resampling
        return tags
