"""From a search to a plan, with an archive of our own making: what is kept, dropped, chosen and said."""

from __future__ import annotations

import weakref
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skystage import archives, planning
from skystage.archives import Changed, Companions, Search
from skystage.errors import QueryError, SkystageError
from skystage.model import Asset, Companion, Granule, Query
from skystage.spool import Spool


class Toy:
    """An archive with three files a granule; it gives whatever the test put into `holdings`."""

    name, title = "toy", "a toy"
    criteria = pydantic.create_model("Criteria")
    properties = {"path": "path"}
    property_names = frozenset({"path", "online"})
    asset_keys: tuple[str, ...] | None = ("data", "label", "browse")
    companions = frozenset({"tiles"})
    holdings: list[Granule] = []

    def selection(self, select):
        return dict(select)

    def search(self, query, access):
        return Search(iter(self.holdings), hits=len(self.holdings), received=len(self.holdings))

    def checks(self, query):
        return {"path": query.criteria["path"]} if "path" in query.criteria else {}

    def sensing(self, granule):
        return granule.id.partition("_")[0]

    def processed(self, granule):
        return granule.id

    def offline(self, granule):
        return not granule.properties.get("online", True)

    def resolve(self, granules, query, access):
        return granules


KINDS = {"data": "image/tiff", "label": None, "browse": "image/jpeg"}


def granule(name: str, *keys: str, **properties) -> Granule:
    assets = tuple(
        Asset(
            key=key,
            path=f"toy/C/{name}/{key}.bin",
            size=10,
            media_type="image/tiff" if key == "data" else None,
        )
        for key in keys or ("data", "label", "browse")
    )
    return Granule(
        archive="toy", collection="C", id=name, native_id=name, properties=properties, assets=assets
    )


@pytest.fixture
def build(monkeypatch, tmp_path):
    def from_holdings(*holdings, **query):
        archive = Toy()
        archive.holdings = list(holdings)
        monkeypatch.setattr(archives, "get", lambda name: archive)
        return planning.build(Query(archive="toy", **query), tmp_path / "plan", None)

    return from_holdings


def reasons(made) -> dict[str, str]:
    return {drop.id: drop.reason for drop in made.dropped()}


def keys(made) -> list[list[str]]:
    return [[asset.key for asset in granule.assets] for granule in made.granules()]


def test_the_main_asset_is_the_default_and_others_are_chosen_by_key(build):
    assert keys(build(granule("a"))) == [["data"]]
    assert keys(build(granule("a"), assets=("browse", "label"))) == [["browse", "label"]]


def test_an_asset_that_one_granule_lacks_is_unresolved_there(build):
    made = build(granule("a"), granule("b", "data"), assets=("label",))
    assert keys(made) == [["label"], []]
    assert [(name, missing.key) for name, missing in made.unresolved()] == [("b", "label")]


def test_an_asset_that_no_granule_has_is_a_wrong_query(build, tmp_path):
    with pytest.raises(QueryError, match="no granule has 'label'.*they have: data"):
        build(granule("a", "data"), assets=("label",))
    assert not (tmp_path / "plan").exists()


def test_an_archive_with_open_keys_gives_all_its_assets(build, monkeypatch):
    monkeypatch.setattr(Toy, "asset_keys", None)
    assert keys(build(granule("a"))) == [["data", "label", "browse"]]


def test_assets_are_selected_by_their_fields(build, monkeypatch):
    monkeypatch.setattr(Toy, "asset_keys", None)
    assert keys(build(granule("a"), select={"media_type": ["image/tiff"]})) == [["data"]]
    assert keys(build(granule("a"), select={"name": ["*.jpg"]})) == [[]]


def test_the_steps_come_in_their_order(build):
    """De-duplication among the matches, then offline, then filters: an older baseline does not come back."""
    made = build(
        granule("a_1", path=1),
        granule("a_2", path=1, online=False),
        granule("b_1", path=1),
        granule("c_1", path=2),
        filter={"path": 1},
    )
    assert [one.id for one in made.granules()] == ["b_1"]
    assert reasons(made) == {"a_1": "superseded", "a_2": "offline", "c_1": "path"}


def test_offline_granules_are_kept_where_the_query_says_so(build):
    made = build(granule("a_1", online=False), offline="keep")
    assert [one.id for one in made.granules()] == ["a_1"]


def test_what_the_server_was_asked_is_tested_again(build):
    made = build(granule("a_1", path=1), granule("b_1", path=2), criteria={"path": [1]})
    assert reasons(made) == {"b_1": "path"}


def test_a_granule_without_footprint_is_not_in_any_area(build):
    square = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}
    inside = replace(granule("a_1"), geometry=square)
    made = build(inside, granule("b_1"), area=square)
    assert [one.id for one in made.granules()] == ["a_1"]
    assert reasons(made) == {"b_1": "area"}


