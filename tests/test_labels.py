"""Filters by what labels say: read while planning, each failure its own, and as a table of what is staged."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skystage import Access, Store, build_plan, cli, fetch_plan, parse_query, search
from skystage.archives import labels
from skystage.derive import labels as derived
from skystage.errors import CatalogueUnavailable, LabelError, QueryError, SkystageError
from skystage.model import Granule
from skystage.plan import Plan
from skystage.sandbox import Sandbox

API = "https://stac.astrogeology.usgs.gov/api/"
BUCKET = "astrogeo-ard.s3-us-west-2.amazonaws.com"
KINDS = [
    f"kaguya_terrain_camera_{kind}_uncontrolled_observations"
    for kind in ("monoscopic", "spsupport", "stereoscopic")
]
ANGLE = "Caminfo.Geometry.IncidenceAngle"
LABELS = {"asset": "caminfo_pvl", "values": {"incidence_angle": ANGLE}}
TUTORIAL: dict[str, Any] = {
    "archive": "stac",
    "url": API,
    "collections": KINDS,
    "body": "moon",
    "area": [3, 4, 5, 6],
    "labels": LABELS,
    "assets": ["image"],
}
FIRST = "TC1S2B0_01_05521N043E0050"
RECORDED: dict[str, Any] = {**TUTORIAL, "collections": KINDS[:1], "area": [-59, 7, -57, 20]}


@pytest.fixture
def build(tmp_path, access) -> Callable[..., Plan]:
    def made(asked: dict[str, Any], **changes: Any) -> Plan:
        return build_plan(parse_query({**asked, **changes}), tmp_path / "plan.ndjson", access)

    return made


def angles(plan: Plan) -> dict[str, Any]:
    return {one.id: one.properties.get("incidence_angle") for one in plan.granules()}


def missing(plan: Plan) -> dict[str, str]:
    return {name: one.reason for name, one in plan.unresolved()}


def label_of(name: str) -> dict[str, Any]:
    """A fault's match: the label of one scene."""
    return {"host": BUCKET, "path": f"*{name}*caminfo.pvl"}


# --------------------------------------------------------------------------------------------------
# In a plan


def test_the_box_of_the_tutorial_is_filtered_by_what_its_labels_say(box, build):
    everything = angles(build(TUTORIAL))
    assert len(everything) == 70
    assert all(isinstance(angle, float) for angle in everything.values())
    limit = sorted(everything.values())[30]
    plan = build(TUTORIAL, filter={"incidence_angle": {"max": limit}})
    assert angles(plan) == {name: angle for name, angle in everything.items() if angle <= limit}
    assert plan.header.totals.dropped == {"incidence_angle": 39}
    assert all([asset.key for asset in one.assets] == ["image"] for one in plan.granules())


def test_recorded_labels_keep_exactly_those_that_they_say(recordings, open_box, build):
    box = open_box(catalogue=recordings)
    said = {
        path.parent.name: float(path.read_text().partition("IncidenceAngle")[2].split()[1])
        for path in (recordings / "astro" / "usgs-stac-kaguya").glob("*/caminfo.pvl")
    }
    assert len(said) == 9
    assert angles(build(RECORDED)) == said
    box.clear()
    for limit in sorted(said.values()):
        plan = build(RECORDED, filter={"incidence_angle": {"max": limit}})
        assert angles(plan) == {name: angle for name, angle in said.items() if angle <= limit}
    assert BUCKET not in {request["host"] for request in box.requests()}, "labels are read once"


def test_a_recorded_asset_that_is_dead_fails_alone(recordings, open_box, build, store, access):
    open_box(catalogue=recordings)
    plan = build(RECORDED, assets=["caminfo_pvl", "provenance"])
    outcome = fetch_plan(plan, store, access)
    assert (len(outcome.receipts), len(outcome.failures)) == (9, 9)
    assert all("provenance" in path for path in outcome.failures)


