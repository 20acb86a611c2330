"""Layouts: where other tools look, and that nothing of anybody's is overwritten."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import replace

import pytest

from skystage import layouts, planning, query
from skystage.archives import asf
from skystage.errors import PlanError, QueryError, StoreError
from skystage.model import Asset, Companion, Granule, from_iso

EOF = "S1A_OPER_AUX_POEORB_OPOD_20210307T053325_V20180419T225942_20180421T005942.EOF"
ORBIT = Asset(key="orbit", path=f"orbits/AUX_POEORB/{EOF[:-4]}/{EOF}")
TILE = Companion(id="dem", assets=(Asset(key="dem", path="dem/glo_30/N34/N34.tif"),))
SCENE = Granule(
    archive="asf",
    collection="C",
    id="S1A_X",
    native_id="S1A_X",
    start=from_iso("2018-04-20T02:00:00"),
    stack="p35_f122",
    properties={"platform": "Sentinel-1A"},
    assets=(Asset(key="data", path="asf/C/S1A_X/S1A_X.zip"), ORBIT),
)
BURST = replace(
    SCENE,
    id="S1_1_IW3",
    properties={"burst": {"fullBurstID": "174_372326_IW3"}, "polarization": "VV"},
    assets=(Asset(key="data", path="asf/B/b/b.tiff"), Asset(key="metadata", path="asf/B/b/b.xml"), ORBIT),
)


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("store", ["asf/C/S1A_X/S1A_X.zip", ORBIT.path, "dem/glo_30/N34/N34.tif"]),
        ("flat", ["S1A_X.zip", EOF, "N34.tif"]),
        (
            "mastDownload",
            [
                "mastDownload/C/S1A_X/S1A_X.zip",
                f"mastDownload/AUX_POEORB/{EOF[:-4]}/{EOF}",
                "mastDownload/glo_30/N34/N34.tif",
            ],
        ),
        ("stack", ["p35_f122/S1A_X.zip", f"p35_f122/{EOF}", "dem/N34.tif"]),
        ("isce2", ["SLC/S1A_X.zip", f"orbits/{EOF}", "DEM/N34.tif"]),
        ("s1reader", ["SLC/S1A_X.zip", f"orbits/{EOF}", "DEM/N34.tif"]),
        ("gamma", ["SLC/S1A_X.zip", f"orbits/POEORB/S1A/2018/04/{EOF}", "DEM/N34.tif"]),
    ],
)
def test_each_layout_has_its_folders(name, paths):
    assert list(layouts.arrange(layouts.get(name), [SCENE], [TILE])) == paths


def test_bursts_lie_by_burst_date_and_polarization():
    folder = "174_372326_IW3/20180420/VV"
    paths = [f"{folder}/b.tiff", f"{folder}/b.xml", f"orbits/{EOF}", "DEM/N34.tif"]
    assert list(layouts.arrange(layouts.get("burst"), [BURST], [TILE])) == paths
    opera = {"operaBurstID": "T174-372326-IW3", "polarization": ["VV", "VH"]}
    (first, *_) = layouts.arrange(layouts.get("burst"), [replace(BURST, properties=opera)])
    assert first == "T174-372326-IW3/20180420/VV+VH/b.tiff"


def test_recorded_bursts_lie_where_their_ids_say(recordings):
    from asf_search import ASFSession
    from asf_search.search.search_generator import as_ASFProduct

    path = recordings / "earth" / "cmr" / "s1_burst_372326_IW3_166.umm.json.gz"
    items = json.loads(gzip.decompress(path.read_bytes()))["items"]
    session = ASFSession()
    granules = [asf.granule(as_ASFProduct(item, session=session)) for item in items]
    found = layouts.arrange(layouts.get("burst"), granules)
    assert len(found) == 2 * len(granules)  # the image and its metadata
    assert {path.partition("/")[0] for path in found} == {"174_372326_IW3"}
    dates = {path.split("/")[1] for path in found}
    assert len(dates) == len({granule.start.date() for granule in granules})


@pytest.mark.parametrize(
    ("name", "granule", "lacking"),
    [
        ("burst", SCENE, "burst"),
        ("burst", replace(BURST, start=None), "date"),
        ("burst", replace(BURST, properties={"operaBurstID": "T1"}), "polarization"),
        ("stack", replace(SCENE, stack=""), "stack"),
    ],
)
def test_a_granule_that_lacks_what_a_layout_sorts_by_is_named(name, granule, lacking):
    with pytest.raises(PlanError, match=f"{granule.id}: has no {lacking} for the layout"):
        layouts.arrange(layouts.get(name), [granule])


def test_an_asset_that_granules_share_goes_to_all_their_folders_and_once_to_each():
    other = replace(SCENE, stack="p35_f127", assets=(ORBIT,))
    found = layouts.arrange(layouts.get("stack"), [SCENE, other, replace(other, id="third")])
    assert [path for path, asset in found.items() if asset == ORBIT] == [
        f"p35_f122/{EOF}",
        f"p35_f127/{EOF}",
    ]


def test_two_assets_of_one_path_are_refused():
    other = replace(SCENE, id="other", assets=(Asset(key="data", path="asf/D/other/S1A_X.zip"),))
    with pytest.raises(PlanError, match="asf/C/S1A_X/S1A_X.zip and asf/D/other/S1A_X.zip would both be"):
        layouts.arrange(layouts.get("flat"), [SCENE, other])
    assert layouts.arrange(layouts.get("flat"), [SCENE, other], keys=["orbit"])


def test_an_orbit_of_another_name_lies_with_the_others():
    odd = replace(SCENE, assets=(Asset(key="orbit", path="orbits/x/readme.txt"),))
    assert list(layouts.arrange(layouts.get("gamma"), [odd])) == ["orbits/readme.txt"]


def test_an_unknown_layout_is_one_line_with_the_nearest():
    with pytest.raises(QueryError, match="--layout: got 'ISCE'.*did you mean 'isce2'"):
        layouts.get("ISCE")
    with pytest.raises(QueryError, match="--layout: got 'mastdownload'.*did you mean 'mastDownload'"):
        layouts.get("mastdownload")
    with pytest.raises(QueryError, match="allowed: store, flat"):
        layouts.get("zzz")


# --------------------------------------------------------------------------------------------------
# Linking


def test_a_file_of_other_content_is_left_as_it_is(store, staged, tmp_path):
    asset = Asset(key="data", path="asf/C/g/f.bin", size=5)
    staged(store, asset)
    target = tmp_path / "into" / "SLC" / "f.bin"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"other")
    with pytest.raises(StoreError, match="another file has that name"):
        store.link(asset, tmp_path / "into", name="SLC/f.bin")
    assert target.read_bytes() == b"other"
    target.write_bytes(b"bytes")  # a copy of what is staged
    before = target.stat()
    assert store.link(asset, tmp_path / "into", name="SLC/f.bin") == target
    assert target.stat().st_ino == before.st_ino


def test_a_link_to_nothing_is_replaced_and_a_folder_is_not(store, staged, tmp_path):
    asset = Asset(key="data", path="asf/C/g/f.bin", size=5)
    staged(store, asset)
    target = tmp_path / "f.bin"
    target.symlink_to("nowhere")
    assert store.link(asset, tmp_path, name="f.bin").read_bytes() == b"bytes"
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="another file has that name"):
        store.link(asset, tmp_path, name="folder")


def test_a_link_of_the_other_kind_takes_the_place_of_ours(store, staged, tmp_path):
    asset = Asset(key="data", path="asf/C/g/f.bin", size=5)
    staged(store, asset)
    for symbolic in (False, True, False):
        target = store.link(asset, tmp_path / "into", symbolic=symbolic, name="f.bin")
        assert target.is_symlink() == symbolic
        assert target.read_bytes() == b"bytes"


@pytest.mark.parametrize("name", ["../f.bin", "/f.bin", "a//b", ""])
def test_a_layout_leads_nowhere_outside_its_folder(store, staged, tmp_path, name):
    asset = Asset(key="data", path="asf/C/g/f.bin", size=5)
    staged(store, asset)
    with pytest.raises(PlanError, match="no path inside"):
        store.link(asset, tmp_path / "into", name=name)


# --------------------------------------------------------------------------------------------------
# What the tools themselves find


def test_fetch_links_a_plan_in_a_layout_and_a_second_run_makes_nothing_new(box, access, tmp_path, capsys):
    from skystage import cli

    asked = {"archive": "asf", "relative_orbit": 35, "processing_level": "SLC", "with": {"orbits": True}}
    made = planning.build(query.parse(asked), tmp_path / "plan", access)
    store, into = tmp_path / "store", tmp_path / "into"
    command = ["fetch", tmp_path / "plan", "--store", store, "--into", into, "--layout", "stack"]

    def run(*more: str) -> int:
        return cli.run([str(word) for word in (*command, *more)])

    assert run("--batch", "1/3") == 0
    assert run() == 0
    files = {path: path.stat().st_ctime_ns for path in into.rglob("*") if path.is_file()}
    names = {str(path.relative_to(into)) for path in files}
    for granule in made.granules():
        assert {f"{granule.stack}/{asset.name}" for asset in granule.assets} <= names
    assert run("--offline") == 0
    assert {path: path.stat().st_ctime_ns for path in into.rglob("*") if path.is_file()} == files
    taken, gone, *_ = sorted(files)
    size, times = taken.stat().st_size, taken.stat()
    taken.unlink()
    gone.unlink()
    # As long and as old as the staged one: only its bytes are others.
    taken.write_bytes(bytes(size))
    os.utime(taken, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert run() == 4
    assert "another file has that name" in capsys.readouterr().err
    assert taken.read_bytes() == bytes(size)
    assert gone.exists()


def test_a_path_that_leads_out_of_the_folder_is_refused():
    away = Asset(key="data", path="asf/C/g/y.tif", size=1)
    granule = Granule(
        archive="asf",
        collection="C",
        id="g",
        native_id="g",
        assets=(away,),
        start=from_iso("2015-03-25"),
        properties={"polarization": "VV", "burst": {"fullBurstID": "../../etc"}},
    )
    with pytest.raises(PlanError, match="no path inside"):
        layouts.arrange(layouts.get("burst"), [granule])


def test_a_layout_that_cannot_be_is_refused_before_anything_is_fetched(box, access, tmp_path, capsys):
    from skystage import cli

    asked = {"archive": "asf", "relative_orbit": 35, "processing_level": "SLC"}
    planning.build(query.parse(asked), tmp_path / "plan", access)
    box.clear()
    for words in (
        ["--into", "i", "--layout", "isce"],
        ["--layout", "flat"],
        ["--into", "i", "--layout", "burst"],
    ):
        command = ["fetch", tmp_path / "plan", "--store", tmp_path / "s", *words]
        assert cli.run([str(word) for word in command]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert box.requests() == []
    assert not os.path.lexists(tmp_path / "s")


@pytest.mark.parametrize(("name", "products", "orbits"), [
    ("flat", ".", "."),
    ("isce2", "SLC", "orbits"),
    ("s1reader", "SLC", "orbits"),
    ("stack", "p100_f466", "p100_f466"),
])  # fmt: skip
def test_sentineleof_finds_an_orbit_for_each_scene(box, access, tmp_path, name, products, orbits):
    """Its own search of a folder: nothing is left to download."""
    from eof.download import find_scenes_to_download

    from skystage import cli

    # Its last scene has only a restituted orbit.
    asked = {"archive": "asf", "relative_orbit": 100, "processing_level": "SLC", "with": {"orbits": True}}
    planning.build(query.parse({**asked, "filter": {"latest": 3}}), tmp_path / "plan", access)
    store, out = tmp_path / "store", tmp_path / "out"
    assert cli.run(["fetch", str(tmp_path / "plan"), "--store", str(store)]) == 0
    command = ["derive", "orbits", str(tmp_path / "plan"), "--store", str(store), "-o", str(out)]
    assert cli.run([*command, "--layout", name]) == 0
    assert len(list((out / products).glob("*.zip"))) == 3
    assert find_scenes_to_download(str(out / products), str(out / orbits)) == ([], [])
    for one in (out / orbits).glob("*RESORB*"):
        one.unlink()
    assert len(find_scenes_to_download(str(out / products), str(out / orbits))[0]) == 1


def test_s1reader_finds_the_orbit_of_each_scene(box, access, tmp_path):
    s1_orbit = pytest.importorskip("s1reader.s1_orbit")
    from skystage import cli

    asked = {"archive": "asf", "relative_orbit": 100, "processing_level": "SLC", "with": {"orbits": True}}
    planning.build(query.parse({**asked, "filter": {"latest": 3}}), tmp_path / "plan", access)
    store, out = tmp_path / "store", tmp_path / "out"
    assert cli.run(["fetch", str(tmp_path / "plan"), "--store", str(store)]) == 0
    command = ["derive", "orbits", str(tmp_path / "plan"), "--store", str(store), "-o", str(out)]
    assert cli.run([*command, "--layout", "s1reader"]) == 0
    for pair in json.loads((out / "orbits.json").read_text())["pairs"]:
        found = s1_orbit.get_orbit_file_from_dir(
            str(out / "SLC" / f"{pair['scene']}.zip"), str(out / "orbits")
        )
        assert os.path.relpath(found, out) == pair["path"]


def test_pyrosar_finds_the_orbit_of_each_scene(box, access, tmp_path):
    s1 = pytest.importorskip("pyroSAR.S1")
    from skystage import cli

    asked = {"archive": "asf", "relative_orbit": 100, "processing_level": "SLC", "with": {"orbits": True}}
    planning.build(query.parse({**asked, "filter": {"latest": 3}}), tmp_path / "plan", access)
    store, out = tmp_path / "store", tmp_path / "out"
    assert cli.run(["fetch", str(tmp_path / "plan"), "--store", str(store)]) == 0
    command = ["derive", "orbits", str(tmp_path / "plan"), "--store", str(store), "-o", str(out)]
    assert cli.run([*command, "--layout", "gamma"]) == 0
    with s1.OSV(str(out / "orbits")) as osv:
        for pair in json.loads((out / "orbits.json").read_text())["pairs"]:
            moment = f"{from_iso(pair['start']):%Y%m%dT%H%M%S}"
            found = osv.match(sensor=pair["platform"], timestamp=moment, osvtype=["POE", "RES"])
            assert os.path.relpath(found, out) == pair["path"]
