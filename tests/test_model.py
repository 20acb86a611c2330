from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from skystage.model import (
    Asset,
    Companion,
    Dropped,
    Granule,
    Query,
    Receipt,
    Source,
    Unresolved,
    canonical,
    from_iso,
    iso,
)

MOMENT = datetime(2018, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
ASSET = Asset(
    key="data",
    path="asf/C/g/f.zip",
    size=7,
    checksums={"md5": "ab"},
    media_type="application/zip",
    sources=(
        Source(href="https://host/f.zip", auth="earthdata"),
        Source(href="s3://bucket/f.zip", ranges=False, requester_pays=True, member="a/b"),
    ),
)
GRANULE = Granule(
    archive="asf",
    collection="C",
    id="g",
    native_id="g-SLC",
    start=MOMENT,
    stop=MOMENT,
    geometry={"type": "Point", "coordinates": [1, 2]},
    stack="p35_f122",
    properties={"pathNumber": 35},
    assets=(ASSET,),
    unresolved=(Unresolved(key="orbit", reason="none"),),
)


@pytest.mark.parametrize("granule", [GRANULE, Granule(archive="a", collection="c", id="i", native_id="i")])
def test_a_granule_survives_json(granule):
    assert Granule.from_json(granule.to_json()) == granule


def test_a_receipt_survives_json():
    receipt = Receipt(
        path="p",
        size=1,
        mtime_ns=2,
        digests={"sha256": "x"},
        verified="md5",
        source="https://h",
        staged=MOMENT,
    )
    assert Receipt.from_json(receipt.to_json()) == receipt


def test_a_companion_survives_json():
    companion = Companion(id="dem", assets=(ASSET,))
    assert companion.to_json()["kind"] == "companion"
    assert Companion.from_json(companion.to_json()) == companion


def test_a_dropped_granule_is_a_line_with_its_reason():
    assert Dropped(id="x", reason="months").to_json() == {"id": "x", "dropped": "months"}


def test_times_are_written_as_utc_with_z():
    east = datetime(2018, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert iso(east) == "2018-01-01T00:00:00Z"
    assert iso(MOMENT) == "2018-01-02T03:04:05.678000Z"


def test_times_without_zone_are_utc_and_others_are_converted():
    assert from_iso("2018-01-01T00:00:00") == datetime(2018, 1, 1, tzinfo=UTC)
    assert from_iso("2018-01-01T02:00:00+02:00") == datetime(2018, 1, 1, tzinfo=UTC)


def test_an_asset_is_named_by_its_path_and_found_by_its_key():
    assert ASSET.name == "f.zip"
    assert GRANULE.asset("data") is ASSET
    assert GRANULE.asset("browse") is None


def test_a_source_knows_the_host_that_is_asked_first():
    assert [source.host for source in ASSET.sources] == ["host", "bucket.s3.amazonaws.com"]
    assert Source(href="file").host == ""


def test_canonical_json_sorts_keys_and_refuses_what_json_cannot_say():
    assert canonical({"b": 1, "a": ["ü"]}) == '{"a":["ü"],"b":1}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(float("nan"))


def test_a_query_says_only_what_is_not_default():
    assert Query(archive="asf").to_json() == {"archive": "asf"}


def test_a_query_has_one_digest_whatever_the_order_of_its_keys():
    one = Query(archive="asf", criteria={"a": 1, "b": 2})
    other = Query(archive="asf", criteria={"b": 2, "a": 1})
    assert one.digest == other.digest
    assert one.digest != Query(archive="asf", criteria={"a": 1}).digest


def test_every_part_of_a_query_is_in_its_json():
    query = Query(
        archive="asf",
        criteria={"dataset": ["SENTINEL-1"]},
        area={"type": "Point", "coordinates": [1, 2]},
        start=MOMENT,
        end=MOMENT,
        labels={"asset": "label", "values": {"angle": "A.B"}},
        filter={"latest": 1},
        select={"name": "*"},
        assets=("data",),
        companions={"orbits": True},
        offline="keep",
        allow_missing=("orbit",),
        allow_incomplete=True,
    )
    assert query.to_json() == {
        "archive": "asf",
        "dataset": ["SENTINEL-1"],
        "area": {"type": "Point", "coordinates": [1, 2]},
        "start": "2018-01-02T03:04:05.678000Z",
        "end": "2018-01-02T03:04:05.678000Z",
        "labels": {"asset": "label", "values": {"angle": "A.B"}},
        "filter": {"latest": 1},
        "select": {"name": "*"},
        "with": {"orbits": True},
        "assets": ["data"],
        "offline": "keep",
        "allow_missing": ["orbit"],
        "allow_incomplete": True,
    }
