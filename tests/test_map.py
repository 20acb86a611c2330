"""Footprint maps: what is on them, what their files hold, and what a real browser shows of them."""

from __future__ import annotations

import json
import math
import re
import struct
import subprocess
import sys
import threading
import zlib
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skystage import aoi, cli, plan, planning, query
from skystage.errors import MapError, PlanError
from skystage.maps import Basemap, draw, scene
from skystage.maps.graticule import ticks
from skystage.model import Asset, Companion, Granule, Query, from_iso
from skystage.plan import Plan

ROOT = Path(__file__).resolve().parent.parent
NOON = from_iso("2020-01-01T12:00:00")
SQUARE = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]


def box(west: float, south: float, east: float, north: float) -> dict:
    """A footprint; east may lie beyond 180."""
    corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return aoi.split({"type": "Polygon", "coordinates": [[[(x + 180) % 360 - 180, y] for x, y in corners]]})


def granule(name: str, geometry: dict | None, *, day: int = 0, **fields) -> Granule:
    properties = {"pathNumber": 101, "frameNumber": 500, "platform": "Sentinel-1A"}
    return Granule(
        archive="asf",
        collection="C",
        id=name,
        native_id=name,
        geometry=geometry,
        **{
            "start": NOON + timedelta(days=day),
            "stop": NOON + timedelta(days=day, seconds=27),
            "properties": properties,
            "stack": "p101_f500",
            "assets": (Asset(key="data", path=f"asf/C/{len(name)}/{day}", size=4_300_000_000),),
            **fields,
        },
    )


@pytest.fixture
def planned(tmp_path):
    def write(granules, area=None, name="plan") -> Plan:
        return plan.write(
            tmp_path / f"{name}.ndjson",
            query=Query(archive="asf", area=area),
            granules=sorted(granules, key=lambda one: one.id),
            companions=[Companion(id="dem")],
            hits=9,
            received=9,
        )

    return write


# --------------------------------------------------------------------------------------------------
# The scene


def test_a_search_is_drawn_as_its_plan_is(box, access, tmp_path):
    from skystage import planning, query, searching

    asked = query.parse({"archive": "asf", "relative_orbit": 35, "processing_level": "SLC"})
    found = searching.search(asked, tmp_path / "granules.ndjson", access)
    made = planning.build(asked, tmp_path / "plan.ndjson", access, searched=found)
    drawn = [draw(one, tmp_path / f"{number}.geojson") for number, one in enumerate((found, made))]
    assert drawn[0] == drawn[1]
    assert drawn[0].footprints == found.count


def test_a_stack_across_the_antimeridian_is_two_parts_side_by_side():
    found = scene.gather([granule("a", box(179, -18, 181, -16)), granule("b", box(179.5, -18, 181.5, -16))])
    spans = [[part.span for part in feature.parts] for feature in found.features]
    assert [sorted(one) for one in spans] == [[(179, 180), (180, 181)], [(179.5, 180), (180, 181.5)]]
    assert (found.bounds.west, found.bounds.east) == (179, 181.5)


def test_what_lies_far_apart_is_cut_open_where_nothing_is():
    found = scene.gather([granule("fiji", box(177, -18, 179, -16)), granule("utah", box(-113, 37, -112, 38))])
    assert (found.bounds.west, found.bounds.east) == (177, 248)


def test_the_area_of_interest_is_on_the_map_and_moves_with_it():
    found = scene.gather([granule("a", box(179, 0, 179.5, 1))], aoi.parse([179, 0, -179, 1]))
    assert sorted(part.span for part in found.area) == [(179, 180), (180, 181)]
    assert found.bounds.east == 181


@given(st.lists(st.tuples(st.integers(-180, 179), st.integers(0, 90)), min_size=1, max_size=8))
def test_no_other_cut_leaves_a_narrower_map(given_spans):
    spans = [(float(west), float(min(west + wide, 180))) for west, wide in given_spans]

    def width(begin: float) -> float:
        moved = [(west + 360 * (west < begin), east + 360 * (west < begin)) for west, east in spans]
        return max(east for _, east in moved) - min(west for west, _ in moved)

    assert width(scene.cut(spans)) == min(width(begin) for begin in range(-180, 181))


def test_a_body_covered_all_around_is_cut_at_the_antimeridian():
    assert scene.cut([(-180, 10), (0, 180), (-20, 30)]) == -180
    assert scene.cut([]) == -180


