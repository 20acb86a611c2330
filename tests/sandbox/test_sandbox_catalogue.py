from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from skystage.errors import SkystageError
from skystage.sandbox import builtin
from skystage.sandbox.catalogue import Catalogue, load
from skystage.sandbox.orbits import make_name, parse_name, write_eof
from skystage.sandbox.payloads import payload, product_size, product_zip


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return builtin.build()


@pytest.mark.parametrize("size", [16_384, 48_000, 3_000_000])
def test_a_payload_is_a_whole_zip_of_the_size_that_its_name_says(scene: str, size: int) -> None:
    name = f"{scene}.zip"
    content = product_zip(name, size)
    data = content.read(0, content.size)
    assert len(data) == content.size == product_size(name, size)
    assert hashlib.md5(data).hexdigest() == content.md5  # noqa: S324 - as ASF gives it
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names[0] == f"{scene}.SAFE/manifest.safe"
        manifest = ET.fromstring(archive.read(names[0]))  # noqa: S314 - the sandbox's own
        for stream in manifest.iter("byteStream"):
            location = stream.find("fileLocation")
            assert location is not None
            member = archive.read(f"{scene}.SAFE" + location.attrib["href"].removeprefix("."))
            assert stream.attrib["size"] == str(len(member))
            assert stream.findtext("checksum") == hashlib.md5(member).hexdigest()  # noqa: S324
        annotation = ET.fromstring(archive.read(names[1]))  # noqa: S314
        assert annotation.findtext("adsHeader/absoluteOrbitNumber") == "30622"
        assert archive.read(names[2])[:4] == b"II*\0"


def test_payloads_are_the_same_each_time_and_differ_by_name(scene: str) -> None:
    assert product_zip(f"{scene}.zip").md5 == product_zip(f"{scene}.zip").md5
    assert product_zip(f"{scene}.zip").md5 != product_zip(f"{scene[:-1]}0.zip").md5


