"""The contact sheet: one small picture a Sentinel-2 product, in time order, as one PNG to look through.

What is drawn is read at the size that it is drawn in, one product after the other: a sheet of 200 takes no
more memory than its own pixels.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skystage.derive import cogs
from skystage.derive.bands import band_assets
from skystage.derive.sentinel2 import COLOURS, Numbers, radiometry
from skystage.errors import MapError, Offline, PlanError, TransferError
from skystage.model import Granule
from skystage.plan import Plan
from skystage.s2names import DEPTH, MASK, METADATA, PICTURE, SCENE, Band, Product, finest
from skystage.store import Store
from skystage.whole import whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIDE = 220
"""Pixels: the longer side of a picture."""
GAP, LINE, HEAD = 12, 18, 40
"""Pixels: between pictures, of a line of text, above all."""
DPI = 100
COLOUR = ("B04", "B03", "B02")
"""Red, green and blue."""
CHOICES = ("TCI", "RGB", "SCL")
"""What is drawn if nothing is named: the first of these that any product has, else its first band."""
RANGES: Mapping[str, tuple[float, float]] = {"RGB": (0.0, 0.3), "AOT": (0.0, 1.0), "WVP": (0.0, 5.0)}
"""What is black and what is white: reflectances, optical thickness, centimetres."""
REFLECTANCES = (0.0, 0.5)
PERCENT = (0.0, 100.0)
PAPER, INK, EMPTY = "#eef1f4", "#1b2733", (200, 206, 212)
CLOUDY = ("cloudCover", "eo:cloud_cover")
"""What archives call the cloud of a whole tile, in per cent."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One product on the sheet.

    Attributes
    ----------
    bands
        Its files by key, and which band of the file it is, from 1.
    cloud
        The part of the area, or of the tile, that is cloud, 0..1; None where nobody knows.
    metadata
        The product's own XML, where it is staged.
    """

    product: Product
    bands: Mapping[str, tuple[Path, int]]
    cloud: float | None = None
    metadata: Path | None = None

    @property
    def when(self) -> datetime:
        """What sheets are in order of."""
        return self.product.sensed or datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Sheet:
    """What was drawn.

    Attributes
    ----------
    shown
        What of each product.
    products
        Their ids, in the order of the pictures.
    failures
        Product to error: in the place of its picture there is none.
    """

    shown: str
    products: tuple[str, ...]
    failures: Mapping[str, TransferError]


def of_folder(folder: Path, made: Iterable[Path] | None = None) -> list[Shot]:
    """The products that `skystage.derive.bands` made rasters of, with the cloud that their receipts say.

    Parameters
    ----------
    made
        The rasters that count, as `PRODUCT/NAME.tif` below any folder: those of one run, which may be none.
        Default: all that there are, of whatever run.

    Raises
    ------
    PlanError
        If there are none.
    """
    paths = folder.glob("*/*.tif") if made is None else {folder / one.parent.name / one.name for one in made}
    shots = []
    for place, rasters in groupby(sorted(paths), key=lambda path: path.parent):
        bands: dict[str, tuple[Path, int]] = {}
        cloud = None
        for path in rasters:
            # Behind the band's key stands what was done to it, and that makes no other picture.
            stem = path.stem.removesuffix("_scaled").removesuffix("_masked").partition("_at_")[0]
            for number, name in enumerate([stem] if Band.named(stem) else _stacked(path), start=1):
                if (band := Band.named(name)) is not None:
                    bands.setdefault(band.key, (path, number))
                    cloud = _noted(path)
        if bands:
            shots.append(Shot(Product.named(place.name), bands, cloud))
    if not shots and made is None:
        raise PlanError(f"{folder}: has no rasters of products", hint="skystage derive bands makes them")
    return shots


def _stacked(path: Path) -> list[str]:
    """What the bands of a file are called by itself."""
    with cogs.quietly(), cogs.open_file(path) as file:
        return [name or "" for name in file.descriptions]


def _noted(path: Path) -> float | None:
    try:
        found = json.loads(path.with_name(f"{path.name}.json").read_bytes())["clouds"]
        return None if found is None else found["cloud"]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def of_plan(plan: Plan, store: Store) -> list[Shot]:
    """The products of a plan whose bands are staged, with the cloud that the archive says of the tile.

    Of a plan that kept nothing there are none.

    Raises
    ------
    PlanError
        If the plan's products have no bands.
    Offline
        If none of them is staged.
    """
    shots, count = [], 0
    for granule in plan.granules():
        assets = band_assets(granule)
        count += len(assets)
        bands = {key: (store.path(one), 1) for key, one in assets.items() if store.receipt(one) is not None}
        if not bands:
            continue
        told = granule.asset(METADATA)
        shots.append(
            Shot(
                Product.named(granule.id),
                bands,
                _cloud_of(granule),
                store.path(told) if told is not None and store.receipt(told) is not None else None,
            )
        )
    if not plan.header.totals.granules:
        return []
    if not count:
        raise PlanError(f"{plan.path}: has no bands of Sentinel-2", hint="plan them: assets: [TCI_10m]")
    if not shots:
        raise Offline(
            f"{plan.path}: none of its bands is staged",
            hint=f"skystage fetch {plan.path} --store {store.root}",
        )
    return shots


def _cloud_of(granule: Granule) -> float | None:
    values = (granule.properties.get(name) for name in CLOUDY)
    return next((value / 100 for value in values if isinstance(value, int | float)), None)


def draw(shots: Sequence[Shot], path: Path, show: str | None = None) -> Sheet:
    """Draw the sheet; of no product an empty one.

    Parameters
    ----------
    path
        A PNG; it appears whole or not at all. Equal files give equal bytes.
    show
        ``TCI``; ``RGB`` (B04, B03 and B02, 0 to 0.3 of reflectance); ``SCL`` in its own colours; or the key
        of a band, in grey. Reflectances are black at 0 and white at 0.5, the same on each picture.

    Raises
    ------
    MapError
        If no product has what is to be shown, or matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MapError("a contact sheet needs matplotlib", hint="pip install 'skystage[plot]'") from None
    ordered = sorted(shots, key=lambda one: (one.when, one.product.tile, one.product.id))
    shown = _shown(ordered, show)
    columns = max(1, min(len(ordered), math.ceil(math.sqrt(len(ordered) * 1.4))))
    rows = math.ceil(len(ordered) / columns)
    cell = SIDE + GAP, SIDE + GAP + 2 * LINE
    wide, high = columns * cell[0] + GAP, rows * cell[1] + GAP + HEAD
    # Taller than matplotlib draws: a sheet of 100,000 products is no sheet.
    if max(wide, high) >= 1 << 16:
        raise MapError(f"{len(ordered):,} products are too many for one sheet", hint="take a part of them")
    figure = Figure(figsize=(wide / DPI, high / DPI), dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    title = f"{len(ordered):,} product{'' if len(ordered) == 1 else 's'}, {shown}"
    _say(figure, GAP, high - HEAD + GAP, title, size=14, weight="bold")
    failures: dict[str, TransferError] = {}
    with cogs.quietly():
        for number, shot in enumerate(ordered):
            left = GAP + number % columns * cell[0]
            top = high - HEAD - number // columns * cell[1]
            picture: NDArray[np.uint8] | None = None
            try:
                picture = _picture(shot, shown)
            except TransferError as error:
                failures[shot.product.id] = error
            if picture is not None:
                figure.figimage(picture, xo=left, yo=top - picture.shape[0], origin="upper")
            else:
                _say(figure, left, top - SIDE // 2, f"no {shown}", size=10)
            for line, words in enumerate(_labels(shot)):
                _say(figure, left, top - SIDE - (line + 1) * LINE - 2, words, size=10)
    with whole(path) as part:
        figure.savefig(part, format="png", metadata={"Software": None})
    return Sheet(shown, tuple(one.product.id for one in ordered), failures)


def _say(figure: Any, x: float, y: float, words: str, **style: Any) -> None:
    size = figure.get_size_inches() * DPI
    figure.text(x / size[0], y / size[1], words, color=INK, parse_math=False, va="bottom", **style)


def _labels(shot: Shot) -> Iterator[str]:
    product = shot.product
    yield product.id if product.sensed is None else f"{product.sensed:%Y-%m-%d %H:%M}"
    cloud = "" if shot.cloud is None else f"cloud {shot.cloud:.0%}"
    baseline = "" if product.baseline is None else f"N{product.baseline.replace('.', '')}"
    yield "  ".join(filter(None, (product.tile, baseline, cloud)))


def _shown(shots: Sequence[Shot], show: str | None) -> str:
    """What is drawn of each product.

    Raises
    ------
    MapError
        If no product has it.
    """
    if not shots:
        return show or CHOICES[0]
    keys = sorted({key for shot in shots for key in shot.bands})
    everything = dict.fromkeys(keys)

    def there(what: str) -> bool:
        return all(finest(one, everything) for one in (COLOUR if what == "RGB" else (what,)))

    if show is None:
        return next(filter(there, CHOICES), keys[0])
    if not there(show):
        allowed = [*(one for one in CHOICES if there(one)), *keys]
        near = difflib.get_close_matches(show, allowed, 1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise MapError(f"--show: no product has {show!r}", hint=f"there are: {', '.join(allowed)}{meant}")
    return show


def _picture(shot: Shot, shown: str) -> NDArray[np.uint8] | None:
    """A product as it is drawn: rows, columns, red, green and blue; None if it lacks what is shown."""
    import numpy as np

    keys = [finest(one, shot.bands) for one in (COLOUR if shown == "RGB" else (shown,))]
    if None in keys:
        return None
    told = None if shot.metadata is None else shot.metadata.read_bytes()
    planes, voids = [], []
    for key in filter(None, keys):
        band = Band.named(key)
        assert band is not None  # noqa: S101 - keys are those of bands
        pixels, void, numbers = _small(*shot.bands[key], band)
        if band.kind == PICTURE:
            return _on_paper(np.moveaxis(pixels[:3], 0, -1).astype("uint8"), void)
        if band.kind == SCENE:
            table = np.full((256, 3), 255, "uint8")
            table[: len(COLOURS)] = [list(bytes.fromhex(one[1:])) for one in COLOURS]
            return _on_paper(table[pixels[0].astype("uint8")], void)
        plane = pixels[0].astype("float32")
        if numbers is None and band.kind != MASK and not np.issubdtype(pixels.dtype, np.floating):
            numbers = radiometry(shot.product, told).of(band)
        if numbers is not None:
            plane = (plane + numbers.offset) / numbers.quantification
        low, high = _range(band, shown)
        planes.append(np.clip((plane - low) / (high - low), 0, 1))
        voids.append(void)
    # Bands of one product may differ in their pixels, and so by one in what is drawn.
    rows, columns = (min(one.shape[axis] for one in planes) for axis in (0, 1))
    grey = np.stack([one[:rows, :columns] for one in planes], axis=-1)
    void = np.any([one[:rows, :columns] for one in voids], axis=0)
    coloured = np.repeat(grey, 3, axis=-1) if len(planes) == 1 else grey
    return _on_paper((np.nan_to_num(coloured) * 255).round().astype("uint8"), void)


def _range(band: Band, shown: str) -> tuple[float, float]:
    if band.kind == MASK:
        return PERCENT
    if band.kind == DEPTH:
        return RANGES[band.name]
    return RANGES["RGB"] if shown == "RGB" else REFLECTANCES


def _on_paper(pixels: NDArray[np.uint8], void: NDArray[np.bool_]) -> NDArray[np.uint8]:
    pixels[void] = EMPTY
    return pixels


def _small(path: Path, number: int, band: Band) -> tuple[NDArray[Any], NDArray[np.bool_], Numbers | None]:
    """A file's pixels as few as are drawn, which have no data, and what the file says that they mean."""
    import numpy as np

    with cogs.open_file(path) as file:
        longest = max(file.width, file.height)
        # Small areas are drawn in whole multiples of their pixels.
        factor = longest / SIDE if longest > SIDE else 1 / (SIDE // longest)
        shape = max(1, round(file.height / factor)), max(1, round(file.width / factor))
        several = range(1, 4) if band.kind == PICTURE else [number]
        pixels = cogs.read_as(file, several, shape, "nearest" if band.is_classes else "average")
        step, shift = file.scales[number - 1], file.offsets[number - 1]
        numbers = None if step == 1 else Numbers(1 / step, shift / step)
        nodata = band.nodata if file.nodata is None else file.nodata
    void = np.isnan(pixels[0]) if math.isnan(nodata) else (pixels == nodata).all(axis=0)
    return pixels, void, numbers
