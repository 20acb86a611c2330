from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import unquote

import pytest

from skystage import manifest, plan, report
from skystage.errors import NotFound, NotReady, SkystageError, Throttled
from skystage.events import Progressed, Retrying
from skystage.export import FORMATS
from skystage.model import Asset, Granule, Query, Source, Unresolved, from_iso
from skystage.progress import progress
from skystage.retry import PREPARATION, RARELY, Budget, patiently

SQUARE = {"type": "Polygon", "coordinates": [[[1, 2], [3, 2], [3, 4], [1, 4], [1, 2]]]}
CROSSING = {
    "type": "MultiPolygon",
    "coordinates": [
        [[[179, -1], [180, -1], [180, 1], [179, 1], [179, -1]]],
        [[[-180, -1], [-178, -1], [-178, 1], [-180, 1], [-180, -1]]],
    ],
}


def granule(name: str, **fields) -> Granule:
    asset = Asset(
        key="data",
        path=f"asf/C/{name}/{name}.bin",
        size=5,
        media_type="application/zip",
        sources=(Source(href="https://a/x"), Source(href="s3://b/x")),
    )
    return Granule(
        **{
            "archive": "asf",
            "collection": "C",
            "id": name,
            "native_id": name,
            "start": from_iso("2020-01-01T00:00:00"),
            "stop": from_iso("2020-01-01T00:00:30"),
            "geometry": SQUARE,
            "assets": (asset,),
            **fields,
        }
    )


def frozen(tmp_path, *granules):
    count = len(granules)
    return plan.write(
        tmp_path / "p",
        query=Query(archive="asf"),
        granules=sorted(granules, key=lambda one: one.id),
        hits=count,
        received=count,
    )


@pytest.fixture
def written(tmp_path, store, staged):
    """Stage granules, write their manifest, and read it."""

    def write(*granules, skip=()):
        for one in granules:
            for asset in one.assets:
                if one.id not in skip:
                    staged(store, asset)
        out = tmp_path / "out dir" / "items.json"
        counts = manifest.write(frozen(tmp_path, *granules), store, out)
        return counts, json.loads(out.read_text())["features"], out

    return write


def test_each_staged_granule_is_an_item_with_its_proof(written):
    counts, (item,), out = written(granule("g"))
    assert (counts.items, counts.assets, counts.missing) == (1, 1, 0)
    assert (item["id"], item["bbox"]) == ("g", [1, 2, 3, 4])
    assert item["properties"]["skystage:collection"] == "C"
    assert item["properties"]["start_datetime"] == "2020-01-01T00:00:00Z"
    asset = item["assets"]["data"]
    assert (asset["file:size"], asset["file:checksum"], asset["skystage:verified"]) == (5, "1220s", "md5")
    assert [source["href"] for source in asset["alternate"].values()] == ["https://a/x", "s3://b/x"]
    assert (out.parent / unquote(asset["href"])).read_bytes() == b"bytes"


def test_the_manifest_is_valid_stac(written):
    import pystac

    _, items, _ = written(granule("g"), granule("h", geometry=None))
    for item in items:
        found = pystac.Item.from_dict(item)
        assert found.assets["data"].extra_fields["file:size"] == 5


def test_what_is_not_staged_is_not_in_the_manifest_and_is_counted(written):
    counts, items, out = written(granule("g"), granule("h"), skip=("h",))
    assert (counts.items, counts.missing) == (1, 1)
    assert [item["id"] for item in items] == ["g"]
    assert out.with_name("checksums.txt").read_text().count("\n") == 1


def test_a_footprint_on_both_sides_of_the_antimeridian_has_a_box_that_crosses_it(written):
    _, (item,), _ = written(granule("g", geometry=CROSSING))
    assert item["bbox"] == [179, -1, -178, 1]


def test_what_cannot_be_had_and_other_bodies_are_said(written):
    moon = granule(
        "g", body="moon", unresolved=(Unresolved(key="orbit", reason="none"),), start=None, stop=None
    )
    _, (item,), _ = written(moon)
    assert item["properties"]["ssys:targets"] == ["Moon"]
    assert item["properties"]["skystage:unresolved"] == [{"key": "orbit", "reason": "none"}]
    assert item["properties"]["datetime"] is None


def test_two_manifests_of_one_plan_are_equal_but_for_their_times(written):
    _, first, _ = written(granule("b"), granule("a"))
    _, second, _ = written(granule("a"), granule("b"))
    assert first == second
    assert [item["id"] for item in first] == ["a", "b"]


def test_an_asset_that_granules_share_is_in_each_item_and_once_in_the_checksums(written):
    shared = granule("g").assets[0]
    counts, items, out = written(granule("g"), granule("h", assets=(shared,)))
    assert (counts.items, counts.assets) == (2, 1)
    assert items[0]["assets"] == items[1]["assets"]
    assert out.with_name("checksums.txt").read_text().count("\n") == 1
    counts, items, _ = written(granule("i"), granule("j", assets=granule("i").assets), skip=("i", "j"))
    assert (counts.items, counts.assets, counts.missing, items) == (0, 0, 1, [])


def test_a_manifest_can_be_geoparquet(tmp_path, store, staged):
    rustac = pytest.importorskip("rustac", reason="the extra 'parquet' is not installed")
    import asyncio

    staged(store, granule("g").assets[0])
    out = tmp_path / "items.parquet"
    manifest.write(frozen(tmp_path, granule("g")), store, out)

    async def read():
        return await rustac.read(str(out))

    assert asyncio.run(read())["features"][0]["id"] == "g"