def test_companions_of_an_area_follow_the_granules(build, monkeypatch):
    tile = Asset(key="tile", path="dem/glo_30/x/x.tif", size=100)

    def find(granules, options, access):
        assert options == {"name": "glo_30"}
        return Companions(granules, [Companion(id="dem", assets=(tile,))], ["tiles.org: down"])

    monkeypatch.setattr(archives, "find_companions", lambda name: find)
    made = build(granule("a_1"), companions={"tiles": {"name": "glo_30"}})
    assert made.header.degraded == ("tiles.org: down",)
    assert [asset.key for asset in made.assets()] == ["data", "tile"]
    assert [one.id for one in made.granules()] == ["a_1"]
    assert made.header.totals.bytes == 110


# --------------------------------------------------------------------------------------------------
# The rules said once more, over lists in memory, and compared with what passes through the spool

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 1], [0, 1], [0, 0]]]}
LEFT = {"type": "Polygon", "coordinates": [[[0, 0], [2, 0], [2, 1], [0, 1], [0, 0]]]}
RIGHT = {"type": "Polygon", "coordinates": [[[2, 0], [4, 0], [4, 1], [2, 1], [2, 0]]]}
AWAY = {"type": "Polygon", "coordinates": [[[8, 8], [9, 8], [9, 9], [8, 9], [8, 8]]]}


def holding(number, version, collection, day, stack, path, online, geometry) -> Granule:
    start = None if day is None else datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=day)
    one = granule(f"{number}_{version}", path=path, online=online)
    return replace(one, collection=collection, start=start, stop=start, stack=stack, geometry=geometry)


HOLDINGS = st.lists(
    st.builds(
        holding,
        st.integers(0, 9),
        st.integers(0, 2),
        st.sampled_from("CD"),
        st.sampled_from([None, 0, 1, 2, 3, 40]),
        st.sampled_from(["", "a", "b"]),
        st.integers(1, 3),
        st.booleans(),
        st.sampled_from([None, SQUARE, LEFT, RIGHT, AWAY]),
    ),
    max_size=25,
)
QUERIES = st.builds(
    lambda area, offline, checks, single, covered, count, pick: {
        "area": area,
        "offline": offline,
        "criteria": checks,
        "filter": single | (covered if area else {}) | count | pick,
    },
    st.sampled_from([None, SQUARE]),
    st.sampled_from(["drop", "keep"]),
    st.sampled_from([{}, {"path": [1, 2]}]),
    st.sampled_from([{}, {"path": [2, 3]}, {"months": [1]}]),
    st.sampled_from([{}, {"min_coverage": 0.4}, {"min_coverage": 0.9, "coverage_by": "date"}]),
    st.one_of(st.just({}), st.builds(lambda n: {"min_count": n}, st.integers(1, 4))),
    st.one_of(
        st.just({}),
        st.builds(
            lambda name, n: {name: n}, st.sampled_from(["latest", "earliest", "max_count"]), st.integers(1, 3)
        ),
    ),
)


def plainly(holdings: list[Granule], asked: dict) -> tuple[list[tuple], list[tuple]]:
    """What is kept, and what is dropped and why: step after step, each over all that is left."""
    reasons: dict[tuple, str] = {}
    left = {}
    for one in holdings:
        left.setdefault((one.archive, one.collection, one.id), one)

    def drop(test) -> None:
        failed = {key: reason for key, one in left.items() if (reason := test(one))}
        reasons.update(failed)
        for key in failed:
            del left[key]

    def groups(of) -> dict:
        found = {}
        for one in left.values():
            found.setdefault(of(one), []).append(one)
        return found

    newest = {}
    for one in left.values():
        sensing, rank = one.id.partition("_")[0], (one.id, one.native_id, one.collection)
        newest[sensing] = max(newest.get(sensing, rank), rank)
    ranks = set(newest.values())
    drop(lambda one: (one.id, one.native_id, one.collection) not in ranks and "superseded")
    wanted, criteria = asked["criteria"].get("path"), asked["filter"]
    drop(lambda one: wanted and one.properties["path"] not in wanted and "path")
    drop(lambda one: asked["area"] and one.geometry in (None, AWAY) and "area")
    drop(lambda one: asked["offline"] == "drop" and not one.properties["online"] and "offline")
    if "months" in criteria:
        drop(lambda one: "unknown months" if one.start is None else one.start.month != 1 and "months")
    if "path" in criteria:
        drop(lambda one: one.properties["path"] not in criteria["path"] and "path")
    if "coverage_by" in criteria:
        whole = set()
        # A pass is a day and a track of one collection; a granule of unknown time is its own.
        for frames in groups(lambda g: (g.collection, g.start, g.start is None and g.id)).values():
            shapes = [frame.geometry for frame in frames]
            if SQUARE in shapes or (LEFT in shapes and RIGHT in shapes):
                whole |= {(frame.collection, frame.id) for frame in frames}
        drop(lambda one: (one.collection, one.id) not in whole and "min_coverage")
    sizes = {stack: len(members) for stack, members in groups(lambda g: g.stack).items()}
    drop(lambda one: sizes[one.stack] < criteria.get("min_count", 0) and "min_count")
    for name in {"latest", "earliest", "max_count"} & set(criteria):
        picked = set()
        for members in groups(lambda g: g.stack).values():
            timed = sorted(
                (one.start, one.native_id, one.collection) for one in members if one.start is not None
            )
            picked |= set(timed[-criteria[name] :] if name == "latest" else timed[: criteria[name]])
        places = {key: (one.start, one.native_id, one.collection) for key, one in left.items()}
        for key, place in places.items():
            if place not in picked:
                reasons[key] = f"unknown {name}" if place[0] is None else name
                del left[key]
    return sorted(left), sorted((key[2], reason) for key, reason in reasons.items())


