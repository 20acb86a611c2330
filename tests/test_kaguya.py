"""Kaguya's scenes of the Moon, from the USGS's API and its bucket, through the archive `stac`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skystage import planning, query
from skystage.batch import fetch_all
from skystage.errors import NotFound
from skystage.plan import Plan
from skystage.store import Store
from skystage.transport import Access

NAME = "kaguya_terrain_camera_{}_uncontrolled_observations"
KINDS = ("stereoscopic", "spsupport", "monoscopic")
BUCKET = "astrogeo-ard.s3-us-west-2.amazonaws.com"


def planned(tmp_path: Path, access: Access, kinds: tuple[str, ...] = KINDS, **more: Any) -> Plan:
    asked = query.parse(
        {
            "archive": "stac",
            "url": "https://stac.astrogeology.usgs.gov/api/",
            "collections": [NAME.format(kind) for kind in kinds],
            "body": "moon",
            **more,
        }
    )
    return planning.build(asked, tmp_path / "plan.ndjson", access)


def test_the_box_of_the_tutorial_is_planned_whole(box, tmp_path, access):
    plan = planned(tmp_path, access, area=[3, 4, 5, 6], assets=["caminfo_pvl", "image"])
    granules = list(plan.granules())
    assert len(granules) == 70
    assert {granule.body for granule in granules} == {"moon"}
    assert {len(granule.assets) for granule in granules} == {2}
    pages = [request for request in box.requests() if request["path"].endswith("/search")]
    assert len(pages) == 2, "all on the first page, and nothing on the one that its next link leads to"


def test_a_dead_asset_fails_alone(box, store, tmp_path, access):
    plan = planned(tmp_path, access, area=[3, 4, 5, 6], assets=["caminfo_pvl", "provenance"])
    outcome = fetch_all(list(plan.assets()), store, access)
    ((asset, error),) = outcome.failures.items()
    assert isinstance(error, NotFound)
    assert "TC1S2B0_01_05521N043E0050/provenance.txt" in str(error)
    assert asset
    assert len(outcome.receipts) == 139
    asked = [request["path"] for request in box.requests() if request["host"] == BUCKET]
    assert len(asked) == len(set(asked)) == 140, "once each, the dead one too"


def test_recorded_scenes_are_found_by_an_area_around_them(open_box, recordings, store, tmp_path, access):
    if not (recordings / "astro" / "usgs-stac-kaguya").is_dir():
        pytest.skip("the recorded scenes of the Moon are not on this machine (SKYSTAGE_RECORDINGS)")
    open_box(catalogue=recordings)
    wanted = ["caminfo_pvl", "image", "provenance"]
    plan = planned(tmp_path, access, area=[-59, 7, -57, 20], assets=wanted)
    granules = list(plan.granules())
    assert len(granules) == 9
    outcome = fetch_all(list(plan.assets()), store, access)
    assert len(outcome.receipts) == 18
    assert {type(error) for error in outcome.failures.values()} == {NotFound}
    for granule in granules:
        label = granule.asset("caminfo_pvl")
        recorded = recordings / "astro" / "usgs-stac-kaguya" / granule.id / "caminfo.pvl"
        assert store.path(label).read_bytes() == recorded.read_bytes()


def test_a_second_run_asks_for_nothing_that_is_there(box, store, tmp_path, access):
    plan = planned(tmp_path, access, ("spsupport",), area=[3, 4, 5, 6], assets=["caminfo_pvl", "image"])
    assert len(fetch_all(list(plan.assets()), store, access).receipts) == 30
    box.clear()
    again = fetch_all(list(plan.assets()), Store(store.root), access)
    assert (again.already, again.requests) == (30, 0)
    assert box.requests() == []