def test_geoparquet_without_its_package_names_the_extra(tmp_path, store, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "rustac", None)
    with pytest.raises(SkystageError, match="skystage\\[parquet\\]"):
        manifest.write(frozen(tmp_path), store, tmp_path / "items.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p", "store"]


# --------------------------------------------------------------------------------------------------
# Reports and exports


def test_a_summary_has_every_stack_also_those_of_unknown_direction():
    sar = {"flightDirection": "ASCENDING", "pathNumber": 35, "frameNumber": 122, "platform": "Sentinel-1A"}
    one = granule("a", stack="p35_f122", properties=sar)
    two = replace(
        one, id="b", start=from_iso("2020-01-13T00:00:00"), properties={**sar, "platform": "Sentinel-1B"}
    )
    odd = granule("c", start=None, stop=None)
    known, unknown = report.stacks([two, odd, one])
    assert (known.granules, known.dates, known.longest_gap) == (("a", "b"), ("2020-01-01", "2020-01-13"), 12)
    assert known.platforms == ("Sentinel-1A", "Sentinel-1B")
    assert known.bytes == 5  # both name one path
    assert (unknown.direction, unknown.path, unknown.dates) == ("unknown", "unknown", ())
    assert unknown.to_json()["first"] is None


def test_stacks_are_in_the_order_of_their_numbers():
    made = [
        granule(str(n), stack=f"p{n}", properties={"pathNumber": n, "frameNumber": 1}) for n in (100, 9, 35)
    ]
    assert [stack.path for stack in report.stacks(made)] == ["9", "35", "100"]


def test_exports_pass_over_what_has_no_source_and_name_mirrors():
    assets = [*granule("g").assets, Asset(key="data", path="a/b/c", checksums={"md5": "m"})]
    assert list(FORMATS["urls"](assets)) == ["https://a/x"]
    assert next(iter(FORMATS["aria2"](assets))) == "https://a/x\thttps://b.s3.amazonaws.com/x"
    assert list(FORMATS["rclone-urls"](assets)) == ["https://a/x,asf/C/g/g.bin"]
    (line,) = [line for line in FORMATS["curl"](assets) if line.startswith("get ")]
    assert line == "get asf/C/g/g.bin 5 - - - https://a/x - https://b.s3.amazonaws.com/x"
    assert list(FORMATS["s3"](assets)) == ["s3://b/x"]


# --------------------------------------------------------------------------------------------------
# Retrying and drawing


def test_only_what_is_transient_is_tried_again():
    with pytest.raises(NotFound):
        Budget().pause(NotFound("gone"))
    assert Budget().pause(Throttled("slow")) < 1


def test_a_budget_is_spent_by_failures_in_a_row_and_refilled_by_progress(monkeypatch):
    budget = Budget(tries=3)
    for _ in range(5):
        budget.pause(Throttled("slow"))
        budget.pause(Throttled("slow"))
        budget.progressed()
    budget.pause(Throttled("slow"))
    budget.pause(Throttled("slow"))
    with pytest.raises(Throttled):
        budget.pause(Throttled("slow"))


def test_pauses_grow_with_jitter_and_the_archives_own_word_comes_first():
    budget = Budget(tries=10)
    pauses = [budget.pause(Throttled("slow")) for _ in range(9)]
    assert all(0.25 * 2**n <= pause <= min(0.5 * 2**n, 60) for n, pause in enumerate(pauses[:7]))
    assert max(pauses) <= 60
    assert 7 <= Budget().pause(Throttled("slow", retry_after=7)) <= 7.25


def until_it_gives_up(budget, error):
    try:
        while True:
            yield budget.pause(error)
    except NotReady:
        return


def test_what_the_archive_prepares_is_waited_for_and_costs_no_try():
    pauses = list(until_it_gives_up(Budget(tries=2), NotReady("extracting")))
    assert PREPARATION - RARELY - 20 < sum(pauses) < PREPARATION + 20
    # A burst takes a minute or two: it is looked for soon, and then less and less often.
    assert pauses[0] < 1
    assert pauses == sorted(pauses) or max(pauses) <= RARELY + 0.25
    assert len(pauses) < 90
    assert 7 <= Budget().pause(NotReady("extracting", retry_after=7)) <= 7.25
    # And the tries that it took do not count against what comes after.
    budget = Budget(tries=2)
    for _ in range(5):
        budget.pause(NotReady("extracting"))
    budget.pause(Throttled("slow"))


def test_a_host_that_wants_to_be_asked_at_once_for_ever_is_not():
    pauses = list(until_it_gives_up(Budget(), NotReady("extracting", retry_after=0)))
    assert 10 < len(pauses) < 2000


def test_a_call_is_repeated_patiently(impatient):
    answers = iter([Throttled("1"), Throttled("2"), "done"])

    def once() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert patiently(once) == "done"


def test_progress_is_drawn_only_for_a_person_at_a_terminal(monkeypatch, capsys):
    with progress(10) as listen:
        listen(Progressed("a", 5))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress(10) as listen:
        listen(Progressed("a", 5))
        listen(Retrying("a", Throttled("slow"), 2.0))
    assert "again in 2 s: slow" in capsys.readouterr().err
