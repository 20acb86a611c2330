"""Footprint maps: what a plan holds, drawn as HTML, PNG or GeoJSON, on a body or on the sky.

`scene` says what is drawn and `graticule` where its lines lie; both are without I/O. `html`, `png` and
`geojson` each write one kind of file. Nothing is asked of any server, by us or by what we write: tiles of a
basemap are the one exception, in HTML, when an address is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from skystage.errors import MapError
from skystage.plan import Plan
from skystage.whole import whole

KINDS = (".html", ".png", ".geojson")


@dataclass(frozen=True, slots=True, kw_only=True)
class Basemap:
    """Tiles below the footprints, in Web Mercator.

    Attributes
    ----------
    url
        With ``{z}``, ``{x}`` and ``{y}`` where the tile's numbers belong.
    attribution
        What its owner wants to be read on the map.
    """

    url: str
    attribution: str = ""

    def __post_init__(self) -> None:
        missing = [name for name in ("{z}", "{x}", "{y}") if name not in self.url]
        if missing or not self.url.startswith(("https://", "http://")):
            raise MapError(
                f"basemap: got {self.url!r}",
                hint="allowed: an https address with {z}, {x} and {y}, such as https://HOST/{z}/{x}/{y}.png",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What a map shows.

    Attributes
    ----------
    footprints
        Granules on the map.
    without
        Granules of which the archive does not say where they lie: they are not on it.
    """

    body: str
    footprints: int
    without: int
    stacks: int


def draw(plan: Plan, path: Path, basemap: Basemap | None = None) -> Drawn:
    """Draw the footprints of a plan; the file appears whole or not at all.

    Parameters
    ----------
    path
        ``*.html`` for one file that any browser opens, offline; ``*.png`` for an image (needs the extra
        ``plot``); ``*.geojson`` for RFC 7946.
    basemap
        Tiles that the HTML map asks of their server when it is opened; none by default.

    Raises
    ------
    MapError
        For another suffix, granules of more than one body, a basemap where none can be, or a PNG
        without the package that draws it.
    PlanError
        If the plan was cut or changed.
    """
    if path.suffix not in KINDS:
        raise MapError(f"{path}: cannot draw a map as {path.suffix!r}", hint=f"allowed: {', '.join(KINDS)}")
    if basemap is not None and path.suffix != ".html":
        raise MapError(f"basemap: {path.suffix} maps have none", hint="allowed: .html")
    plan.check()
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        if path.suffix == ".geojson":
            from skystage.maps import geojson

            drawn = geojson.write(plan, part)
        else:
            from skystage.maps.scene import gather

            scene = gather(plan.granules(), plan.header.query.get("area"))
            if basemap is not None and scene.body == "sky":
                raise MapError("basemap: the sky has none", hint="leave it out")
            title = plan.path.name.removesuffix(".ndjson")
            if path.suffix == ".png":
                from skystage.maps import png

                png.write(scene, part, title)
            else:
                from skystage.maps import html

                part.write_text(html.page(scene, title, basemap), encoding="utf-8", newline="\n")
            drawn = Drawn(
                body=scene.body,
                footprints=len(scene.features),
                without=scene.without,
                stacks=len(scene.stacks),
            )
    return drawn
