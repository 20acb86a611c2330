"""A footprint map as one HTML file: data, style and program inside, and no request when it is opened.

By a Content-Security-Policy the file forbids itself whatever is not in it: requests, and programs other
than ours. What comes from an archive is data in a block that nobody runs, and reaches the page as text only.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from datetime import datetime
from html import escape
from importlib.resources import files
from urllib.parse import urlsplit

from skystage import aoi
from skystage.maps import Basemap
from skystage.maps.scene import FIELDS, Feature, Part, Scene
from skystage.model import Json, canonical

DIGITS = 5
"""Of a degree, for drawing: a metre on the earth."""
SKY_DIGITS = 7
"""On the sky: less than a milliarcsecond."""
EARTH_RADIUS = 6371.0088e3
"""Mean radius in metres, GRS 80 (Moritz 2000); the map's scale bar needs no ellipsoid."""


_KINDS = {"polygon": "po", "line": "li", "point": "pt"}


def page(scene: Scene, title: str, basemap: Basemap | None = None) -> str:
    """The page that shows a scene."""
    here = files("skystage.maps")
    style, program = ((here / name).read_text(encoding="utf-8") for name in ("map.css", "map.js"))
    text = (here / "map.html").read_text(encoding="utf-8")
    # In this order: what was put in is not looked at again.
    before, _, rest = text.partition("<!-- policy -->")
    head, _, rest = rest.partition("<!-- style -->")
    body, _, rest = rest.partition("<!-- data -->")
    between, _, end = rest.partition("<!-- program -->")
    return "".join(
        (
            before.replace("<!-- title -->", escape(title)),
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, program, basemap)}">',
            head,
            f"<style>{style}</style>",
            body,
            f'<script type="application/json" id="data">{_inert(_data(scene, title, basemap))}</script>',
            between,
            f"<script>{program}</script>",
            end,
        )
    )


def _policy(style: str, program: str, basemap: Basemap | None) -> str:
    rules = [
        "default-src 'none'",
        # Handlers and attributes of style are not in it: colours are set by the program.
        f"style-src '{_hash(style)}'",
        f"script-src '{_hash(program)}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    if basemap is not None:
        parts = urlsplit(basemap.url)
        rules.append(f"img-src {escape(parts.scheme)}://{escape(parts.netloc)}")
    return "; ".join(rules)


def _hash(text: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _inert(data: Json) -> str:
    """JSON that means nothing to HTML: what could end the block or begin a comment is escaped."""
    text = canonical(data)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _data(scene: Scene, title: str, basemap: Basemap | None) -> dict[str, Json]:
    unit = 10 ** (SKY_DIGITS if scene.body == "sky" else DIGITS)
    texts: list[dict[str, int]] = [{} for _ in FIELDS]
    rows = [_row(feature, texts, unit) for feature in scene.features]
    bounds = scene.bounds
    return {
        "area": [_part(part, unit) for part in scene.area],
        "basemap": None if basemap is None else {"attribution": basemap.attribution, "url": basemap.url},
        "body": scene.body,
        "bounds": [bounds.west, bounds.south, bounds.east, bounds.north],
        "features": rows,
        "fields": list(FIELDS),
        "parallel": bounds.parallel,
        "radius": EARTH_RADIUS if scene.body == "earth" else aoi.RADII.get(scene.body),
        "stacks": [[layer.key, layer.colour, layer.count] for layer in scene.stacks],
        # Most scenes share these: each text once.
        "texts": [list(known) for known in texts],
        "title": title,
        "unit": unit,
        "without": scene.without,
    }


def _row(feature: Feature, texts: list[dict[str, int]], unit: int) -> list[Json]:
    """Id, start, seconds to stop, stack, bytes, the numbers of its texts, its parts."""
    start, stop = feature.start, feature.stop
    return [
        feature.id,
        None if start is None else _seconds(start),
        None if start is None or stop is None else _seconds(stop) - _seconds(start),
        feature.stack,
        feature.bytes,
        [known.setdefault(text, len(known)) for known, text in zip(texts, feature.fields, strict=True)],
        [_part(part, unit) for part in feature.parts],
    ]


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _part(part: Part, unit: int) -> list[Json]:
    """Its kind, then each ring as steps from vertex to vertex: most steps are short numbers."""
    rings = []
    for ring in part.rings:
        flat: list[int] = []
        at = (0, 0)
        # A ring's last vertex is its first: the page closes it.
        for lon, lat in ring[:-1] if part.kind == "polygon" else ring:
            to = (round(lon * unit), round(lat * unit))
            flat += (to[0] - at[0], to[1] - at[1])
            at = to
        rings.append(flat)
    return [_KINDS[part.kind], *rings]