def test_every_kind_of_geometry_is_drawn_and_none_is_counted():
    ring = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]
    kinds = {
        "point": {"type": "Point", "coordinates": [1, 2]},
        "points": {"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]},
        "line": {"type": "LineString", "coordinates": [[1, 2, 99], [3, 4, 99]]},
        "polygons": {"type": "MultiPolygon", "coordinates": [[ring], [[[x + 3, y] for x, y in ring]]]},
        "mixed": {
            "type": "GeometryCollection",
            "geometries": [
                {"type": "Point", "coordinates": [1, 2]},
                {"type": "Polygon", "coordinates": [ring]},
            ],
        },
        "nothing": {"type": "Polygon", "coordinates": []},
        "unknown": None,
    }
    found = scene.gather([granule(name, geometry) for name, geometry in kinds.items()])
    drawn = {feature.id: [part.kind for part in feature.parts] for feature in found.features}
    assert drawn == {
        "point": ["point"],
        "points": ["point", "point"],
        "line": ["line"],
        "polygons": ["polygon", "polygon"],
        "mixed": ["point", "polygon"],
    }
    assert found.without == 2
    assert found.features[0].parts[0].rings == (((1, 2), (3, 4)),)


def test_shells_turn_counter_clockwise_and_holes_clockwise():
    hole = [[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8], [0.2, 0.2]]
    for shell in (SQUARE, SQUARE[::-1]):
        for inner in (hole, hole[::-1]):
            (part,) = scene.parts({"type": "Polygon", "coordinates": [shell, inner]})
            turning = [sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring)) for ring in part.rings]
            assert turning[0] > 0 > turning[1]


def test_a_plan_without_granules_is_a_map_of_the_body():
    found = scene.gather([])
    assert (found.body, found.features, found.stacks, found.without) == ("earth", (), (), 0)
    assert (found.bounds.west, found.bounds.east) == (-180, 180)


def test_granules_of_two_bodies_are_no_map():
    with pytest.raises(MapError, match="b: is of the body moon, those before it of earth"):
        scene.gather([granule("a", None), granule("b", None, body="moon")])


def test_stacks_are_in_the_order_of_their_numbers_and_those_without_one_are_grey_and_last():
    keys = ["p137_f5", "", "p35_f466", "p35_f122"]
    found = scene.gather([granule(key or "none", box(0, 0, 1, 1), stack=key) for key in keys])
    assert [layer.key for layer in found.stacks] == ["p35_f122", "p35_f466", "p137_f5", ""]
    assert [layer.colour for layer in found.stacks] == [*scene.PALETTE[:3], scene.NONE]
    alone = scene.gather([granule("a", box(0, 0, 1, 1), stack="")])
    assert alone.stacks[0].colour == scene.PALETTE[0]


def test_in_a_stack_the_latest_scene_is_drawn_last():
    days = {"late": 9, "early": 1, "never": None}
    given = [
        granule(name, box(0, 0, 1, 1), start=None if day is None else NOON + timedelta(days=day))
        for name, day in days.items()
    ]
    assert [feature.id for feature in scene.gather(given).features] == ["never", "early", "late"]


def test_what_is_said_of_a_scene_is_what_its_archive_has():
    said = {
        "pathNumber": 35,
        "burst": {"fullBurstID": "035_1_IW1"},
        "frameNumber": 7,
        "polarization": ["VV", "VH"],
    }
    (feature,) = scene.gather([granule("a", box(0, 0, 1, 1), properties=said)]).features
    texts = dict(zip(scene.FIELDS, feature.fields, strict=True))
    assert (texts["Path"], texts["Frame"], texts["Polarization"]) == ("35", "035_1_IW1", "VV+VH")
    assert texts["Target"] == ""


def test_near_a_pole_the_map_keeps_a_width():
    bounds = scene.gather([granule("a", box(0, 86, 10, 90))]).bounds
    assert bounds.parallel == scene.STEEPEST


# --------------------------------------------------------------------------------------------------
# Meridians and parallels


@pytest.mark.parametrize(
    ("low", "high", "how", "labels"),
    [
        (178.5, 181.5, "lon", ["178.5°E", "179.0°E", "179.5°E", "180.0°", "179.5°W", "179.0°W", "178.5°W"]),
        (-2, 2, "lon", ["2.0°W", "1.5°W", "1.0°W", "0.5°W", "0.0°", "0.5°E", "1.0°E", "1.5°E", "2.0°E"]),
        (-180, 180, "lon", ["180°", "135°W", "90°W", "45°W", "0°", "45°E", "90°E", "135°E", "180°"]),
        (-30, 30, "lat", ["30°S", "20°S", "10°S", "0°", "10°N", "20°N", "30°N"]),
        (11.001, 11.004, "lat", [f"11.00{n:02d}°N" for n in range(10, 41, 5)]),
        (-15, 15, "ra", ["23ʰ00ᵐ", "23ʰ30ᵐ", "0ʰ00ᵐ", "0ʰ30ᵐ", "1ʰ00ᵐ"]),
        (10.0, 10.25, "ra", [f"0ʰ{m:02d}ᵐ{s:02d}ˢ" for m in (40,) for s in range(0, 60, 10)] + ["0ʰ41ᵐ00ˢ"]),
        (-0.25, 0.25, "dec", ["−0°15′", "−0°10′", "−0°05′", "0°00′", "+0°05′", "+0°10′", "+0°15′"]),  # noqa: RUF001
        (41, 41 + 3 / 3600, "dec", [f"+41°00′0{s / 2:.1f}″" for s in range(7)]),  # noqa: RUF001
        (-60, 90, "dec", ["−60°", "−30°", "0°", "+30°", "+60°", "+90°"]),  # noqa: RUF001
    ],
)
def test_lines_are_round_and_their_labels_true(low, high, how, labels):
    found = ticks(low, high, meridians=how in ("lon", "ra"), sky=how in ("ra", "dec"))
    assert [label for _, label in found] == labels
    assert all(low <= place <= high for place, _ in found)


