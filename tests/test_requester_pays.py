"""Who reads a bucket whose readers pay has said yes before, and knows for how much."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from skystage import cli
from skystage.plan import Plan
from skystage.sandbox.accounts import AWS_KEY, AWS_SECRET
from skystage.sandbox.buckets import Bucket
from skystage.sandbox.files import Made

PIXELS = bytes(range(256)) * 40
SIZE = len(PIXELS)


def content(name: str) -> Made:
    return Made(name, "application/octet-stream", datetime(2020, 1, 1, tzinfo=UTC), lambda: PIXELS)


@pytest.fixture
def box(open_box, monkeypatch):
    files = {"a b.bin": content("a b.bin"), "free.bin": content("free.bin")}
    found = open_box(
        Bucket("dear-data", "us-west-2", files, requester_pays=True),
        Bucket("dear.dotted", "eu-west-1", files, requester_pays=True),
        Bucket("open.data", "eu-west-1", files),
    )
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", AWS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", AWS_SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return found


PAID = {"storage:requester_pays": True, "file:size": SIZE}
ASSETS = {
    "by_https": {"href": "https://dear-data.s3-us-west-2.amazonaws.com/a%20b.bin", **PAID},
    "by_s3": {"href": "s3://dear-data/a b.bin", **PAID},
    "unsized": {
        "href": "https://dear-data.s3.us-west-2.amazonaws.com/a%20b.bin",
        "storage:requester_pays": True,
    },
    "dotted": {"href": "s3://dear.dotted/a b.bin", **PAID},
    "free": {"href": "s3://open.data/free.bin", "file:size": SIZE},
    "mirrored": {
        "href": "s3://dear-data/free.bin",
        "alternate": {"https": {"href": "https://data.example.org/free.bin"}},
        **PAID,
    },
}


@pytest.fixture
def plan(tmp_path, capsys):
    """Plan one item's files; the exit code and what is said."""
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "i",
        "collection": "c",
        "geometry": None,
        "properties": {"datetime": "2020-01-01T00:00:00Z"},
        "links": [],
        "assets": ASSETS,
    }
    (tmp_path / "item.json").write_text(json.dumps(item))

    def make(*keys: str, **more: object) -> tuple[dict, str]:
        query = {"archive": "stac", "url": str(tmp_path / "item.json"), "assets": list(keys), **more}
        (tmp_path / "query.json").write_text(json.dumps(query))
        command = ["plan", str(tmp_path / "query.json"), "-o", str(tmp_path / "plan"), "--json"]
        assert cli.run(command) == 0
        said = capsys.readouterr()
        return json.loads(said.out), said.err

    return make


def fetch(tmp_path) -> int:
    return cli.run(["fetch", str(tmp_path / "plan"), "--store", str(tmp_path / "store")])


def test_without_a_yes_nothing_is_asked_for_that_costs(box, plan, tmp_path, capsys):
    found, said = plan("by_s3", "free")
    assert (found["assets"], found["unresolved"], found["paid"], found["paid_bytes"]) == (1, 1, 0, 0)
    assert "i: by_s3: only where the requester pays: `requester_pays: true` agrees to it" in said
    box.clear()
    assert fetch(tmp_path) == 4
    assert "i: by_s3: only where the requester pays" in capsys.readouterr().err
    assert {request["path"] for request in box.requests()} == {"/open.data/free.bin"}
    assert all("authorization" not in request["headers"] for request in box.requests())


