"""One product from two archives: ASF's zip, the Copernicus Data Space's, and ASF's own bucket."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skystage import cli, errors, export, query
from skystage.batch import fetch_all
from skystage.errors import QueryError
from skystage.fetch import fetch_asset
from skystage.model import Asset
from skystage.planning import build
from skystage.retry import TRIES
from skystage.store import Store
from skystage.transport import Access

DOWNLOAD = "download.dataspace.copernicus.eu"
CATALOGUE = "catalogue.dataspace.copernicus.eu"
DATAPOOL = "datapool.asf.alaska.edu"
EXTRACTOR = "sentinel1-burst.asf.alaska.edu"
BUCKET = "asf-ngap2w-p-s1-slc-7b420b89.s3.us-west-2.amazonaws.com"
ASK = {
    "archive": "asf",
    "area": [-123.5, 38.0, -121.5, 40.5],
    "start": "2018-06-01",
    "end": "2018-07-31",
    "processing_level": "SLC",
    "relative_orbit": 35,
    "flight_direction": "ASCENDING",
}


@pytest.fixture
def plan(box, access, tmp_path):
    def made(**options):
        return build(query.parse({**ASK, **options}), tmp_path / "plan.ndjson", access)

    return made


@pytest.fixture
def both(box, plan) -> Asset:
    """An SLC that both archives have."""
    return next(plan(**{"with": {"mirrors": True}}).granules()).asset("data")


def hosts(box) -> set[str]:
    return {request["host"] for request in box.requests() if request["status"] in (200, 206)}


def by(asset: Asset, *auths: str) -> Asset:
    """The asset with only the sources of these kinds."""
    return replace(asset, sources=tuple(one for one in asset.sources if one.auth in auths))


def test_every_product_gets_the_other_archives_copy_as_a_second_source(plan):
    granules = list(plan(**{"with": {"mirrors": True}}).granules())
    assert granules
    for granule in granules:
        sources = granule.asset("data").sources
        assert sources[-1].auth == "cdse"
        assert sources[-1].repacked.size != granule.asset("data").size
        assert len(sources[-1].repacked.checksums["md5"]) == 32
    assert (
        next(plan(**{"with": {"mirrors": {"first": True}}}).granules()).asset("data").sources[0].auth
        == "cdse"
    )


def test_the_copy_is_proved_by_its_own_checksum_and_by_what_is_inside(box, both, store, access):
    receipt = fetch_asset(by(both, "cdse"), store, access)
    assert receipt.verified == "manifest"
    assert receipt.size == both.sources[-1].repacked.size
    said = both.sources[-1].repacked.checksums
    assert [receipt.digests[name] for name in receipt.digests if name in said] in [
        [said["md5"]],
        [said.get("blake3")],
    ]


def test_whichever_copy_is_staged_the_asset_is_done(box, both, store, access):
    fetch_asset(by(both, "cdse"), store, access)
    box.clear()
    for store_again in (store, Store(store.root)):
        assert fetch_asset(both, store_again, access).verified == "manifest"
        assert fetch_asset(by(both, "earthdata"), store_again, access).verified == "manifest"
    assert box.requests() == []


def test_a_copy_is_no_damaged_file(box, both, store, access, plan, capsys):
    fetch_asset(by(both, "cdse"), store, access)
    made = plan(**{"with": {"mirrors": True}}, granule_list=[both.name.removesuffix(".zip")])
    words = ["verify", str(made.path), "--store", str(store.root), "--deep"]
    assert cli.run(words) == 0, capsys.readouterr().out
    store.path(both).write_bytes(store.path(both).read_bytes()[:-1] + b"x")
    assert cli.run(words) == 4


def test_where_one_archive_is_down_the_other_gives_the_product(box, both, store, access, impatient):
    box.set_faults([{"match": {"host": DATAPOOL}, "status": 503}])
    assert fetch_asset(both, store, access).verified == "manifest"
    assert DOWNLOAD in hosts(box)


def test_what_came_of_the_one_zip_is_never_joined_to_the_other(box, both, store, access, impatient):
    """ASF breaks off for good in the middle: its bytes are no beginning of the other archive's zip."""
    box.set_faults(
        [
            {"match": {"host": "dy4owt9f80bz7.cloudfront.net", "times": 1}, "cut": 20_000},
            {"match": {"host": DATAPOOL, "after": 1}, "status": 404},
        ]
    )
    receipt = fetch_asset(both, store, access)
    assert (receipt.verified, receipt.size) == ("manifest", both.sources[-1].repacked.size)