def test_a_value_is_a_property_with_its_unit_and_the_digest_of_its_label(recordings, open_box, build):
    import hashlib

    open_box(catalogue=recordings)
    values = {"angle": "INCIDENCE_ANGLE", "image_file": "^IMAGE", "target": "TARGET_NAME"}
    plan = build(RECORDED, labels={"asset": "pds_label", "values": values}, filter={"angle": {"max": 62.6}})
    one = next(plan.granules())
    content = (recordings / "astro" / "usgs-stac-kaguya" / one.id / "pds.lbl").read_bytes()
    found = {name: one.properties.get(name) for name in ("angle", "angle:unit", "target", "target:unit")}
    assert found == {"angle": 62.596, "angle:unit": "deg", "target": "MOON", "target:unit": None}
    assert one.properties["image_file"] == [f"{one.id}.img", 1]
    assert one.properties["image_file:unit"] == [None, "BYTES"]
    assert one.properties["skystage:label"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"status": 404}, "404"),
        ({"status": 200, "body": "Object = Caminfo\n"}, "was cut"),
        ({"status": 200, "body": "Angle\n"}, "is no label"),
    ],
)
def test_a_dead_or_broken_label_fails_its_item_alone(box, build, store, access, fault, reason):
    everything = angles(build(TUTORIAL))
    limit = sorted(everything.values())[30]
    kept = {name for name, angle in everything.items() if angle <= limit}
    dead, other = min(kept), max(set(everything) - kept)
    forget(box)
    box.set_faults([{"match": label_of(name), **fault} for name in (dead, other)])
    plan = build(TUTORIAL, filter={"incidence_angle": {"max": limit}})
    # Which of the two would have matched nobody can tell.
    assert set(angles(plan)) == kept | {other}
    assert set(missing(plan)) == {dead, other}
    assert all(reason in why for why in missing(plan).values())
    assert plan.header.totals.dropped == {"incidence_angle": 38}
    assert {one.id for one in plan.granules() if one.assets} == kept - {dead}
    outcome = fetch_plan(plan, store, access)
    assert len(outcome.receipts) == len(kept) - 1
    assert sorted(outcome.failures) == [f"{name}: caminfo_pvl" for name in sorted((dead, other))]
    # Who can do without is told how many there were.
    plan = build(TUTORIAL, filter={"incidence_angle": {"max": limit}}, allow_missing=["caminfo_pvl"])
    assert set(angles(plan)) == kept - {dead}
    assert plan.header.totals.dropped == {"incidence_angle": 38, "unknown incidence_angle": 2}


def forget(box: Sandbox) -> None:
    """Empty the cache, so that labels are asked for again."""
    import os
    import shutil

    shutil.rmtree(os.environ["SKYSTAGE_CACHE"])
    box.clear()


@pytest.mark.parametrize("page", ["Object = Caminfo\n", "The service is busy\n"])
def test_a_page_that_came_instead_of_a_label_is_not_kept(box, build, page):
    box.set_faults([{"match": label_of(FIRST), "status": 200, "body": page}])
    assert list(missing(build(TUTORIAL))) == [FIRST]
    box.set_faults([])
    box.clear()
    plan = build(TUTORIAL)
    assert (missing(plan), plan.header.totals.granules) == ({}, 70)
    ((path, count),) = labels_asked(box).items()
    assert (FIRST in path, count) == (True, 1)


def test_a_reason_names_the_label_and_not_its_place_in_the_cache(box, build):
    box.set_faults([{"match": label_of(FIRST), "status": 404}])
    assert missing(build(TUTORIAL)) == {FIRST: f"{FIRST}.caminfo.pvl: not there (404)"}


def test_without_a_filter_a_broken_label_costs_its_values_and_is_named(box, build, store, access):
    dead = min(angles(build(TUTORIAL)))
    forget(box)
    box.set_faults([{"match": label_of(dead), "status": 404}])
    plan = build(TUTORIAL)
    assert angles(plan)[dead] is None
    assert list(missing(plan)) == [dead]
    outcome = fetch_plan(plan, store, access)
    assert (len(outcome.receipts), list(outcome.failures)) == (70, [f"{dead}: caminfo_pvl"])


def test_a_label_that_cannot_be_read_now_ends_the_planning_and_what_was_read_is_kept(
    box, tmp_path, access, impatient
):
    asked = parse_query(TUTORIAL)
    box.set_faults([{"match": label_of(FIRST), "status": 503}])
    with pytest.raises(CatalogueUnavailable, match=f"{FIRST}: its label cannot be read now") as raised:
        build_plan(asked, tmp_path / "plan.ndjson", access)
    assert raised.value.transient
    assert not (tmp_path / "plan.ndjson").exists()
    came = {path.name for path in Path(os.environ["SKYSTAGE_CACHE"]).rglob("*.pvl")}
    box.set_faults([])
    box.clear()
    assert build_plan(asked, tmp_path / "plan.ndjson", Access()).header.totals.granules == 70
    again = {path.rpartition("/")[2] for path in labels_asked(box)}
    assert (len(came) + len(again), came & again) == (70, set())


