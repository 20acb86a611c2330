"""Bodies and the coordinate systems that their footprints are in: degrees of longitude and latitude.

The systems are those of the IAU's working group (Archinal et al. 2018) as PROJ has them, authority
``IAU_2015``: of each body the one on a sphere, whose latitudes are planetocentric. Their codes are the body's
number at NAIF times 100: 30100 is the moon's, and 30115 that of maps of it.
"""

from __future__ import annotations

from functools import cache

from pyproj import CRS
from pyproj.database import query_crs_info
from pyproj.enums import PJType

EARTH = "OGC:CRS84"
_SPHERE = " (2015) - Sphere / Ocentric"


@cache
def _codes() -> dict[str, str]:
    """Name of a body, in lower case, to the code of its system."""
    found = query_crs_info(auth_name="IAU_2015", pj_types=[PJType.GEOGRAPHIC_2D_CRS])
    codes = {one.name.removesuffix(_SPHERE).lower(): one.code for one in found if one.name.endswith(_SPHERE)}
    return {name: f"IAU_2015:{code}" for name, code in codes.items() if name != "earth"}


def names() -> tuple[str, ...]:
    """The bodies that have a coordinate system, the earth first."""
    return ("earth", *sorted(_codes()))


def crs(body: str) -> str | None:
    """The coordinate system of footprints on a body, as pyproj reads it.

    None for the sky, whose right ascension and declination PROJ has no system for, and for a body that the
    working group has no sphere of.
    """
    return EARTH if body == "earth" else _codes().get(body)


def radius(body: str) -> float | None:
    """The radius of that system's sphere in metres; None where there is none."""
    system = None if body == "earth" else crs(body)
    ellipsoid = None if system is None else CRS(system).ellipsoid
    return None if ellipsoid is None else float(ellipsoid.semi_major_metre)