def test_another_product_under_the_right_name_is_refused(box, both, store, access):
    """The catalogue gives the checksum of what it sends: only the name tells that it is another one."""
    wrong = next(
        source
        for source in [one.asset("data").sources[-1] for one in _others(box, access, store.root.parent)]
        if source.href != both.sources[-1].href
    )
    mixed = replace(both, sources=(wrong,))
    with pytest.raises(errors.StructureError):
        fetch_asset(mixed, store, access)
    assert not store.path(mixed).exists()


def _others(box, access, folder):
    return build(query.parse({**ASK, "with": {"mirrors": True}}), folder / "others.ndjson", access).granules()


def test_a_copy_that_lies_there_without_a_receipt_is_taken_over(box, both, store, access, tmp_path):
    """The process that published it was killed before it wrote the receipt."""
    other = Store(tmp_path / "other")
    fetch_asset(by(both, "cdse"), other, access)
    store.path(both).parent.mkdir(parents=True)
    store.path(both).write_bytes(other.path(both).read_bytes())
    box.clear()
    assert fetch_asset(both, store, access).verified == "manifest"
    assert box.requests() == []


def test_a_catalogue_that_is_down_leaves_one_source_and_says_so(box, plan, impatient):
    box.set_faults([{"match": {"host": CATALOGUE}, "status": 503}])
    made = plan(**{"with": {"mirrors": True}})
    assert [text.partition(":")[0] for text in made.header.degraded] == [CATALOGUE]
    assert all(one.auth != "cdse" for one in next(made.granules()).asset("data").sources)


@pytest.mark.parametrize("options", [{"last": True}, {"first": 1}, {"first": True, "x": 1}])
def test_options_that_mean_nothing_are_refused(plan, box, options):
    with pytest.raises(QueryError, match="with: mirrors"):
        plan(**{"with": {"mirrors": options}})
    assert box.requests() == []


def test_lists_for_other_tools_never_mix_the_bytes_of_two_zips(both):
    for name in ("aria2", "curl", "rclone-urls", "urls"):
        text = "\n".join(export.FORMATS[name]([both]))
        assert DATAPOOL in text
        assert DOWNLOAD not in text
        assert "s3" not in text


# --------------------------------------------------------------------------------------------------
# ASF's own bucket


@pytest.fixture
def direct(both) -> Asset:
    return by(both, "earthdata", "asf-s3")


def test_a_plan_names_the_bucket_beside_the_usual_address(direct):
    assert [one.href for one in direct.sources][1:] == [f"https://{BUCKET}/{direct.name}"]