def labels_asked(box: Sandbox) -> Counter[str]:
    return Counter(one["path"] for one in box.requests() if one["host"] == BUCKET)


def test_an_incomplete_answer_may_be_allowed(box, build, impatient):
    box.set_faults([{"match": label_of(FIRST), "status": 503}])
    plan = build(TUTORIAL, allow_incomplete=True)
    assert [name for name, angle in angles(plan).items() if angle is None] == list(missing(plan)) == [FIRST]


def test_labels_are_read_of_what_the_other_criteria_keep_and_before_anything_is_picked(box, build):
    everything = build(TUTORIAL)
    granules = {one.id: one for one in everything.granules()}
    limit = sorted(angles(everything).values())[30]
    forget(box)
    plan = build(TUTORIAL, filter={"end": "2008-12-31", "incidence_angle": {"max": limit}, "latest": 2})
    early = {name for name, one in granules.items() if one.start is not None and one.start.year == 2008}
    assert 0 < len(early) < 70
    assert sum(labels_asked(box).values()) == len(early)
    stacks: dict[str, list[Granule]] = {}
    for name in early:
        if granules[name].properties["incidence_angle"] <= limit:
            stacks.setdefault(granules[name].stack, []).append(granules[name])
    expected = {one.id for stack in stacks.values() for one in sorted(stack, key=lambda one: one.start)[-2:]}
    assert set(angles(plan)) == expected


def test_a_plan_from_a_search_reads_the_same_labels(box, tmp_path, access):
    found = search(parse_query(TUTORIAL), tmp_path / "granules.ndjson", access)
    one = parse_query({**TUTORIAL, "filter": {"incidence_angle": {"max": 40}}})
    first = build_plan(one, tmp_path / "a.ndjson", access, searched=found)
    assert first.header.digest == build_plan(one, tmp_path / "b.ndjson", access).header.digest
    assert all("incidence_angle" not in granule.properties for granule in found.granules())


# --------------------------------------------------------------------------------------------------
# A catalogue of our own, beside the recorded labels

LABEL = "Group = G\n Angle = {angle}\n{more}End_Group\nEnd\n"


@pytest.fixture
def catalogue(tmp_path, build) -> Callable[..., Plan]:
    """Plan from items on disk; their labels lie in the cache, as if they had been read before."""

    def plan(said: dict[str, str | None], **changes: Any) -> Plan:
        items = []
        for name, label in said.items():
            href = f"https://data.example.org/{name}"
            files = {"image": {"href": f"{href}/a.img"}}
            if label is not None:
                files["label"] = {"href": f"{href}/a.lbl"}
            items.append(
                {
                    "type": "Feature",
                    "stac_version": "1.0.0",
                    "id": name,
                    "collection": "c",
                    "geometry": {"type": "Point", "coordinates": [1, 1]},
                    "properties": {"datetime": "2020-01-01T00:00:00Z", "gsd": 7.5},
                    "links": [],
                    "assets": files,
                }
            )
        path = tmp_path / "items.json"
        path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
        asked = {"archive": "stac", "url": str(path), "assets": ["image"]}
        asked["labels"] = {"asset": "label", "values": {"angle": "G.Angle"}}
        return build(asked, **changes)

    return plan


@pytest.fixture
def told(monkeypatch) -> Callable[[dict[str, str | None]], dict[str, str | None]]:
    """What is read of the labels, without a network."""
    from skystage.archives import labels as module

    def tell(said: dict[str, str | None]) -> dict[str, str | None]:
        contents = {
            f"https://data.example.org/{name}/a.lbl": text.encode()
            for name, text in said.items()
            if text is not None
        }

        def read_all(assets, access):
            for asset in assets:
                yield contents[asset.sources[0].href]

        monkeypatch.setattr(module.documents, "read_all", read_all)
        return said

    return tell


def label(angle: object, more: str = "") -> str:
    return LABEL.format(angle=angle, more=more)


