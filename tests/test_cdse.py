"""The archive cdse, against the archives in a box."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter, defaultdict

import pytest

from skystage import archives, planning, query
from skystage.archives import odata
from skystage.archives.cdse_records import granule, parted, processed, sensing
from skystage.errors import CatalogueUnavailable, IncompleteSearch, QueryError, SearchError
from skystage.fetch import fetch_asset

CATALOGUE = "catalogue.dataspace.copernicus.eu"
DOWNLOAD = "download.dataspace.copernicus.eu"
JUNE = {
    "archive": "cdse",
    "collection": "SENTINEL-2",
    "product_type": "S2MSI2A",
    "tile": "31UFS",
    "start": "2018-06-01",
    "end": "2018-06-30",
}


@pytest.fixture
def plan(access, tmp_path):
    def build(**asked):
        return planning.build(query.parse({"archive": "cdse", **asked}), tmp_path / "plan.ndjson", access)

    return build


def search(access, **asked):
    wanted = query.parse({"archive": "cdse", **asked})
    found = archives.get("cdse").search(wanted, access)
    return list(found), found


def asked_of(box, host=CATALOGUE):
    return [one for one in box.requests() if one["host"] == host]


# --------------------------------------------------------------------------------------------------
# The recorded products of a tile: 1,717 of 2018 to 2020


S2 = re.compile(r"(S2[AB])_MSI(L1C|L2A)_(\d{8}T\d{6})_N(\d{4})_R\d{3}_T(\w{5})_(\d{8}T\d{6})(\.SAFE)?")


@pytest.fixture
def recorded(recordings):
    path = recordings / "earth/cdse_odata/cdse_opensearch_s2_31UFS_dev_2018_2020.slim.json.gz"
    return [one["properties"] for one in json.loads(gzip.decompress(path.read_bytes()))]


def newest(products):
    """Of each sensing the newest baseline, and of one baseline the newest processing; 99.99 is none."""
    groups = defaultdict(list)
    for one in products:
        unit, level, datatake, baseline, tile, made, _ = S2.fullmatch(one["title"]).groups()
        rank = ("" if baseline == "9999" else baseline, made)
        groups[unit, level, datatake, tile].append((rank, one["title"].removesuffix(".SAFE")))
    return {key: max(found)[1] for key, found in groups.items()}


@pytest.mark.parametrize("page", [1000, 97])
@pytest.mark.parametrize("level", ["S2MSI2A", "S2MSI1C"])
def test_recorded_products_by_cloud_cover_and_dates_are_exactly_those_that_the_records_say(
    open_box, recordings, recorded, access, plan, monkeypatch, page, level
):
    open_box(catalogue=recordings)
    monkeypatch.setattr(odata, "PAGE", page)
    made = plan(
        collection="SENTINEL-2",
        name="*_T31UFS_*",
        product_type=level,
        cloud_cover={"max": 10},
        start="2018-03-01",
        end="2020-09-15",
    )
    said = [
        one
        for one in recorded
        if one["productType"] == level
        and one["cloudCover"] <= 10
        and "2018-03-01" <= one["startDate"][:10] <= "2020-09-15"
    ]
    assert {one.id for one in made.granules()} == set(newest(said).values())
    assert made.header.hits == made.header.totals.granules + len(list(made.dropped())) == len(said)
    assert {one.reason for one in made.dropped()} == {"superseded"}


def test_of_all_recorded_products_one_baseline_a_sensing_is_kept_and_both_halves_of_a_tile(
    open_box, recordings, recorded, plan
):
    open_box(catalogue=recordings)
    made = plan(
        collection="SENTINEL-2", name="*_T31UFS_*", start="2018-01-01", end="2020-12-31", offline="keep"
    )
    kept = {one.id for one in made.granules()}
    expected = set(newest(recorded).values())
    # On that day the datatake came in two pieces: the newest of each half.
    halves = {
        "S2B_MSIL1C_20200830T103629_N0500_R008_T31UFS_20230416T035156",
        "S2B_MSIL2A_20200830T103629_N0500_R008_T31UFS_20230417T023507",
    }
    assert kept == expected | halves
    assert not halves & expected


# --------------------------------------------------------------------------------------------------
# The box's own products


def test_one_processing_a_sensing_is_kept_and_each_drop_has_its_reason(box, plan):
    made = plan(**JUNE)
    kept = list(made.granules())
    every = [{"title": one.id} for one in (*kept, *made.dropped())]
    assert {one.id for one in kept} == set(newest(every).values())
    assert len(every) > len(kept)
    assert {one.reason for one in made.dropped()} == {"superseded"}
    assert {one.stack for one in kept} == {"31UFS"}
    assert {one.collection for one in kept} == {"SENTINEL-2_S2MSI2A"}
    for one in kept:
        assert [source.host for source in one.asset("data").sources] == [DOWNLOAD]
        assert one.asset("data").sources[0].auth == "cdse"
        assert one.asset("data").path == f"cdse/SENTINEL-2_S2MSI2A/{one.id}/{one.id}.zip"


def test_of_an_older_baseline_that_alone_is_asked_for_nothing_is_superseded(box, plan):
    made = plan(**JUNE, baseline="02.08")
    assert {one.id[27:32] for one in made.granules()} == {"N0208"}
    assert list(made.dropped()) == []


def test_a_product_without_size_and_checksum_is_planned_as_what_it_is(box, plan):
    (one,) = [g for g in plan(**JUNE).granules() if g.asset("data").size is None]
    assert dict(one.asset("data").checksums) == {}


def test_what_is_offline_is_dropped_as_that_or_kept_on_request(box, plan):
    may = {**JUNE, "start": "2018-05-01", "end": "2018-05-31"}
    dropped = list(plan(**may).dropped())
    assert [one.reason for one in dropped] == ["offline"]
    kept = plan(**may, offline="keep").granules()
    assert dropped[0].id in {one.id for one in kept}
    assert plan(**may, online=True).header.totals.dropped == {}


def test_who_asks_for_what_is_offline_has_to_keep_it(box, plan):
    may = {**JUNE, "start": "2018-05-01", "end": "2018-05-31"}
    for asked in ({"online": False}, {"filter": {"online": False}}):
        with pytest.raises(QueryError, match=r"online: false .*offline: drop.*say offline: keep") as caught:
            plan(**may, **asked)
        assert "\n" not in str(caught.value)
        found = list(plan(**may, **asked, offline="keep").granules())
        assert [one.properties["Online"] for one in found] == [False]
    plan(**may, filter={"online": True})


def test_a_quicklook_is_an_asset_of_its_own(box, plan):
    made = plan(**JUNE, assets=["quicklook"])
    for one in made.granules():
        (asset,) = one.assets
        assert asset.name == f"{one.id}-ql.jpg"


def test_an_orbit_file_is_fetched_and_proved(box, plan, store, access):
    made = plan(collection="SENTINEL-1", product_type="AUX_POEORB", end="2018-02-01")
    asset = next(made.granules()).asset("data")
    assert asset.name.endswith(".EOF")
    assert fetch_asset(asset, store, access).verified in asset.checksums


def test_the_pages_are_all_read_whatever_their_size(box, access, monkeypatch):
    whole, _ = search(access, collection="SENTINEL-1")
    for page in (1, 7, len(whole)):
        monkeypatch.setattr(odata, "PAGE", page)
        found, seen = search(access, collection="SENTINEL-1")
        assert [one.id for one in found] == [one.id for one in whole]
        assert seen.hits == len(whole)
        assert seen.received >= len(whole)


def test_the_search_goes_past_what_may_be_skipped(box, access, monkeypatch):
    whole, _ = search(access, collection="SENTINEL-2")
    ties = max(Counter(one.start for one in whole).values())
    monkeypatch.setattr(odata, "PAGE", 1)
    monkeypatch.setattr(odata, "DEEPEST", ties)
    box.clear()
    found, _ = search(access, collection="SENTINEL-2")
    assert [one.id for one in found] == [one.id for one in whole]
    skipped = [int(match[1]) for one in asked_of(box) if (match := re.search(r"skip=(\d+)", one["query"]))]
    assert max(skipped) <= ties < len(whole)


def test_more_products_of_one_instant_than_can_be_listed_are_an_error(box, access, monkeypatch):
    monkeypatch.setattr(odata, "PAGE", 1)
    monkeypatch.setattr(odata, "DEEPEST", 0)
    with pytest.raises(SearchError, match="products begin at 20"):
        search(access, collection="SENTINEL-2")


def test_two_areas_across_the_antimeridian_are_one_search(box, access):
    box.clear()
    found, _ = search(access, collection="SENTINEL-2", area=[170, -20, -170, 20])
    assert found == []
    (request,) = asked_of(box)
    assert request["query"].count("Intersects") == 2


# --------------------------------------------------------------------------------------------------
# Named one by one


def test_products_are_found_by_name_and_what_is_not_there_is_named(box, access, plan):
    names = [one.id for one in search(access, **JUNE)[0]]
    box.clear()
    made = plan(names=[*names, "S2A_MSIL2A_20180101T000000_N0500_R001_T31UFS_20230101T000000.SAFE"])
    assert made.header.hits == len(names)
    assert [one.id for one in made.dropped() if one.reason == "not in the archive"] == [
        "S2A_MSIL2A_20180101T000000_N0500_R001_T31UFS_20230101T000000"
    ]
    posted, deleted = asked_of(box)
    assert posted["method"] == "POST"
    assert "/DeletedProducts" in deleted["path"]


def test_a_named_product_that_does_not_match_is_dropped_for_that_and_is_not_missing(box, access, plan):
    one = search(access, **JUNE, cloud_cover={"min": 50})[0][0]
    made = plan(names=[one.id], cloud_cover={"max": 10})
    assert [(drop.id, drop.reason) for drop in made.dropped()] == [(one.id, "cloud_cover")]


def test_deleted_products_are_named(box, access, plan):
    deleted = list(odata.records("ContentDate/Start ge 2000-01-01T00:00:00Z", access, kind="DeletedProducts"))
    assert deleted
    made = plan(names=[one["Name"] for one in deleted], offline="keep")
    assert {one.reason for one in made.dropped()} == {"deleted"}
    assert len(list(made.dropped())) == len({one["Name"] for one in deleted})


def test_products_are_found_by_id(box, access, plan):
    one = search(access, **JUNE)[0][0]
    nobody = "00000000-0000-0000-0000-000000000000"
    made = plan(ids=[one.native_id, nobody])
    assert [granule.id for granule in made.granules()] == [one.id]
    assert [(drop.id, drop.reason) for drop in made.dropped()] == [(nobody, "not in the archive")]


def test_where_deleted_products_cannot_be_asked_for_the_plan_says_so(box, plan, impatient):
    box.set_faults([{"match": {"host": CATALOGUE, "path": "*DeletedProducts*"}, "status": 503}])
    made = plan(names=["S2A_X"])
    assert [one.reason for one in made.dropped()] == ["not in the archive"]
    assert "deleted products" in made.header.degraded[0]


def test_all_names_of_a_tile_and_datatake_go_into_one_request():
    from skystage.archives import cdse

    names = [
        f"S2B_MSIL2A_20200830T103629_N{baseline:04}_R008_T{tile}_20230417T023507"
        for baseline in range(3)
        for tile in (f"31U{first}{second}" for first in "ABCDEFGH" for second in "ABCDEFGH")
    ]
    groups = list(cdse._groups(names))
    assert sorted(name for group in groups for name in group) == sorted(names)
    assert len(groups) == 2
    assert not {name[38:44] for name in groups[0]} & {name[38:44] for name in groups[1]}


# --------------------------------------------------------------------------------------------------
# A catalogue that fails


def test_fewer_products_than_were_counted_are_an_error_unless_that_is_accepted(box, access, monkeypatch):
    whole, _ = search(access, **JUNE)
    read = access.read

    def one_less(url, **options):
        answer = json.loads(read(url, **options))
        return json.dumps({**answer, "value": answer["value"][1:]}).encode()

    monkeypatch.setattr(access, "read", one_less)
    with pytest.raises(
        IncompleteSearch, match=f"counted {len(whole)} products and delivered {len(whole) - 1}"
    ):
        search(access, **JUNE)
    assert len(search(access, **JUNE, allow_incomplete=True)[0]) == len(whole) - 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 503}, CatalogueUnavailable),
        ({"status": 400}, SearchError),
        ({"status": 200, "body": "<html>"}, CatalogueUnavailable),
        ({"status": 200, "body": '{"value": [{}]}'}, CatalogueUnavailable),
        ({"status": 200, "body": '{"value": []}'}, CatalogueUnavailable),
        ({"status": 200, "body": "[]"}, CatalogueUnavailable),
    ],
)
@pytest.mark.parametrize(
    "asked", [JUNE, {"names": "S2A_X"}, {"ids": "00000000-0000-0000-0000-000000000000"}], ids=str
)
def test_a_catalogue_that_fails_is_a_named_error(box, access, impatient, fault, error, asked):
    box.set_faults([{"match": {"host": CATALOGUE}, **fault}])
    if asked == {"names": "S2A_X"} and fault.get("body") == '{"value": []}':
        return  # a true answer
    with pytest.raises(error):
        search(access, **{key: value for key, value in asked.items() if key != "archive"})


def test_an_answer_by_names_that_has_more_pages_is_not_taken_for_all(box, access):
    box.set_faults(
        [{"match": {"host": CATALOGUE}, "status": 200, "body": '{"value": [], "@odata.nextLink": "x"}'}]
    )
    with pytest.raises(IncompleteSearch):
        search(access, names="S2A_X")


# --------------------------------------------------------------------------------------------------
# Records


def record(name, **said):
    return {"Id": "1", "Name": name, "ContentDate": {"Start": None, "End": None}, **said}


def of(name, *attributes, **said):
    return granule(
        record(name, Attributes=[{"Name": key, "Value": value} for key, value in attributes], **said)
    )


def test_a_baseline_of_users_is_older_than_any(box):
    names = [
        "S2B_MSIL2A_20180416T105029_N9999_R051_T31UFS_20221003T135812",
        "S2B_MSIL2A_20180416T105029_N0207_R051_T31UFS_20180416T131748.SAFE",
        "S2B_MSIL2A_20180416T105029_N0500_R051_T31UFS_20230910T042535.SAFE",
    ]
    found = [of(name) for name in names]
    assert len({sensing(one) for one in found}) == 1
    assert sorted(found, key=processed) == found


def test_of_one_baseline_the_later_processing_is_newer():
    name = "S2B_MSIL2A_20190508T104029_N0212_R008_T31UFS_20190508T135155.SAFE"
    assert processed(of(name)) < processed(of(name, ("processingDate", "2019-05-29T17:58:32.000000Z")))


def test_names_of_sentinel_1_that_differ_in_their_checksum_are_one_sensing_and_cogs_another():
    name = "S1A_IW_GRDH_1SDV_20200102T133428_20200102T133453_030622_03822B_{}"
    first, second, cog = (of(f"{name.format(end)}.SAFE") for end in ("8F4F", "0A1B", "0A1B_COG"))
    assert sensing(first) == sensing(second) != sensing(cog)
    assert processed(of(first.id, ("processingDate", "2020-01-02T14:00:00Z"))) < processed(
        of(second.id, OriginDate="2021-01-01T00:00:00Z")
    )
    assert of(first.id, ("relativeOrbitNumber", 35)).stack == "p35"


def test_other_products_are_each_the_only_one():
    one = of("S5P_OFFL_L2__NO2____20200101T003343_20200101T021513_11487_01_010302_20200102T171824.nc")
    assert sensing(one) is None
    assert one.id.endswith("171824")
    assert (one.collection, one.stack) == ("UNKNOWN", "")


SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}
STRIP = {"type": "Polygon", "coordinates": [[[0.9, 0], [2, 0], [2, 1], [0.9, 1], [0.9, 0]]]}
POINT = {"type": "Polygon", "coordinates": [[[0, 0], [0, 0], [0, 0], [0, 0]]]}


def test_halves_of_a_tile_are_told_by_their_footprints():
    name = "S2B_MSIL2A_20200830T103629_N{}_R008_T31UFS_20230417T023507"
    footprints = [SQUARE, STRIP, SQUARE, STRIP, None, POINT, POINT]
    found = [of(name.format(f"{n:04}"), GeoFootprint=one) for n, one in enumerate(footprints)]
    assert [one.properties.get("part") for one in parted(found)] == [None, 2, None, 2, None, 3, 3]


@pytest.mark.parametrize(
    ("picture", "keys"),
    [
        ({"Type": "QUICKLOOK", "DownloadLink": "https://x/y"}, ["data", "quicklook"]),
        ({"Type": "QUICKLOOK"}, ["data"]),
        ({"Type": "OTHER", "DownloadLink": "https://x/y"}, ["data"]),
    ],
)
def test_a_picture_is_an_asset_where_the_record_says_where_it_is(picture, keys):
    assert [asset.key for asset in of("S2A_X.SAFE", Assets=[picture]).assets] == keys