def test_what_will_be_paid_is_counted_before_and_then_had(box, plan, tmp_path, capsys):
    found, said = plan("by_https", "by_s3", "dotted", "free", requester_pays=True)
    assert (found["assets"], found["unresolved"]) == (4, 0)
    assert (found["paid"], found["paid_bytes"], found["bytes"]) == (3, 3 * SIZE, 4 * SIZE)
    assert "paid           3 assets, 30.7 kB: the requester pays for them" in said
    assert cli.run(["summary", str(tmp_path / "plan"), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["stacks"][0]["paid_bytes"] == 3 * SIZE
    assert cli.run(["summary", str(tmp_path / "plan")]) == 0
    assert "the requester pays for 30.7 kB of it" in capsys.readouterr().err
    box.clear()
    assert fetch(tmp_path) == 0, capsys.readouterr().err
    files = [path for path in (tmp_path / "store" / "stac").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in files] == [PIXELS] * 4
    for request in box.requests():
        paid = "dear" in request["host"] + request["path"]
        assert ("x-amz-request-payer" in request["headers"]) == paid
        assert ("authorization" in request["headers"]) == paid
    # Its address names the region: nothing is asked twice.
    assert len([one for one in box.requests() if one["host"].endswith(".s3-us-west-2.amazonaws.com")]) == 1


def test_what_is_paid_for_is_said_where_nobody_knows_how_much(box, plan, tmp_path, capsys):
    found, said = plan("by_s3", "unsized", requester_pays=True)
    assert (found["paid"], found["paid_bytes"], found["paid_unsized"]) == (2, SIZE, 1)
    assert "paid           2 assets, 10.2 kB and 1 of unknown size: the requester pays for them" in said
    assert cli.run(["summary", str(tmp_path / "plan")]) == 0
    assert "the requester pays for 10.2 kB and 1 of unknown size of it" in capsys.readouterr().err
    assert cli.run(["summary", str(tmp_path / "plan"), "--json"]) == 0
    (stack,) = json.loads(capsys.readouterr().out)["stacks"]
    assert (stack["paid_bytes"], stack["paid_unsized"]) == (SIZE, 1)


def test_what_is_free_somewhere_is_never_paid_for(box, plan, tmp_path):
    found, _ = plan("mirrored", requester_pays=True)
    assert (found["assets"], found["paid"]) == (1, 0)
    (asset,) = Plan(tmp_path / "plan").assets()
    assert [source.href for source in asset.sources] == ["https://data.example.org/free.bin"]


@pytest.mark.parametrize("agreed", [False, True])
def test_only_what_is_selected_can_lack(box, plan, agreed):
    found, _ = plan(*ASSETS, select={"name": "*free.bin"}, requester_pays=agreed)
    assert (found["assets"], found["unresolved"], found["paid"]) == (2, 0, 0)


def test_without_keys_nothing_is_asked_for(box, plan, tmp_path, monkeypatch, capsys):
    plan("by_s3", requester_pays=True)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("HOME", str(tmp_path))
    box.clear()
    assert fetch(tmp_path) == 5
    assert "S3: no AWS credentials" in capsys.readouterr().err
    assert box.requests() == []


def test_a_label_that_costs_is_not_read_without_a_yes(box, plan):
    labels = {"asset": "by_s3", "values": {"angle": "Caminfo.Geometry.IncidenceAngle"}}
    box.clear()
    found, said = plan("free", labels=labels)
    assert box.requests() == []
    assert (found["assets"], found["unresolved"]) == (1, 1)
    assert "i: by_s3: only where the requester pays" in said
    # Wanted itself, it is lacking once.
    found, said = plan("by_s3", labels=labels)
    assert (found["assets"], found["unresolved"]) == (0, 1)
    # What a filter wants to know of it is not known: nothing of the granule is planned.
    found, said = plan("free", labels=labels, filter={"angle": {"max": 45}})
    assert (found["assets"], found["unresolved"]) == (0, 1)
    assert box.requests() == []


def test_a_query_that_agrees_is_another_one(plan, tmp_path):
    from skystage import query
    from skystage.errors import QueryError

    asked = {"archive": "stac", "url": "x", "assets": "k"}
    assert query.parse(asked).digest == query.parse({**asked, "requester_pays": False}).digest
    agreed = query.parse({**asked, "requester_pays": True})
    assert agreed.digest != query.parse(asked).digest
    assert query.parse(agreed.to_json()) == agreed
    with pytest.raises(QueryError, match="requester_pays: got 'yes'"):
        query.parse({**asked, "requester_pays": "yes"})