def test_what_has_no_label_or_does_not_say_is_unknown_to_a_filter(catalogue, told):
    said = told({"a": label(30), "b": label("NULL"), "c": "End\n", "d": None, "e": label(70)})
    plan = catalogue(said, filter={"angle": {"max": 60}})
    assert [one.id for one in plan.granules()] == ["a"]
    assert plan.header.totals.dropped == {"angle": 1, "unknown angle": 3}
    plan = catalogue(said)
    assert {one.id: one.properties.get("angle") for one in plan.granules()} == {
        "a": 30,
        "b": None,
        "c": None,
        "d": None,
        "e": 70,
    }
    assert missing(plan) == {"c": "a.lbl: has no G.Angle", "d": "the archive lists no such file"}


def test_a_path_that_no_label_has_is_an_error_and_no_empty_plan(catalogue, told):
    said = told({"a": label(30), "b": label(40)})
    wrong = {"asset": "label", "values": {"angle": "G.Angel"}}
    with pytest.raises(QueryError) as raised:
        catalogue(said, labels=wrong, filter={"angle": {"max": 60}})
    assert str(raised.value) == (
        "labels.values.angle: no label has 'G.Angel' (a.lbl: has no G.Angel (did you mean 'G.Angle'?))"
    )


def test_an_asset_that_no_granule_has_is_an_error(catalogue, told):
    said = told({"a": label(30)})
    with pytest.raises(QueryError) as raised:
        catalogue(said, labels={"asset": "lable", "values": {"angle": "G.Angle"}})
    assert str(raised.value) == "labels.asset: no granule has 'lable' (they have: image, label)"


def test_numbers_of_two_units_are_not_compared(catalogue, told):
    said = told({"a": label("30 <deg>"), "b": label(40), "c": label("0.5 <rad>")})
    with pytest.raises(QueryError, match=r"labels\.values\.angle: c has it in rad, others have it in deg"):
        catalogue(said)


def test_a_value_takes_no_property_s_place(catalogue, told):
    said = told({"a": label(30)})
    with pytest.raises(QueryError, match=r"labels\.values: a has a property 'gsd'"):
        catalogue(said, labels={"asset": "label", "values": {"gsd": "G.Angle"}})


def test_a_label_that_the_archive_cannot_give_is_a_named_failure(tmp_path, told, catalogue):
    said = told({"a": label(30)})
    catalogue(said)
    path = tmp_path / "items.json"
    document = json.loads(path.read_text())
    document["features"][0]["assets"]["label"]["href"] = "gs://bucket/a.lbl"
    path.write_text(json.dumps(document))
    asked = {
        "archive": "stac",
        "url": str(path),
        "assets": ["image"],
        "labels": {"asset": "label", "values": {"angle": "G.Angle"}},
        "filter": {"angle": {"max": 60}},
    }
    plan = build_plan(parse_query(asked), tmp_path / "other.ndjson", Access())
    assert missing(plan) == {"a": "its address is gs:, which cannot be fetched"}


def test_labels_of_nothing_are_nothing(catalogue, told):
    assert catalogue(told({"a": label(30)}), filter={"start": "2021-01-01"}).header.totals.granules == 0


def test_two_catalogues_with_items_of_one_name_do_not_share_labels():
    from skystage.model import Asset, Source

    here, there = (
        labels._document(Asset(key="l", path="stac/c/a/a.lbl", sources=(Source(href=href),)))
        for href in ("https://here/a.lbl", "https://there/a.lbl")
    )
    assert here.path != there.path
    assert here.name == there.name == "a.lbl"


# --------------------------------------------------------------------------------------------------
# As they are asked


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "labels: got [] (allowed: a mapping of names to values)"),
        ({}, "labels.asset: got None (allowed: the key of an asset)"),
        ({"aset": "x"}, "labels: got 'aset' (allowed: asset, values; did you mean 'asset'?)"),
        ({"asset": 3}, "labels.asset: got 3 (allowed: the key of an asset)"),
        (
            {"asset": "x"},
            "labels.values: missing (names to paths: {incidence_angle: Group.IncidenceAngle})",
        ),
        (
            {"asset": "x", "values": {"a b": "c"}},
            "labels.values.a b: is no name (allowed: letters, digits and _)",
        ),
        (
            {"asset": "x", "values": {"latest": "c"}},
            "labels.values.latest: is a filter of its own (give the value another name)",
        ),
        (
            {"asset": "x", "values": {"a": "b..c"}},
            "labels.values.a: got 'b..c' (allowed: a path such as Group.IncidenceAngle)",
        ),
    ],
)
def test_a_wrong_question_is_one_line(given, said):
    with pytest.raises(QueryError) as raised:
        parse_query({"archive": "stac", "url": "x", "labels": given})
    assert str(raised.value) == said