@given(low=st.floats(-90, 90), span=st.floats(1e-6, 180), meridians=st.booleans(), sky=st.booleans())
def test_there_are_some_lines_and_not_too_many_and_no_two_with_one_label(low, span, meridians, sky):
    found = ticks(low, low + span, meridians=meridians, sky=sky)
    assert len(found) <= 9
    assert len({label for _, label in found}) == len(found)


# --------------------------------------------------------------------------------------------------
# Files


def test_geojson_is_rfc_7946_and_equal_for_equal_plans(planned, tmp_path):
    clockwise = {"type": "Polygon", "coordinates": [SQUARE[::-1]]}
    area = aoi.parse([0, 0, 2, 2])
    several = {"type": "MultiPolygon", "coordinates": [[SQUARE[::-1]]]}
    given = [
        granule("a", clockwise),
        granule("b", box(179, 0, 181, 1)),
        granule("c", None, start=None, stop=None, body="earth"),
        granule("d", several),
        granule("e", {"type": "Point", "coordinates": [1.123456789012, 2]}),
    ]
    drawn = draw(planned(given, area), tmp_path / "a.geojson")
    assert (drawn.body, drawn.footprints, drawn.without, drawn.stacks) == ("earth", 4, 1, 1)
    text = (tmp_path / "a.geojson").read_text()
    found = json.loads(text)
    assert (found["type"], found["body"], found["area"]) == ("FeatureCollection", "earth", area)
    features = {feature["id"]: feature for feature in found["features"]}
    assert features["a"]["geometry"]["coordinates"] == [SQUARE]
    assert features["d"]["geometry"]["coordinates"] == [[SQUARE]]
    assert features["b"]["geometry"]["type"] == "MultiPolygon"
    assert features["c"]["geometry"] is None
    assert features["c"]["properties"]["start"] is None
    assert features["e"]["geometry"]["coordinates"] == [1.123456789012, 2]
    assert features["a"]["properties"] == {
        **granule("a", None).properties,
        "start": "2020-01-01T12:00:00Z",
        "stop": "2020-01-01T12:00:27Z",
        "stack": "p101_f500",
        "collection": "C",
    }
    draw(planned(given, area, "again"), tmp_path / "b.geojson")
    assert (tmp_path / "b.geojson").read_text() == text