@settings(deadline=None)
@given(HOLDINGS, QUERIES, st.randoms())
def test_what_passes_through_the_spool_is_what_the_rules_say_over_lists(
    tmp_path_factory, holdings, asked, shuffler
):
    folder = tmp_path_factory.mktemp("plans")
    archive = Toy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archives, "get", lambda name: archive)
        archive.holdings = holdings
        made = planning.build(Query(archive="toy", **asked), folder / "plan", None)
        found = [(one.archive, one.collection, one.id) for one in made.granules()]
        assert (found, [(one.id, one.reason) for one in made.dropped()]) == plainly(holdings, asked)
        # The order of a search makes no difference; of the same granule again the first one counts.
        once = {(one.collection, one.id): one for one in reversed(holdings)}
        archive.holdings = shuffler.sample(list(once.values()), len(once))
        again = planning.build(Query(archive="toy", **asked), folder / "again", None)
    assert list(made.granules()) == list(again.granules())


class Said(dict):
    """Properties of which one can ask whether anybody still holds them."""


def test_what_was_dropped_is_in_the_plan_also_where_the_rest_was_looked_at_again(build, monkeypatch):
    monkeypatch.setattr(Toy, "resolve", lambda self, granules, query, access: list(granules))
    made = build(granule("a_1"), granule("a_2"), granule("b_1", online=False))
    assert [one.id for one in made.granules()] == ["a_2"]
    assert reasons(made) == {"a_1": "superseded", "b_1": "offline"}
    assert made.header.totals.dropped == {"superseded": 1, "offline": 1}


def test_granules_go_by_one_at_a_time(monkeypatch, tmp_path):
    watched: list[weakref.ref] = []
    held: list[int] = []

    def watch(one: Granule) -> Granule:
        said = Said(one.properties)
        watched.append(weakref.ref(said))
        held.append(sum(ref() is not None for ref in watched))
        return replace(one, properties=said, stack="a")

    found = Toy()
    found.search = lambda query, access: Search(watch(granule(f"{n}_1", path=1)) for n in range(100))
    monkeypatch.setattr(archives, "get", lambda name: found)
    monkeypatch.setattr(
        archives,
        "find_companions",
        lambda name: lambda granules, options, access: Companions(Changed(granules, watch)),
    )
    asked = Query(archive="toy", filter={"path": 1, "min_count": 90}, companions={"tiles": True})
    planning.build(asked, tmp_path / "plan", None)
    assert len(held) == 200  # each as it was found, and as its companions were joined
    assert max(held) <= 3


def test_what_was_dropped_is_said_also_where_each_product_is_looked_at(build, monkeypatch):
    monkeypatch.setattr(Toy, "resolve", lambda self, granules, query, access: list(granules))
    made = build(granule("a_1"), granule("a_2"), granule("b_1", online=False))
    assert [one.id for one in made.granules()] == ["a_2"]
    assert reasons(made) == {"a_1": "superseded", "b_1": "offline"}


def test_a_full_temporary_directory_is_one_line_that_says_what_to_do():
    def fill() -> None:
        with Spool() as spool:
            spool._database.execute("PRAGMA max_page_count = 8")
            for number in range(100):
                spool.add(granule(str(number), text="x" * 10_000))

    with pytest.raises(SkystageError, match="database or disk is full.*TMPDIR"):
        fill()


def test_the_first_of_the_same_granule_counts(build):
    made = build(granule("a_1", path=1), granule("a_1", path=2))
    assert [one.properties["path"] for one in made.granules()] == [1]


def test_companions_may_look_at_the_granules_as_often_as_they_need(build, monkeypatch):
    def find(granules, options, access):
        assert list(granules) == list(granules)
        count = len(list(granules))
        return Companions(Changed(granules, lambda one: replace(one, stack=str(count))))

    monkeypatch.setattr(archives, "find_companions", lambda name: find)
    made = build(granule("a_1"), granule("b_1"), companions={"tiles": True})
    assert [one.stack for one in made.granules()] == ["2", "2"]