def test_an_archive_with_keys_of_its_own_knows_which_there_are():
    with pytest.raises(QueryError, match=r"labels\.asset: got 'lable'"):
        parse_query({"archive": "cdse", "names": "x", "labels": {"asset": "lable", "values": {"a": "b"}}})


def test_a_filter_may_name_a_value_where_properties_are_closed():
    asked = {"archive": "asf", "labels": {"asset": "metadata", "values": {"roll": "A.B"}}}
    assert parse_query({**asked, "filter": {"roll": 3}}).filter == {"roll": 3}
    with pytest.raises(QueryError, match="rol"):
        parse_query({**asked, "filter": {"rol": 3}})


def test_a_filter_on_a_unit_is_an_error_and_no_empty_plan():
    asked = {**TUTORIAL, "filter": {"incidence_angle:unit": "deg"}}
    with pytest.raises(QueryError) as raised:
        parse_query(asked)
    assert str(raised.value) == (
        "filter.incidence_angle:unit: a unit is no filter (values in two units are an error by themselves)"
    )


def test_a_summary_tells_collections_apart(box, build, capsys):
    plan = build(TUTORIAL)
    assert cli.run(["summary", str(plan.path)]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[0] for row in rows] == KINDS


def test_labels_are_no_part_of_what_is_searched():
    asked = parse_query(TUTORIAL)
    assert asked.to_json()["labels"] == LABELS
    assert asked.digest != parse_query({**TUTORIAL, "labels": None}).digest


def test_a_host_of_labels_may_be_asked_for_many_at_once():
    from skystage.limits import Limits

    hosts = (BUCKET, "astrogeo-ard.s3.us-west-2.amazonaws.com", "astrogeo-ard.s3.amazonaws.com")
    assert [Limits().of(host).connections for host in hosts] == [32, 32, 32]


# --------------------------------------------------------------------------------------------------
# As a table


@pytest.fixture
def scenes(box, build, store, access) -> tuple[Plan, Store]:
    """Ten scenes with their labels, staged."""
    plan = build(TUTORIAL, assets=["caminfo_pvl"], filter={"start": "2008-12-01", "end": "2008-12-31"})
    fetch_plan(plan, store, access).raise_for_failures()
    box.clear()
    return plan, store


def table(plan: Plan, store: Store, path: Path, *options: str) -> int:
    return cli.run(
        ["derive", "labels", str(plan.path), "--store", str(store.root), "-o", str(path), *options]
    )


def test_the_values_of_staged_labels_are_a_table_without_a_request(scenes, tmp_path, box):
    plan, store = scenes
    assert table(plan, store, tmp_path / "out" / "labels.json") == 0
    rows = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert {row["id"]: row["value"] for row in rows} == angles(plan)
    assert {(row["name"], row["unit"]) for row in rows} == {("incidence_angle", None)}
    assert box.requests() == []


def test_other_values_can_be_asked_for_with_their_units(scenes, tmp_path, capsys):
    plan, store = scenes
    path = tmp_path / "labels.csv"
    more = ["--value", "lines=Caminfo.Parameters.Lines", "--value", "area=caminfo.polygon.surfacearea"]
    assert table(plan, store, path, "--json", *more) == 0
    said = json.loads(capsys.readouterr().out)
    count = plan.header.totals.granules
    assert said == {"labels": count, "values": 2 * count, "failures": []}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["lines", "area"] * count
    assert {row["unit"] for row in rows} == {"", "km^2"}


