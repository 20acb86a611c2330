"""From a search to a plan, with an archive of our own making: what is kept, dropped, chosen and said."""

from __future__ import annotations

from dataclasses import replace

import pydantic
import pytest

from skystage import archives, planning
from skystage.archives import Companions, Search
from skystage.errors import QueryError
from skystage.model import Asset, Companion, Granule, Query


class Toy:
    """An archive with three files a granule; it gives whatever the test put into `holdings`."""

    name, title = "toy", "a toy"
    criteria = pydantic.create_model("Criteria")
    properties = {"path": "path"}
    property_names = frozenset({"path", "online"})
    asset_keys: tuple[str, ...] | None = ("data", "label", "browse")
    companions = frozenset({"tiles"})
    holdings: list[Granule] = []

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
