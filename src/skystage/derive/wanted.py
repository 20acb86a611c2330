"""What a configuration says of bands: one mapping for Snakemake and for Prefect.

They are the options of `skystage derive bands`, with underscores. What cannot be is found before anything is
asked or fetched, the query's own part in it included: clouds need an SCL.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skystage import aoi
from skystage.derive.bands import Options, band_assets, raster_names
from skystage.derive.sentinel2 import scene_classes
from skystage.errors import QueryError
from skystage.model import Granule, Json
from skystage.s2names import Band, finest

_FLAGS = ("clip", "stack", "scale")
_NUMBERS = ("resolution", "max_cloud")
KEYS = ("keys", "area", "clip", "resolution", "resampling", "stack", "scale", "mask_scl", "max_cloud")
"""What can be said."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The rasters that are to be made of products.

    Attributes
    ----------
    keys
        Of the bands; none of them means all.
    options
        What to make of them.
    """

    keys: tuple[str, ...]
    options: Options

    def names(self, granule: Granule) -> list[str]:
        """The rasters of a product, unless it is skipped: for its clouds, or where the area is not on it."""
        there = band_assets(granule)
        chosen = [own for key in self.keys if (own := finest(key, there))] if self.keys else list(there)
        stems = {key: there[key].name.removesuffix(".jp2") for key in chosen}
        return list(raster_names(stems, self.options)) if stems else []

    def surely_on(self, granule: Granule) -> bool:
        """Whether a product cannot be skipped.

        Footprints are straight in longitude and latitude, tiles in UTM: a kilometre at the edge is left out.
        """
        from shapely.geometry import shape

        if self.options.max_cloud is not None:
            return False
        if self.options.area is None:
            return True
        if granule.geometry is None:
            return False
        inner = shape(dict(granule.geometry)).buffer(-_MARGIN)
        return bool(inner.intersects(shape(dict(self.options.area))))


_MARGIN = 0.01
"""Degrees."""


def read(given: Mapping[str, Json], query: Mapping[str, Json]) -> Wanted:
    """Read what a configuration says of bands.

    Parameters
    ----------
    given
        Some of `KEYS`. `area` is one in any form, or ``query``: the query's own.
    query
        The query that the bands come from, as plans have it.

    Raises
    ------
    QueryError
        If there is no such key, a value cannot be, or the query does not bring what is needed.
    """
    for key in given:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise QueryError(f"bands: no key {key!r}", hint=f"allowed: {', '.join(KEYS)}{meant}")
    said = {key: value for key, value in given.items() if value is not None}
    for key in _FLAGS:
        if not isinstance(said.get(key, False), bool):
            raise QueryError(f"bands.{key}: got {said[key]!r}", hint="allowed: true, false")
    for key in _NUMBERS:
        if isinstance(said.get(key, 0), bool) or not isinstance(said.get(key, 0), int | float):
            raise QueryError(f"bands.{key}: got {said[key]!r}", hint="allowed: a number")
    if not isinstance(said.get("resampling", ""), str):
        raise QueryError(f"bands.resampling: got {said['resampling']!r}", hint="allowed: a name")
    keys = _words("keys", said.get("keys", ()))
    try:
        options = Options(
            area=_area(said.get("area"), query.get("area")),
            mask=scene_classes(_words("mask_scl", said.get("mask_scl", ()))),
            **{key: said[key] for key in (*_FLAGS, *_NUMBERS, "resampling") if key in said},
        )
    except QueryError as error:
        raise QueryError(f"bands.{_configured(error.message)}", hint=_configured(error.hint)) from None
    _check(keys, options, dict.fromkeys(query.get("assets") or ()))
    return Wanted(keys, options)


def _configured(text: str) -> str:
    """What is said of options, as a configuration calls them."""
    return re.sub(r"--([a-z][a-z-]*)", lambda option: option[1].replace("-", "_"), text)


def _words(key: str, value: Json) -> tuple[str, ...]:
    items = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(one, str) or (type(one) is int and key == "mask_scl") for one in items):
        raise QueryError(f"bands.{key}: got {value!r}", hint="allowed: a name, or a list of names")
    return tuple(map(str, items))


def _area(given: Json, own: Json) -> Json:
    if given != "query":
        return None if given is None else aoi.parse(given)
    if own is None:
        raise QueryError("area: got 'query'", hint="the query has no area; give one")
    return own


def _check(keys: Sequence[str], options: Options, assets: Mapping[str, None]) -> None:
    """Refuse what the query does not bring."""
    bands = {key: None for key in assets if Band.named(key) is not None}
    has = f"the query's assets are: {', '.join(assets) or 'whole products'}"
    if not bands:
        raise QueryError(
            "bands: the query brings none", hint=f"{has}; name bands: assets: [B04_10m, SCL_20m]"
        )
    for key in keys:
        if finest(key, bands) is None:
            raise QueryError(f"bands.keys: got {key!r}", hint=has)
    for name, asked in (("mask_scl", options.mask), ("max_cloud", options.max_cloud is not None)):
        if asked and finest("SCL", bands) is None:
            raise QueryError(
                f"bands.{name}: the query brings no SCL to tell clouds by", hint=f"{has}; add SCL_20m"
            )