def test_parquet_has_numbers_where_all_are(scenes, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    plan, store = scenes
    numbers, texts = tmp_path / "numbers.parquet", tmp_path / "texts.parquet"
    assert table(plan, store, numbers) == 0
    read = parquet.read_table(numbers).to_pydict()
    assert dict(zip(read["id"], read["value"], strict=True)) == angles(plan)
    flag = "Caminfo.Geometry.HasNorthPole"
    assert table(plan, store, texts, "--value", f"pole={flag}") == 0
    assert set(parquet.read_table(texts)["value"].to_pylist()) == {"false"}


def test_what_is_broken_or_not_there_is_named_and_the_rest_is_in_the_table(scenes, staged, tmp_path, capsys):
    plan, store = scenes
    first, second, third, *others = [one for granule in plan.granules() for one in granule.assets]
    store.path(first).unlink()
    for asset, content in ((second, b"Group = x\n"), (third, b"End\n")):
        store.path(asset).unlink()
        staged(store, asset, content)
    assert table(plan, store, tmp_path / "labels.json") == 4
    said = capsys.readouterr().err
    assert f"{first.name} is not staged (skystage fetch --asset caminfo_pvl)" in said
    assert f"{second.name}: is no label, or was cut" in said
    assert f"{third.name}: has no {ANGLE}" in said
    assert len(json.loads((tmp_path / "labels.json").read_text())) == len(others)


def test_failures_of_planning_are_failures_of_the_table(box, build, store, access, tmp_path, capsys):
    dead = min(angles(build(TUTORIAL)))
    forget(box)
    box.set_faults([{"match": label_of(dead), "status": 404}])
    plan = build(TUTORIAL, assets=["caminfo_pvl"], filter={"incidence_angle": {"min": 0}})
    fetch_plan(plan, store, access)
    assert table(plan, store, tmp_path / "labels.json") == 4
    assert f"failed   {dead}: caminfo_pvl: " in capsys.readouterr().err
    assert len(json.loads((tmp_path / "labels.json").read_text())) == 69


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "x.txt"], "-o: got 'x.txt' (allowed: .csv, .json, .parquet)"),
        (
            ["--asset", "image"],
            "has no asset 'image': it has caminfo_pvl (name it under assets: of the query",
        ),
    ],
)
def test_a_table_that_cannot_be_made_is_one_line(scenes, tmp_path, capsys, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    plan, store = scenes
    assert table(plan, store, tmp_path / "labels.json", *options) == 2
    assert said in capsys.readouterr().err


def test_a_plan_without_labels_has_to_be_told_which(box, build, store, tmp_path, capsys):
    plan = build(TUTORIAL, labels=None)
    assert table(plan, store, tmp_path / "labels.json") == 2
    assert "--asset: missing" in capsys.readouterr().err
    assert table(plan, store, tmp_path / "labels.json", "--asset", "image") == 2
    assert "--value: missing" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        table(plan, store, tmp_path / "labels.json", "--asset", "image", "--value", "x")
    assert "'x' is not NAME=PATH" in capsys.readouterr().err


def test_a_plan_of_nothing_is_an_empty_table(catalogue, told, store, tmp_path):
    plan = catalogue(told({"a": label(30)}), filter={"start": "2021-01-01"})
    for name in ("labels.csv", "labels.json", "labels.parquet"):
        assert table(plan, store, tmp_path / name) == 3
    assert (tmp_path / "labels.csv").read_text().strip() == "id,name,value,unit"


def test_a_suffix_that_no_table_has_is_an_error(tmp_path):
    with pytest.raises(SkystageError, match=r"cannot write a table as '\.txt'"):
        derived.write(derived.Table(), tmp_path / "x.txt")


def test_lists_and_nothing_are_said_in_text(tmp_path):
    rows = [
        derived.Row("a", "x", None, None),
        derived.Row("a", "y", [1, "b"], [None, "m"]),
        derived.Row("a", "z", "°", "deg"),
    ]
    derived.write(derived.Table(rows), tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text(encoding="utf-8").splitlines() == [
        "id,name,value,unit",
        "a,x,,",
        'a,y,"[1, ""b""]","[null, ""m""]"',
        "a,z,°,deg",
    ]


# --------------------------------------------------------------------------------------------------
# Attached labels


def test_of_an_image_no_more_is_read_than_its_label(tmp_path):
    path = tmp_path / "a.cub"
    content = b"Object = IsisCube\n Angle = 3\nEnd_Object\nEnd\n"
    with path.open("wb") as file:
        file.write(content)
        file.truncate(1 << 40)
    assert derived.of_file(path).value("IsisCube.Angle").value == 3


@pytest.mark.parametrize("end", [b"END", b"END\n", b"END\n\x00image"])
@pytest.mark.parametrize("off", [-2, -1, 0, 1, 2])
def test_a_label_may_end_anywhere_in_what_is_read_at_a_time(tmp_path, end, off):
    begin, rest = b"A = '", b"'\nEnd_1 = 2\n"
    fill = derived._FIRST + off - len(begin) - len(rest) - 3
    path = tmp_path / "a.lbl"
    path.write_bytes(begin + b"x" * fill + rest + end)
    found = derived.of_file(path)
    assert (found.value("End_1").value, found.end) == (2, derived._FIRST + off)


def test_what_is_no_label_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "a.img"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(LabelError, match="is no label"):
        derived.of_file(path)