def test_the_measurement_opens_as_an_image(scene: str, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    content = payload("x.tiff")
    assert content is not None
    path = tmp_path / "x.tiff"
    path.write_bytes(content.read(0, content.size))
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        image = rasterio.open(path)
    with image:
        assert image.dtypes == ("complex_int16",)
        assert image.read(1).shape == (image.height, 64)


def test_an_orbit_file_covers_its_validity_with_states_on_the_orbit() -> None:
    start = datetime(2020, 1, 1, 22, 59, 42, tzinfo=UTC)
    name = make_name("S1A", "AUX_POEORB", start + timedelta(days=21), start, start + timedelta(hours=26))
    assert parse_name(name.key) == name
    root = ET.fromstring(write_eof(name))  # noqa: S314 - the sandbox's own
    vectors = root.findall(".//OSV")
    listed = root.find(".//List_of_OSVs")
    assert listed is not None
    assert listed.attrib["count"] == str(len(vectors)) == "1561"
    assert vectors[0].findtext("UTC") == "UTC=2020-01-01T22:59:42.000000"
    assert vectors[0].findtext("TAI") == "TAI=2020-01-01T23:00:19.000000"
    assert vectors[-1].findtext("UTC") == "UTC=2020-01-03T00:59:42.000000"
    for vector in vectors[::100]:
        x, y, z = (float(vector.findtext(axis) or "nan") for axis in "XYZ")
        assert (x * x + y * y + z * z) ** 0.5 == pytest.approx(7_070_480, abs=1)


def test_state_vectors_move_as_their_velocities_say() -> None:
    start = datetime(2020, 1, 1, 12, tzinfo=UTC)
    name = make_name("S1B", "AUX_RESORB", start, start, start + timedelta(seconds=20))
    root = ET.fromstring(write_eof(name, step=10))  # noqa: S314 - the sandbox's own
    before, at, after = root.findall(".//OSV")
    for axis in "XYZ":
        moved = float(after.findtext(axis) or "nan") - float(before.findtext(axis) or "nan")
        assert float(at.findtext(f"V{axis}") or "nan") == pytest.approx(moved / 20, abs=1)


@pytest.mark.parametrize(
    "name", ["x.EOF", "S1A_OPER_AUX_PREORB_OPOD_20200101T000000_V20200101T000000_20200101T000000.EOF"]
)
def test_other_names_are_no_orbit_files(name: str) -> None:
    assert parse_name(name) is None


def test_scenes_have_the_orbits_that_they_should(catalogue: Catalogue) -> None:
    missing = {"AUX_POEORB": [], "AUX_RESORB": []}  # type: dict[str, list[str]]
    for granule in catalogue.granules:
        if not granule.granule_ur.endswith("-SLC"):
            continue
        for kind, names in missing.items():
            if not any(
                orbit.name.kind == kind
                and orbit.name.mission == granule.granule_ur[:3]
                and orbit.name.start < granule.start - timedelta(minutes=1)
                and granule.end + timedelta(minutes=1) < orbit.name.stop
                for orbit in catalogue.orbits.values()
            ):
                names.append(granule.granule_ur[17:25])
    assert missing == {"AUX_POEORB": ["20201227", "20200604"], "AUX_RESORB": ["20200604"]}


def test_names_orbits_and_paths_agree(catalogue: Catalogue) -> None:
    scenes = [granule for granule in catalogue.granules if granule.granule_ur.startswith(("S1A", "S1B"))]
    assert len(scenes) == 56
    for granule in scenes:
        first = {"S1A": 73, "S1B": 27}[granule.granule_ur[:3]]
        (orbit,) = granule.orbits
        assert granule.granule_ur[49:55] == f"{orbit:06d}"
        assert granule.attributes["PATH_NUMBER"] == [str((orbit - first) % 175 + 1)]


def test_a_burst_has_one_id_in_every_pass(catalogue: Catalogue) -> None:
    bursts = [granule for granule in catalogue.granules if granule.short_name == "SENTINEL-1_BURSTS"]
    ids = {tuple(granule.attributes["BURST_ID_FULL"]) for granule in bursts}
    assert ids == {("100_213494_IW2",)}
    cycles = {(granule.orbits[0], granule.attributes["BURST_ID_ABSOLUTE"][0]) for granule in bursts}
    absolute = [int(number) for _, number in sorted(cycles)]
    assert {later - earlier for earlier, later in itertools.pairwise(absolute)} == {375_887}
    contents = [content.md5 for granule in bursts for content in granule.files.values()]
    assert len(set(contents)) == len(contents)


def test_sizes_and_checksums_of_single_files_are_those_of_the_stand_ins(catalogue: Catalogue) -> None:
    (opera,) = (granule for granule in catalogue.granules if granule.short_name.startswith("OPERA"))
    listed = json.loads(opera.json)["umm"]["DataGranule"]["ArchiveAndDistributionInformation"]
    assert {item["Name"]: (item["SizeInBytes"], item["Checksum"]["Value"]) for item in listed} == {
        name: (content.size, content.md5) for name, content in opera.files.items()
    }


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SkystageError, match="no recordings"):
        load(tmp_path)


def test_a_recording_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "cmr").mkdir()
    (tmp_path / "cmr" / "x.umm.json.gz").write_bytes(b"no gzip")
    with pytest.raises(SkystageError, match="cannot read the recordings"):
        load(tmp_path)


def test_recordings_keep_all_but_sizes_and_checksums(tmp_path: Path, catalogue: Catalogue) -> None:
    record = catalogue.granules[0].record
    (tmp_path / "cmr").mkdir()
    with gzip.open(tmp_path / "cmr" / "some.umm.json.gz", "wt") as file:
        json.dump({"hits": 1, "took": 1, "items": [record, record]}, file)
    (granule,) = load(tmp_path).granules
    served = json.loads(granule.json)
    assert served["meta"] == record["meta"]
    changed = [
        new["Name"]
        for old, new in zip(
            record["umm"]["AdditionalAttributes"], served["umm"]["AdditionalAttributes"], strict=True
        )
        if old != new
    ]
    assert changed == ["BYTES", "MD5SUM"]


def test_real_recordings_load_and_real_orbits_are_served_as_they_are(recordings: Path) -> None:
    catalogue = load(recordings)
    assert len(catalogue.granules) > 500
    assert len(catalogue.orbits) > 8000
    path = next((recordings / "earth" / "orbits").glob("S1A*POEORB*.EOF.gz"))
    orbit = catalogue.orbits[f"AUX_POEORB/{path.name.removesuffix('.gz')}"]
    real = gzip.decompress(path.read_bytes())
    assert orbit.content.size == len(real)
    assert orbit.listing is not None
    assert orbit.content.md5 in orbit.listing
    assert orbit.product is not None
    assert orbit.content.md5 == orbit.product["Checksum"][0]["Value"]