def test_an_image_shows_the_colours_of_its_stacks_and_where_they_lie(planned, tmp_path):
    image = pytest.importorskip("matplotlib.image")
    given = [
        granule("a", box(179, 0, 179.9, 4), stack="p1"),
        granule("b", box(180.1, 0, 181, 4), stack="p2$\\frac$"),
        *(granule(f"s{n:02d}", box(179 + n / 20, 5, 179.04 + n / 20, 6), stack=f"q{n}") for n in range(20)),
        granule("z", {"type": "Point", "coordinates": [180, 2]}, stack="_r"),
        granule("y", {"type": "LineString", "coordinates": [[179, 4.5], [-179, 4.5]]}, stack="_r"),
        granule("x", None),
    ]
    drawn = draw(planned(given, aoi.parse([179, 0, -179, 6]), "$\\frac$"), tmp_path / "a.png")
    assert (drawn.footprints, drawn.without) == (24, 1)
    pixels = (image.imread(tmp_path / "a.png")[:, :, :3] * 255).round().astype(int)
    high, wide, _ = pixels.shape

    def share(colour: str, part) -> float:
        """How much of a part of the image is this colour, laid over white at a fifth."""
        wanted = [round(255 - 0.2 * (255 - int(colour[n : n + 2], 16))) for n in (1, 3, 5)]
        return float((abs(part - wanted).max(axis=2) <= 2).mean())

    half = pixels[high // 2 : high * 3 // 4]
    left, right = half[:, : wide // 2], half[:, wide // 2 :]
    names = [layer.key for layer in scene.gather(given).stacks]
    first, second = (scene.PALETTE[names.index(key) % 6] for key in ("p1", "p2$\\frac$"))
    for colour, there, elsewhere in ((first, left, right), (second, right, left)):
        assert share(colour, there) > 0.2
        assert share(colour, elsewhere) < 0.01


def test_on_the_sky_an_image_has_the_east_on_the_left(planned, tmp_path):
    image = pytest.importorskip("matplotlib.image")
    given = [
        granule("a", box(10, 40, 10.4, 41), stack="1", body="sky"),
        granule("b", box(10.6, 40, 11, 41), stack="2", body="sky"),
    ]
    draw(planned(given), tmp_path / "a.png")
    pixels = (image.imread(tmp_path / "a.png")[:, :, :3] * 255).round().astype(int)
    middle = pixels[pixels.shape[0] // 2]
    blue, orange = (abs(middle - colour).max(axis=1) <= 2 for colour in ([204, 228, 241], [252, 228, 214]))
    assert orange.nonzero()[0].max() < blue.nonzero()[0].min()


def test_images_of_nothing_and_of_one_point_can_be_drawn(planned, tmp_path):
    pytest.importorskip("matplotlib")
    assert draw(planned([]), tmp_path / "a.png").footprints == 0
    assert (
        draw(
            planned([granule("a", {"type": "Point", "coordinates": [1, 90]})]), tmp_path / "b.png"
        ).footprints
        == 1
    )
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")


def test_five_thousand_footprints_are_a_page_of_less_than_three_megabytes(planned, tmp_path):
    given = [
        granule(
            f"S1A_IW_SLC__1SDV_20180102T020701_20180102T020728_008986_0118D0_{n:04X}",
            box(-120 - n % 7 / 9, 30 + n % 11 / 3, -117.123456789, 35.123456789),
            day=n // 20,
            stack=f"p{n % 20}",
        )
        for n in range(5000)
    ]
    draw(planned(given), tmp_path / "a.html")
    assert (tmp_path / "a.html").stat().st_size < 1.5e6


def test_a_page_names_no_other_server_unless_it_is_asked_to(planned, tmp_path):
    made = planned([granule("a", box(0, 0, 1, 1))])
    draw(made, tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    assert not re.findall(r"(?:https?:)?//[a-z0-9]", text)
    assert "default-src 'none'" in text
    assert "img-src" not in text
    draw(made, tmp_path / "b.html", Basemap(url="https://tiles.example/{z}/{x}/{y}.png"))
    assert "img-src https://tiles.example;" in (tmp_path / "b.html").read_text().replace('"', ";")


# --------------------------------------------------------------------------------------------------
# The command


@pytest.fixture
def run(capsys):
    def call(*arguments: object) -> tuple[int, str, str]:
        code = cli.run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.mark.parametrize("kind", ["html", "png", "geojson"])
def test_the_command_draws_and_says_what_is_on_the_map(planned, run, tmp_path, kind):
    if kind == "png":
        pytest.importorskip("matplotlib")
    made = planned([granule("a", box(0, 0, 1, 1), body="moon"), granule("b", None, body="moon")])
    wanted = tmp_path / "new" / f"map.{kind}"
    code, out, err = run("map", made.path, "-o", wanted, "--json")
    said = {"body": "moon", "footprints": 1, "without": 1, "stacks": 1, "bytes": wanted.stat().st_size}
    assert (code, json.loads(out)) == (0, said)
    assert err == "1 footprints in 1 stacks on the map, 1 granules without a footprint\n"
    assert [path.name for path in wanted.parent.iterdir()] == [wanted.name]


def test_an_empty_plan_is_an_empty_map_and_one_line(planned, run, tmp_path):
    code, out, err = run("map", planned([]).path, "-o", tmp_path / "a.html")
    assert (code, out, err) == (0, "", "0 footprints in 0 stacks on the map\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "a.pdf"], "allowed: .html, .png, .geojson"),
        (["-o", "a.html", "--basemap", "https://h/tiles"], "{z}, {x} and {y}"),
        (["-o", "a.html", "--basemap", "ftp://h/{z}/{x}/{y}"], "https"),
        (["-o", "a.png", "--basemap", "https://h/{z}/{x}/{y}"], "basemap: .png maps have none"),
        (["-o", "a.geojson", "--basemap", "https://h/{z}/{x}/{y}"], "allowed: .html"),
        (["-o", "a.html", "--attribution", "me"], "--basemap"),
        (["-o", "sky.html", "--basemap", "https://h/{z}/{x}/{y}"], "the sky has none"),
    ],
)
def test_a_map_that_cannot_be_is_one_line(planned, run, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    body = "sky" if "sky.html" in arguments else "earth"
    code, out, err = run("map", planned([granule("a", box(0, 0, 1, 1), body=body)]).path, *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert said in err
    assert [path.name for path in tmp_path.iterdir()] == ["plan.ndjson"]


def test_without_matplotlib_an_image_is_one_line_that_says_how_to_get_it(planned, run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, _, err = run("map", planned([granule("a", box(0, 0, 1, 1))]).path, "-o", tmp_path / "a.png")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "pip install 'skystage[plot]'" in err
    assert not (tmp_path / "a.png").exists()


def test_a_map_that_is_drawn_again_replaces_the_old_one_only_when_it_is_whole(planned, tmp_path):
    wanted = tmp_path / "out" / "a.geojson"
    draw(planned([granule("a", box(0, 0, 1, 1))]), wanted)
    before = wanted.read_text()
    with pytest.raises(MapError):
        draw(planned([granule("a", None), granule("b", None, body="mars")], name="two"), wanted)
    assert wanted.read_text() == before
    assert list(wanted.parent.iterdir()) == [wanted]


def test_a_plan_that_was_changed_is_not_drawn(planned, tmp_path):
    made = planned([granule("a", box(0, 0, 1, 1))])
    made.path.write_text(made.path.read_text().replace("Sentinel-1A", "Sentinel-1B"))
    with pytest.raises(PlanError, match="was changed"):
        draw(Plan(made.path), tmp_path / "a.html")


def test_the_examples_of_the_page_run(planned, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    planned([granule("a", box(0, 0, 1, 1))])
    blocks = dict(
        re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "docs" / "map.md").read_text(), re.MULTILINE | re.DOTALL)
    )
    for line in blocks["console"].splitlines():
        command = line.removeprefix("$ skystage ").split()
        subprocess.run([sys.executable, "-m", "skystage.cli", *command], check=True, capture_output=True)
    assert {path.suffix for path in tmp_path.glob("footprints.*")} == {".html", ".png", ".geojson"}
    ended = subprocess.run(
        [sys.executable, "-c", blocks["python"]], check=True, capture_output=True, text=True
    )
    assert ended.stdout == "1 footprints in 1 stacks; 0 granules without one\n"
    line = blocks["text"].strip().removeprefix("skystage ")
    assert cli.run([word.strip("'") for word in re.findall(r"'[^']*'|\S+", line)]) == 0


# --------------------------------------------------------------------------------------------------
# In a browser


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import browser
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    program = browser.find()
    if program is None:
        pytest.skip(f"no browser here: none of {', '.join(browser.NAMES)} is on the path")
    with browser.Browser(program, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def shown(chromium, planned, tmp_path):
    """Draw granules and open the page; in the end, see that it asked and complained of nothing."""
    pages = []

    def open_page(granules, area=None, basemap=None, name="plan", **how):
        made = granules if isinstance(granules, Plan) else planned(granules, area, name)
        draw(made, tmp_path / "map.html", basemap)
        pages.append((chromium.page(**how), basemap))
        page = pages[-1][0]
        page.open((tmp_path / "map.html").as_uri())
        page.settle()
        return page

    yield open_page
    for page, basemap in pages:
        with page:
            if basemap is None:
                assert page.requests() == [(tmp_path / "map.html").as_uri()]
            assert page.complaints() == []


def value(page, name: str):
    return page.run(f"skystage.{name}")


def pixel(page, lon: float, lat: float) -> list[float]:
    return page.run(f"skystage.project({lon}, {lat})")


def text(page, selector: str) -> str:
    return page.run(f"document.querySelector({json.dumps(selector)}).innerText")


def press(page, selector: str) -> None:
    """Click the middle of an element."""
    where = f"document.querySelector({json.dumps(selector)})"
    page.run(f"{where}.scrollIntoView({{block: 'center'}})")
    page.click(
        *page.run(f"(() => {{ const b = {where}.getBoundingClientRect();"
                  "return [b.x + b.width / 2, b.y + b.height / 2]; })()")
    )  # fmt: skip


PLACES = {
    "earth": [(f"e{n}", (10 + 3 * n, 45 + n)) for n in range(5)],
    "antimeridian": [(f"a{n}", (176 + 2.5 * n, -17)) for n in range(4)],
    "moon": [(f"m{n}", (-30 + 3 * n, -88 + 3 * n)) for n in range(5)],
    "sky": [(f"s{n}", (358 + 2.5 * n, 60 + n)) for n in range(4)],
}


@pytest.mark.parametrize("where", PLACES)
def test_a_click_in_the_middle_of_a_scene_shows_that_scene(shown, where):
    body = {"antimeridian": "earth"}.get(where, where)
    given = [
        granule(name, box(lon - 1, lat - 0.9, lon + 1, lat + 0.9), day=n, stack=f"p{n}", body=body)
        for n, (name, (lon, lat)) in enumerate(PLACES[where])
    ]
    page = shown(given)
    assert value(page, "footprints") == len(given)
    for n, (name, (lon, lat)) in enumerate(PLACES[where]):
        page.click(*pixel(page, lon, lat))
        assert value(page, "selected") == name
        assert text(page, "#name") == name
        facts = text(page, "#facts").split("\n")
        assert f"2020-01-0{n + 1}" in facts
        assert {"12:00:00–12:00:27 UTC", f"p{n}", "101", "500", "4.3 GB"} <= set(facts)  # noqa: RUF001
    assert text(page, "#said") == f"Selected {name}, 2020-01-0{n + 1} · path 101 · frame 500"
    xs = [pixel(page, *place)[0] for _, place in PLACES[where]]
    assert xs == sorted(xs, reverse=where == "sky")  # on the sky right ascension grows to the left


def test_a_scene_across_the_antimeridian_is_found_on_both_sides_and_the_labels_are_true(shown):
    page = shown([granule("a", box(179.2, -18, 180.6, -17))])
    for lon in (179.6, -179.7):
        page.click(*pixel(page, lon, -17.5))
        assert value(page, "selected") == "a"
        page.key("Escape")
        assert value(page, "selected") is None
    west, east = pixel(page, 179.2, -17.5), pixel(page, -179.4, -17.5)
    assert 400 < east[0] - west[0] < 940  # pixels: most of the map, which begins at 340
    lines = page.run("skystage.graticule")["lons"]
    assert {"179.8°E", "180.0°", "179.8°W"} <= {label for label, _ in lines}
    for label, px in lines:
        degrees = float(label.split("°")[0]) * (-1 if label.endswith("W") else 1)
        assert pixel(page, degrees, 0)[0] == pytest.approx(340 + px, abs=0.01)


def test_the_sky_is_labelled_in_hours(shown):
    page = shown([granule("a", box(359, 10, 361, 11), body="sky")])
    lines = page.run("skystage.graticule")
    labels = [label for label, _ in lines["lons"]]
    assert {"23ʰ58ᵐ", "0ʰ00ᵐ", "0ʰ02ᵐ"} <= set(labels)
    assert pixel(page, 0.5, 10)[0] == pytest.approx(340 + dict(lines["lons"])["0ʰ02ᵐ"], abs=0.01)
    assert "+10°30′" in dict(lines["lats"])  # noqa: RUF001
    assert text(page, "#about") == "1 footprint · sky"


def test_hovering_tells_scene_date_path_and_frame(shown):
    page = shown([granule("below", box(0, 0, 4, 4)), granule("above", box(0, 0, 2, 2), day=5)])
    page.mouse("mouseMoved", *pixel(page, 1, 1))
    assert value(page, "hovered") == "above"
    said = text(page, "#tip")
    assert said.split("\n") == [
        "above",
        "2020-01-06 · path 101 · frame 500",
        "1 more here: click to go through them",
    ]
    page.mouse("mouseMoved", *pixel(page, 3, 3))
    assert text(page, "#tip").split("\n")[0] == "below"
    page.mouse("mouseMoved", *pixel(page, 4.5, 4.5))
    assert value(page, "hovered") is None
    assert page.run("document.querySelector('#tip').hidden")


def test_clicking_again_goes_through_what_lies_below(shown):
    page = shown([granule(f"g{n}", box(0, 0, 2, 2), day=n) for n in range(3)])
    chosen = []
    for _ in range(4):
        page.click(*pixel(page, 1, 1))
        chosen.append(value(page, "selected"))
    assert chosen == ["g2", "g1", "g0", "g2"]
    assert text(page, "#found-head").lower() == "3 scenes here"
    listed = page.run("[...document.querySelectorAll('#list .id')].map((one) => one.textContent)")
    assert listed == ["g2", "g1", "g0"]
    press(page, "#list li:nth-child(2) button")
    assert value(page, "selected") == "g1"
    press(page, "#close")
    assert value(page, "selected") is None
    page.click(*pixel(page, 2.2, 2.1))
    assert value(page, "selected") is None


def test_points_and_lines_and_what_is_smaller_than_a_pixel_can_be_hit_and_holes_cannot(shown):
    ring = [[-1, 0], [-1, 8], [-9, 8], [-9, 0], [-1, 0]]
    hole = [[-3, 2], [-7, 2], [-7, 6], [-3, 6], [-3, 2]]
    page = shown(
        [
            granule("point", {"type": "Point", "coordinates": [2, 2]}),
            granule("line", {"type": "LineString", "coordinates": [[4, 0], [8, 8]]}),
            granule("tiny", box(2, 6, 2.00001, 6.00001)),
            granule("ring", {"type": "Polygon", "coordinates": [ring, hole]}),
        ]
    )
    for name, lon, lat in [("point", 2, 2), ("line", 6, 4), ("tiny", 2, 6), ("ring", -2, 4), (None, -5, 4)]:
        x, y = pixel(page, lon, lat)
        page.click(x + 2, y)
        assert value(page, "selected") == name


def test_the_wheel_zooms_to_where_it_points_and_dragging_moves(shown):
    page = shown([granule("a", box(10, 45, 12, 46))])
    x, y = (round(n) for n in pixel(page, 11.7, 45.3))
    place = page.run(f"skystage.unproject({x}, {y})")
    before = value(page, "scale")
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-400)
    page.settle()
    assert value(page, "scale") > before * 1.5
    assert pixel(page, *place) == pytest.approx([x, y], abs=1e-6)
    page.mouse("mousePressed", x, y, button="left", clickCount=1)
    page.mouse("mouseMoved", x - 100, y + 50, button="left", buttons=1)
    page.mouse("mouseReleased", x - 100, y + 50, button="left", clickCount=1)
    assert pixel(page, *place) == pytest.approx([x - 100, y + 50], abs=1e-6)
    assert value(page, "selected") is None  # a drag is no click
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=400)
    press(page, "#fit")
    assert value(page, "scale") == before
    press(page, "#in")
    assert value(page, "scale") > before
    press(page, "#out")
    assert value(page, "scale") == pytest.approx(before)


def test_two_fingers_zoom_and_one_selects(shown):
    page = shown([granule("a", box(10, 45, 12, 46))], touch=True)
    x, y = pixel(page, 11, 45.5)
    page.touch("touchStart", (x, y))
    page.touch("touchEnd")
    assert value(page, "selected") == "a"
    before = value(page, "scale")
    page.touch("touchStart", (x - 50, y), (x + 50, y))
    for far in (60, 80, 100):
        page.touch("touchMove", (x - far, y), (x + far, y))
    page.touch("touchEnd")
    assert value(page, "scale") == pytest.approx(2 * before, rel=0.1)
    assert pixel(page, 11, 45.5) == pytest.approx([x, y], abs=8)


def test_a_stack_that_is_not_ticked_is_neither_drawn_nor_hit(shown):
    page = shown([granule("a", box(0, 0, 1, 1), stack="p1"), granule("b", box(3, 0, 4, 1), stack="p2")])
    here = pixel(page, 0.5, 0.5)
    page.click(*here)
    assert value(page, "selected") == "a"
    press(page, "#legend li:first-child input")
    assert (value(page, "shown"), value(page, "selected")) == (1, None)
    assert text(page, "#about") == "1 of 2 footprints · 2 stacks"
    page.click(*here)
    assert value(page, "selected") is None
    press(page, "#none")
    assert value(page, "shown") == 0
    press(page, "#all")
    assert value(page, "shown") == 2


def test_what_lies_outside_the_dates_is_not_shown(shown):
    page = shown([granule(f"g{n}", box(n, 0, n + 0.9, 1), day=n) for n in range(4)])
    assert [text(page, "#first"), text(page, "#last")] == ["2020-01-01", "2020-01-04"]
    page.run("document.querySelector('#from').focus()")
    page.send("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight", windowsVirtualKeyCode=39)
    assert text(page, "#first") == "2020-01-02"
    assert value(page, "shown") == 3
    page.click(*pixel(page, 0.5, 0.5))
    assert value(page, "selected") is None
    page.click(*pixel(page, 1.5, 0.5))
    assert value(page, "selected") == "g1"


def test_everything_can_be_done_with_the_keyboard(shown):
    page = shown([granule(f"g{n}", box(3 * n, 0, 3 * n + 2, 2), day=n) for n in range(3)])
    page.run("document.querySelector('#map').focus()")
    seen = []
    for key in ("n", "n", "p", "p", "Escape"):
        page.key(key)
        seen.append(value(page, "selected"))
    assert seen == ["g0", "g1", "g0", "g2", None]
    before, scale = pixel(page, 1, 1), value(page, "scale")
    page.key("ArrowLeft")
    assert pixel(page, 1, 1) == pytest.approx([before[0] + 60, before[1]])
    page.key("+")
    assert value(page, "scale") == pytest.approx(1.5 * scale)
    page.key("0")
    assert pixel(page, 1, 1) == before


def test_a_scene_is_found_by_a_part_of_its_name(shown):
    page = shown(
        [granule(name, box(n, 0, n + 0.01, 0.01)) for n, name in enumerate(("one", "two", "TWOFOLD"))]
    )
    page.run("document.querySelector('#find').focus()")
    page.send("Input.insertText", text="two")
    assert text(page, "#found-head").lower() == "2 scenes found"
    page.key("Enter")
    first = value(page, "selected")
    page.key("Enter")
    assert {first, value(page, "selected")} == {"two", "TWOFOLD"}
    x, y = pixel(page, 2.005 if value(page, "selected") == "TWOFOLD" else 1.005, 0.005)
    assert 340 < x < 1280  # it was brought into view
    assert 0 < y < 800


EVIL = "</script><script>window.broken=1</script><img src=x onerror=window.broken=1>\u2028<!--"


def test_a_name_that_is_a_program_is_only_a_name(shown):
    given = granule(EVIL, box(0, 0, 1, 1), stack=EVIL, properties={"pathNumber": EVIL, "platform": "<b>x"})
    page = shown([given], name="<i>plan & co")
    assert value(page, "footprints") == 1
    page.click(*pixel(page, 0.5, 0.5))
    assert value(page, "selected") == EVIL
    assert page.run("document.querySelector('#name').textContent") == EVIL
    assert page.run("document.querySelector('#tip b').textContent") == EVIL
    assert "<b>x" in text(page, "#facts")
    assert text(page, "h1") == "<i>plan & co"
    assert page.run("document.title") == "<i>plan & co · footprints"
    assert page.run("window.broken ?? 'whole'") == "whole"
    assert page.run("document.images.length + document.scripts.length") == 2  # the data, and our program


def test_an_empty_map_says_so(shown):
    page = shown([granule("a", None)])
    assert value(page, "footprints") == 0
    assert text(page, "#empty") == "No footprints to draw."
    assert text(page, "#about") == "0 footprints · 1 more without a footprint"


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_is_dark_where_the_system_is(shown, dark, tmp_path):
    image = pytest.importorskip("matplotlib.image")
    page = shown([granule("a", box(0, 0, 1, 1))], dark=dark)
    (tmp_path / "seen.png").write_bytes(page.image())
    seen = image.imread(tmp_path / "seen.png")[:, :, :3]
    assert (seen[:, :330].mean() < 0.3) == dark
    assert (seen[:, 350:].mean() < 0.3) == dark


def test_on_a_narrow_screen_the_map_is_above_its_panel(shown):
    page = shown([granule("a", box(0, 0, 1, 1))], width=390, height=800)
    x, y = pixel(page, 0.5, 0.5)
    assert x == pytest.approx(195, abs=1)
    assert y < 460
    page.click(x, y)
    assert value(page, "selected") == "a"


def tile() -> bytes:
    """A PNG of one black pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        whole = kind + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


def test_tiles_are_asked_of_the_server_that_was_named_and_lie_where_they_belong(shown, tmp_path):
    image = pytest.importorskip("matplotlib.image")
    asked = []

    class Tiles(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            # Black west of Greenwich, nothing east of it.
            level, column, _ = map(int, re.findall(r"\d+", self.path))
            there = column < 2**level / 2
            self.send_response(200 if there else 204)
            self.send_header("Content-Type", "image/png")
            self.end_headers()
            self.wfile.write(tile() if there else b"")

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Tiles) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            origin = f"http://127.0.0.1:{server.server_port}"
            basemap = Basemap(url=f"{origin}/{{z}}/{{x}}/{{y}}.png", attribution="Tiles & <Sons>")
            page = shown([granule("a", box(-2, 50, 2, 52))], basemap=basemap)
            for _ in range(100):
                page.settle()
                (tmp_path / "seen.png").write_bytes(page.image())
                seen = image.imread(tmp_path / "seen.png")[:, :, :3]
                x, y = (int(n) for n in pixel(page, -2.2, 51.2))
                if seen[y, x].max() < 0.1:
                    break
            assert seen[y, x].max() < 0.1
            assert seen[y, int(pixel(page, 2.2, 51.2)[0])].min() > 0.9
        finally:
            server.shutdown()
            serving.join()
    assert text(page, "#credit") == "Tiles & <Sons>"
    level = int(asked[0].split("/")[1])
    # The tile of 51.2 N, 2.2 W, from the definition of Web Mercator.
    row = int((1 - math.asinh(math.tan(math.radians(51.2))) / math.pi) / 2 * 2**level)
    assert f"/{level}/{int((180 - 2.2) / 360 * 2**level)}/{row}.png" in asked
    assert len(asked) == len(set(asked)) < 40
    outside = [url for url in page.requests() if not url.startswith((origin, "file:"))]
    assert outside == []
    page.click(*pixel(page, 0, 51))
    assert value(page, "selected") == "a"


def test_the_plan_of_the_readme_is_a_map(box_of_archives, access, shown, tmp_path):
    asked = {"archive": "asf", "processing_level": "SLC", "relative_orbit": 35}
    made = planning.build(query.parse(asked), tmp_path / "p.ndjson", access)
    page = shown(made)
    assert value(page, "footprints") == made.header.totals.granules == 15
    assert text(page, "#about") == "15 footprints · 2 stacks"


@pytest.fixture
def box_of_archives(open_box):
    return open_box()


def test_all_recorded_scenes_of_path_35_are_on_the_map(open_box, recordings, access, shown, tmp_path):
    open_box(catalogue=recordings)
    asked = {
        "archive": "asf",
        "area": [-123.5, 38.0, -121.5, 40.5],
        "dataset": "SENTINEL-1",
        "processing_level": "SLC",
        "relative_orbit": 35,
        "flight_direction": "ASCENDING",
    }
    page = shown(planning.build(query.parse(asked), tmp_path / "p.ndjson", access))
    assert value(page, "footprints") == value(page, "shown") == 342
    page.click(*pixel(page, -122.3, 39.0))
    assert text(page, "#name") == value(page, "selected")
    assert page.run("document.querySelectorAll('#list li').length") > 200
