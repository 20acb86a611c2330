"""Granules as a table of geopandas, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from skystage import bodies
from skystage.errors import SkystageError
from skystage.items import the_body
from skystage.plan import Plan
from skystage.searching import SearchFile

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

    from skystage.model import Granule

COLUMNS = ("id", "archive", "collection", "body", "stack", "start", "stop", "geometry")


def geodataframe(found: Plan | SearchFile | Iterable[Granule]) -> GeoDataFrame:
    """Granules, a row each, with their footprints in the coordinate system of their body.

    Parameters
    ----------
    found
        A plan, what a search found, or granules.

    Returns
    -------
    A frame with the columns `COLUMNS`; ``properties.NAME`` for each property, in the archive's words; and
    ``assets.KEY.href``, ``assets.KEY.size`` (bytes) for each asset: its first source. Times are UTC.
    Coordinates are degrees; the CRS is ``OGC:CRS84`` on the earth, ``IAU_2015:30100`` on the moon, and none
    on the sky (`skystage.bodies.crs`).

    Raises
    ------
    SkystageError
        If geopandas is not installed, or the granules lie on several bodies.
    """
    try:
        import geopandas
        from shapely.geometry import shape
    except ImportError as error:
        raise SkystageError("a GeoDataFrame needs geopandas", hint="pip install 'skystage[geo]'") from error
    granules = found.granules() if isinstance(found, Plan | SearchFile) else found
    rows, seen = [], set()
    for one in granules:
        seen.add(one.body)
        row: dict[str, Any] = {name: getattr(one, name) for name in COLUMNS}
        row["geometry"] = None if one.geometry is None else shape(dict(one.geometry))
        row |= {f"properties.{name}": value for name, value in one.properties.items()}
        for asset in one.assets:
            row[f"assets.{asset.key}.href"] = asset.sources[0].href if asset.sources else None
            row[f"assets.{asset.key}.size"] = asset.size
        rows.append(row)
    system = bodies.crs(the_body(seen))
    columns = dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)])
    return geopandas.GeoDataFrame(rows, columns=list(columns), geometry="geometry", crs=system)
