"""Products in a folder: what they say of themselves, and what becomes of those that cannot be read."""

from __future__ import annotations

import gzip
import shutil
import zipfile
from pathlib import Path

import pytest

from skystage import archives, planning, query
from skystage.errors import QueryError
from skystage.sandbox.payloads import product_zip

NAME = "S1A_IW_SLC__1SDV_20180108T020731_20180108T020758_020057_022345_1234"


def put(folder: Path, name: str = NAME, *, inside: str | None = None, old: str = "", new: str = "") -> Path:
    """Write a product, its manifest changed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.zip"
    made = folder / "made.zip"
    content = product_zip(f"{inside or name}.zip")
    made.write_bytes(content.read(0, content.size))
    with zipfile.ZipFile(made) as product, zipfile.ZipFile(path, "w") as changed:
        for member in product.namelist():
            text = product.read(member)
            if member.endswith("manifest.safe"):
                assert old.encode() in text
                text = text.replace(old.encode(), new.encode())
            changed.writestr(member, text)
    made.unlink()
    return path


def plan(tmp_path, folder, **changes):
    asked = {"archive": "safe", "folder": str(folder), **changes}
    return planning.build(query.parse(asked), tmp_path / "plan", None)


def one(tmp_path, folder, **changes):
    (found,) = plan(tmp_path, folder, **changes).granules()
    return found


def refused(tmp_path, folder) -> str:
    (missing,) = one(tmp_path, folder).unresolved
    assert missing.key == "data"
    return missing.reason


def test_a_product_says_what_it_is_zipped_or_unpacked(tmp_path):
    path = put(tmp_path / "slc")
    zipped = one(tmp_path, tmp_path / "slc")
    assert zipped.id == NAME
    assert zipped.collection == "SENTINEL-1A_SLC"
    assert zipped.start.isoformat() == "2018-01-08T02:07:31.250000+00:00"
    assert zipped.stack == "p35"
    assert zipped.properties == {
        "platform": "Sentinel-1A",
        "beamMode": "IW",
        "processingLevel": "SLC",
        "polarization": "VV+VH",
        "orbit": 20057,
        "pathNumber": 35,
        "flightDirection": "ASCENDING",
        "fileName": f"{NAME}.zip",
    }
    ring = zipped.geometry["coordinates"][0]
    assert ring[0] == ring[-1] == [-124.010794, 37.574094]
    with zipfile.ZipFile(path) as product:
        product.extractall(tmp_path / "slc")
    path.unlink()
    unpacked = one(tmp_path, tmp_path / "slc")
    assert (unpacked.start, unpacked.geometry) == (zipped.start, zipped.geometry)
    assert unpacked.properties["fileName"] == f"{NAME}.SAFE"


def test_a_product_that_lies_there_twice_is_one_and_the_one_that_can_be_read(tmp_path):
    path = put(tmp_path / "slc")
    (tmp_path / "slc" / f"{NAME}.SAFE").mkdir()
    found = one(tmp_path, tmp_path / "slc")
    assert (found.unresolved, found.properties["fileName"]) == ((), path.name)


def test_folders_below_are_looked_into_when_asked(tmp_path):
    put(tmp_path / "slc" / "p35")
    assert not list(plan(tmp_path, tmp_path / "slc").granules())
    assert one(tmp_path, tmp_path / "slc", recursive=True).properties["fileName"] == f"p35/{NAME}.zip"


def test_across_the_antimeridian_a_footprint_has_two_parts(tmp_path):
    name = "S1A_IW_SLC__1SDV_20200602T172600_20200602T172627_032840_0403A0_ABCD"
    put(
        tmp_path / "slc",
        name,
        old="<gml:coordinates>",
        new="<gml:coordinates>-15,179 -15,-179 -17,-179 -17,179</gml:coordinates><gml:coordinates>",
    )
    found = one(tmp_path, tmp_path / "slc")
    assert found.geometry["type"] == "MultiPolygon"


@pytest.mark.parametrize("mission", ["S1A", "S1B", "S1C", "S1D"])
def test_all_four_satellites_are_known(tmp_path, mission):
    platform = f"<safe:number>{mission[2]}</safe:number>"
    name = NAME.replace("S1A", mission)
    put(tmp_path / "slc", inside=NAME, old="<safe:number>A</safe:number>", new=platform)
    path = tmp_path / "slc" / f"{NAME}.zip"
    folder = tmp_path / mission
    with zipfile.ZipFile(path) as product:
        product.extractall(folder)
    (folder / f"{NAME}.SAFE").rename(folder / f"{name}.SAFE")
    found = one(tmp_path, folder)
    assert (found.unresolved, found.properties["platform"]) == ((), f"Sentinel-1{mission[2]}")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            ">A</safe:number>",
            ">B</safe:number>",
            "platform: the name says Sentinel-1A, its manifest Sentinel-1B",
        ),
        ("VH</s1:transmitter", "HH</s1:transmitter", "polarization: the name says VV+VH"),
        (">20057<", ">20058<", "orbit: the name says 20057"),
        ("2018-01-08T02:07:31", "2018-01-08T02:09:31", "its manifest is of 2018-01-08T02:09:31Z"),
        ("<safe:startTime>2018", "<safe:startTime>x", "not a Sentinel-1 product's"),
        ("s1:pass>", "s1:past>", "no orbitProperties/pass"),
        ("37.574094,", "37.574094;", "not a Sentinel-1 product's"),
        ("gml:coordinates", "gml:other", "no footPrint"),
        ("</xfdu:XFDU>", "", "its manifest is broken XML"),
    ],
)
def test_a_manifest_that_does_not_agree_with_the_name_is_named(tmp_path, old, new, said):
    put(tmp_path / "slc", old=old, new=new)
    reason = refused(tmp_path, tmp_path / "slc")
    assert said in reason
    assert reason.startswith(f"{NAME}.zip: ")


def test_a_zip_of_another_product_is_named(tmp_path):
    put(tmp_path / "slc", inside=NAME.replace("1234", "9999"))
    assert "has no member" in refused(tmp_path, tmp_path / "slc")


def test_a_broken_zip_is_a_granule_with_its_reason_and_the_others_are_whole(tmp_path):
    whole = put(tmp_path / "slc")
    cut = tmp_path / "slc" / whole.name.replace("1234", "9999").replace("020731", "020732")
    cut.write_bytes(whole.read_bytes()[:-100])
    (tmp_path / "slc" / f"{NAME[:-1]}5.SAFE").mkdir()
    (tmp_path / "slc" / "S1A_notes.zip").write_text("")
    found = {granule.id: granule for granule in plan(tmp_path, tmp_path / "slc").granules()}
    assert set(found) == {NAME, cut.stem, f"{NAME[:-1]}5"}
    assert not found[NAME].unresolved
    broken = found[cut.stem]
    assert "not a whole zip" in broken.unresolved[0].reason
    assert (broken.properties["platform"], broken.geometry) == ("Sentinel-1A", None)
    assert "manifest: No such file" in found[f"{NAME[:-1]}5"].unresolved[0].reason


def test_damage_in_the_one_member_that_is_read_is_found(tmp_path):
    path = put(tmp_path / "slc")
    content = bytearray(path.read_bytes())
    at = content.index(b"SENTINEL-1")
    content[at] ^= 1
    path.write_bytes(content)
    assert "not a whole zip" in refused(tmp_path, tmp_path / "slc")


def test_of_two_processings_of_one_sensing_the_newest_is_kept(tmp_path):
    processing = (
        '<metadataObject ID="processing"><safe:processing stop="2018-0{}-09T00:00:00"/></metadataObject>'
    )
    for month, name in ((3, NAME), (2, f"{NAME[:-4]}ABCD")):
        put(
            tmp_path / "slc",
            name,
            old="<metadataSection>",
            new=f"<metadataSection>{processing.format(month)}",
        )
    made = plan(tmp_path, tmp_path / "slc")
    assert [granule.id for granule in made.granules()] == [NAME]
    assert [(drop.id, drop.reason) for drop in made.dropped()] == [(f"{NAME[:-4]}ABCD", "superseded")]


def test_dates_areas_and_filters_hold(tmp_path):
    put(tmp_path / "slc")
    folder = tmp_path / "slc"
    assert one(tmp_path, folder, start="2018-01-08", end="2018-01-08", area=[-125, 37, -120, 40])
    assert one(tmp_path, folder, filter={"relative_orbit": 35, "polarization": {"contains": ["VH"]}})
    for nothing in ({"start": "2018-01-09"}, {"area": [0, 0, 1, 1]}, {"filter": {"relative_orbit": 36}}):
        assert not list(plan(tmp_path, folder, **nothing).granules())


def test_a_folder_that_is_not_there_and_wrong_keys_are_one_line(tmp_path):
    with pytest.raises(QueryError, match="is no folder"):
        plan(tmp_path, tmp_path / "none")
    with pytest.raises(QueryError, match="folder: "):
        query.parse({"archive": "safe"})
    with pytest.raises(QueryError, match="did you mean 'recursive'"):
        query.parse({"archive": "safe", "folder": "x", "recursiv": True})
    with pytest.raises(QueryError, match="assets: got 'data'"):
        query.parse({"archive": "safe", "folder": "x", "assets": "data"})


def test_the_archive_keeps_nothing_on_tape(tmp_path):
    put(tmp_path / "slc")
    assert not archives.get("safe").offline(one(tmp_path, tmp_path / "slc"))


def test_the_recorded_product_and_manifest_are_read(recordings, tmp_path):
    """Two real products: a zip whose images were left out, and a manifest."""
    safe = recordings / "earth" / "safe"
    folder = tmp_path / "slc"
    folder.mkdir()
    for path in (safe / "s1_slc_zip").iterdir():
        shutil.copy(path, folder)
    name = "S1A_IW_SLC__1SDV_20200604T022251_20200604T022318_032861_03CE65_7C85"
    (folder / f"{name}.SAFE").mkdir()
    manifest = gzip.decompress((safe / "s1_manifest" / "burst2safe_manifest_7C85.safe.gz").read_bytes())
    (folder / f"{name}.SAFE" / "manifest.safe").write_bytes(manifest)
    found = {granule.id[-4:]: granule for granule in plan(tmp_path, folder).granules()}
    assert set(found) == {"6681", "7C85"}
    for granule in found.values():
        assert granule.unresolved == ()
        assert granule.stack == "p64"
        assert granule.properties["polarization"] == "VV+VH"
    assert found["6681"].properties["flightDirection"] == "ASCENDING"
    assert found["7C85"].properties["processedAt"] == "2020-06-04T06:26:49.000000"
    assert found["7C85"].geometry["coordinates"][0][0] == [54.890476, 27.188002]