def test_beside_the_bucket_bytes_come_from_it(box, direct, store, access, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    box.clear()
    receipt = fetch_asset(direct, store, access)
    assert (receipt.verified, receipt.source) == ("md5", f"https://{BUCKET}/{direct.name}")
    assert DATAPOOL not in hosts(box)


def test_elsewhere_nobody_asks_for_keys(box, direct, store, access, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    box.clear()
    assert fetch_asset(direct, store, access).verified == "md5"
    assert BUCKET not in {request["host"] for request in box.requests()}
    assert not any("s3credentials" in request["path"] for request in box.requests())


def test_keys_are_asked_for_once_and_anew_before_they_die(box, slcs, store, access, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    monkeypatch.delenv("AWS_REGION", raising=False)
    assets = [granule.asset("data") for granule in slcs[:4]]
    bucket = [by(one, "asf-s3") for one in assets]

    def asked() -> int:
        return sum(
            "s3credentials" in request["path"] for request in box.requests() if request["status"] == 200
        )

    for one in bucket[:3]:
        fetch_asset(one, store, access)
    assert asked() == 1
    access.keys("asf-s3")._due = 0.0
    fetch_asset(bucket[3], store, access)
    assert asked() == 2


def test_a_bucket_that_refuses_is_not_asked_again(box, slcs, store, access, monkeypatch):
    """AWS_REGION is set on a laptop, for other reasons."""
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    box.set_faults([{"match": {"host": BUCKET}, "status": 403}])
    for granule in slcs[:3]:
        asset = granule.asset("data")
        assert fetch_asset(asset, store, access).verified == "md5"
    assert sum(request["host"] == BUCKET for request in box.requests()) == 1


def test_keys_that_are_no_keys_end_in_the_other_way(box, direct, store, access, monkeypatch, impatient):
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    box.set_faults([{"match": {"path": "/s3credentials"}, "status": 200, "body": "{}"}])
    assert fetch_asset(direct, store, access).verified == "md5"


def test_keys_that_cannot_be_had_are_asked_for_in_one_round_for_all(
    box, slcs, store, access, monkeypatch, impatient
):
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    box.set_faults([{"match": {"path": "/s3credentials"}, "status": 500}])
    outcome = fetch_all([granule.asset("data") for granule in slcs], store, access, jobs=4)
    assert outcome.failures == {}
    asked = sum("s3credentials" in request["path"] for request in box.requests())
    assert asked <= 2 * TRIES


def test_keys_that_are_dead_on_arrival_are_no_keys(box, direct, store, access, monkeypatch, impatient):
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    dead = (
        '{"accessKeyId": "a", "secretAccessKey": "b", "sessionToken": "c",'
        ' "expiration": "2020-01-01 00:00:00+00:00"}'
    )
    box.set_faults([{"match": {"path": "/s3credentials"}, "status": 200, "body": dead}])
    assert fetch_asset(direct, store, access).verified == "md5"
    assert BUCKET not in {request["host"] for request in box.requests()}


def test_the_keys_go_to_the_bucket_and_nowhere_else(box, direct, store, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    access = Access()
    fetch_asset(direct, store, access)
    secret = access.keys("asf-s3").secret()
    assert "ASIA" not in repr(access.keys("asf-s3"))
    for request in box.requests():
        carried = secret.token in str(request)
        assert not carried or request["host"] == BUCKET
    access.close()


# --------------------------------------------------------------------------------------------------
# Bursts


@pytest.fixture
def burst(box, access, tmp_path) -> Asset:
    asked = query.parse({"archive": "asf", "preset": "S1_BURST"})
    return next(build(asked, tmp_path / "bursts.ndjson", access).granules()).asset("data")


def test_a_burst_is_waited_for_while_it_is_extracted(box, burst, store, access, impatient):
    box.set_faults([{"match": {"host": EXTRACTOR, "times": 9}, "status": 202}])
    receipt = fetch_asset(burst, store, access)
    assert receipt.verified == "size+structure"
    assert sum(request["status"] == 202 for request in box.requests()) >= 9


def test_another_burst_than_was_asked_for_is_refused(burst, store, access, impatient):
    """As long and as well formed as the right one: only its name gives it away."""
    other = replace(burst.sources[0], named=burst.name.replace("IW1", "IW3").replace("IW2", "IW3"))
    with pytest.raises(errors.Interrupted, match="instead"):
        fetch_asset(replace(burst, sources=(other,)), store, access)
    assert not store.path(burst).exists()
    assert burst.sources[0].named == burst.name
