"""Where other tools look for files: folders and names for what is staged, as paths below any folder.

Nothing here touches a file. A layout says where an asset of a granule goes; one that granules share may go
to several places. The store's own paths are a layout too, the default one.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import chain
from typing import TypeAlias

from skystage.errors import PlanError, QueryError
from skystage.model import Asset, Companion, Granule
from skystage.orbitfile import KEY, parse_name
from skystage.staged import inside

Layout: TypeAlias = Callable[[Granule | None, Asset], str]
"""The path of an asset of a granule; None instead of one for what belongs to the plan's whole area."""


def _store(granule: Granule | None, asset: Asset) -> str:
    """As in the store."""
    del granule
    return asset.path


def _flat(granule: Granule | None, asset: Asset) -> str:
    """All names in one folder."""
    del granule
    return asset.name


def _mast_download(granule: Granule | None, asset: Asset) -> str:
    """``mastDownload/HST/OBS_ID/NAME``: astroquery's; of any archive its collection and granule."""
    del granule
    return f"mastDownload/{asset.path.partition('/')[2]}"


def _stack(granule: Granule | None, asset: Asset) -> str:
    """A folder for each stack, ``p100_f466``, with the orbits beside their scenes: InSARHub's ``data``."""
    if granule is None:
        return f"dem/{asset.name}"
    return f"{_known('stack', granule, granule.stack)}/{asset.name}"


def _by_kind(granule: Granule | None, asset: Asset) -> str:
    """A folder each for products, orbits and the DEM's tiles: ISCE2's ``stackSentinel.py``, s1reader."""
    if granule is None:
        return f"DEM/{asset.name}"
    return f"{'orbits' if asset.key == KEY else 'SLC'}/{asset.name}"


def _gamma(granule: Granule | None, asset: Asset) -> str:
    """The same, with the orbits by type, satellite and month in which they begin: pyroSAR, SNAP."""
    name = parse_name(asset.name) if asset.key == KEY else None
    if name is None:
        return _by_kind(granule, asset)
    kind = name.kind.removeprefix("AUX_")
    return f"orbits/{kind}/{name.mission}/{name.start:%Y/%m}/{asset.name}"


def _burst(granule: Granule | None, asset: Asset) -> str:
    """A folder for each burst, in it one for each date, in that one for each polarization."""
    if granule is None or asset.key == KEY:
        return _by_kind(granule, asset)
    properties = granule.properties
    burst = (properties.get("burst") or {}).get("fullBurstID") or properties.get("operaBurstID")
    date = "" if granule.start is None else f"{granule.start:%Y%m%d}"
    polarization = properties.get("polarization")
    if isinstance(polarization, list):
        polarization = "+".join(polarization)
    parts = [("burst", burst), ("date", date), ("polarization", polarization)]
    return "/".join([*(_known(what, granule, value) for what, value in parts), asset.name])


def _known(what: str, granule: Granule, value: object) -> str:
    if not value:
        raise PlanError(f"{granule.id}: has no {what} for the layout", hint="choose another --layout")
    return str(value)


LAYOUTS: Mapping[str, Layout] = {
    "store": _store,
    "flat": _flat,
    "mastDownload": _mast_download,
    "stack": _stack,
    "isce2": _by_kind,
    "s1reader": _by_kind,
    "gamma": _gamma,
    "burst": _burst,
}


def get(name: str) -> Layout:
    """The layout of that name.

    Raises
    ------
    QueryError
        If there is none; the message names the nearest.
    """
    if name not in LAYOUTS:
        folded = {known.lower(): known for known in LAYOUTS}
        near = difflib.get_close_matches(name.lower(), folded, 1)
        meant = f"; did you mean {folded[near[0]]!r}?" if near else ""
        raise QueryError(f"--layout: got {name!r}", hint=f"allowed: {', '.join(LAYOUTS)}{meant}")
    return LAYOUTS[name]


def arrange(
    layout: Layout,
    granules: Iterable[Granule],
    companions: Iterable[Companion] = (),
    keys: Collection[str] | None = None,
) -> dict[str, Asset]:
    """Every path below the folder, and the asset that goes there, in the order of the plan.

    Parameters
    ----------
    keys
        Only assets of these keys; default: all.

    Raises
    ------
    PlanError
        If two assets would go to one path, or a granule lacks what the layout sorts by.
    """
    found: dict[str, Asset] = {}
    owned = chain(
        ((granule, asset) for granule in granules for asset in granule.assets),
        ((None, asset) for companion in companions for asset in companion.assets),
    )
    for granule, asset in owned:
        if keys and asset.key not in keys:
            continue
        path = inside(layout(granule, asset))
        if found.setdefault(path, asset).path != asset.path:
            raise PlanError(
                f"{found[path].path} and {asset.path} would both be {path}",
                hint="choose another --layout; nothing was linked",
            )
    return found
