"""The generated Sentinel-2 products: layouts, metadata and pixels."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zipfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from rasterio.io import MemoryFile

from skystage.sandbox import sentinel2
from skystage.sandbox.optical import scenes
from skystage.sandbox.sentinel2 import Scene
from skystage.sandbox.sentinel2_images import NODATA, OFFSET, Grid, cloud_share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skystage.sandbox.files import Content

NEW = "S2A_MSIL2A_20180620T105031_N0500_R051_T31UFS_20230819T033500"
OLD = "S2A_MSIL2A_20180620T105031_N0208_R051_T31UFS_20180620T142531"


def scene(name: str = NEW, cloud_cover: float = 20.0, **more: Any) -> Scene:
    return Scene(name, cloud_cover, 15635, pixels=60, **more)


def one(made: Scene, end: str) -> Content:
    (found,) = (content for path, content in sentinel2.files(made).items() if path.endswith(end))
    return found


def data(content: Content) -> bytes:
    return content.read(0, content.size)


def opened(content: Content) -> tuple[NDArray[Any], dict[str, Any]]:
    with MemoryFile(data(content)) as memory, memory.open() as file:
        return file.read(), dict(file.profile)


def listed(manifest: bytes) -> dict[str, tuple[str, str, int]]:
    """Path, digest's name, digest and size of what a manifest lists."""
    found = {}
    for item in ET.fromstring(manifest).iter("byteStream"):  # noqa: S314 - the sandbox's own
        place, checksum = item.find("fileLocation"), item.find("checksum")
        assert place is not None
        assert checksum is not None
        found[place.attrib["href"]] = (
            checksum.attrib["checksumName"],
            checksum.text or "",
            int(item.attrib["size"]),
        )
    return found


def neutral(href: str) -> str:
    """A path in a product, without dates, orbits, tiles, and where the processor worked."""
    href = re.sub(r"^(?:\./|/.*?/(?=GRANULE/|DATASTRIP/|HTML/))", "", href)
    href = re.sub(r"DS_\w{4}_\d{8}T\d{6}_S\d{8}T\d{6}", "DS", href)
    return re.sub(r"T\d\d[A-Z]{3}|A\d{6}|\d{8}T\d{6}", "#", href)


@pytest.mark.parametrize(
    ("tile", "grid"),
    [
        ("31UFS", Grid(32631, 600_000, 5_700_000)),
        ("31UES", Grid(32631, 499_980, 5_700_000)),
        ("32TNT", Grid(32632, 499_980, 5_300_040)),
        ("33XWJ", Grid(32633, 499_980, 8_900_040)),
        ("01KAB", Grid(32701, 99_960, 8_200_020)),
        ("60HWB", Grid(32760, 499_980, 5_700_000)),
    ],
)
def test_a_tile_lies_where_its_name_says(tile: str, grid: Grid) -> None:
    assert sentinel2.grid(tile) == grid


def test_tiles_lie_where_the_archive_says(recordings: Path) -> None:
    seen = {}
    for path in (recordings / "earth" / "cdse_stac").glob("*.json.gz"):
        text = gzip.decompress(path.read_bytes()).decode()
        body = json.loads(text).get("response", {}).get("body")
        answer = json.loads(body) if isinstance(body, str) and body.startswith("{") else body
        for item in answer.get("features", []) if isinstance(answer, dict) else []:
            band = item["assets"].get("B02_10m", {})
            if "proj:transform" in band:
                step, _, left, _, _, top, *_ = band["proj:transform"]
                assert step == 10
                seen[item["properties"]["grid:code"][5:]] = Grid(
                    int(band["proj:code"][5:]), int(left), int(top)
                )
    assert seen
    for tile, grid in seen.items():
        assert sentinel2.grid(tile) == grid, tile


def test_the_layout_is_that_of_the_baseline(recordings: Path) -> None:
    seen = set()
    folder = recordings / "earth" / "safe"
    for path in [
        *(folder / "s2_openeo").glob("*manifest.safe.gz"),
        folder / "cdsetool_sentinel_2_manifest.safe.gz",
    ]:
        text = gzip.decompress(path.read_bytes())
        name = path.name.partition("__")[0]
        if name.startswith("cdsetool"):
            name = "S2B_MSIL1C_20241209T162609_N0511_R040_T17UPV_20241209T195414"
        made = scene(name)
        ours = listed(data(sentinel2.files(made)["manifest.safe"]))
        assert sorted(map(neutral, ours)) == sorted(map(neutral, listed(text))), name
        seen.add((made.level, made.baseline))
    assert len(seen) >= 10


@pytest.mark.parametrize("made", [scene(), scene(OLD)], ids=["new", "old"])
def test_a_whole_product_unpacks_and_its_manifest_is_right(made: Scene, tmp_path: Path) -> None:
    content = sentinel2.whole(made)
    assert content.md5 == hashlib.md5(data(content)).hexdigest()  # noqa: S324 - as CDSE gives it
    with zipfile.ZipFile(BytesIO(data(content))) as file:
        assert file.testzip() is None
        assert {info.compress_type for info in file.infolist()} == {zipfile.ZIP_STORED}
        file.extractall(tmp_path)
    root = tmp_path / made.folder
    entries = listed((root / "manifest.safe").read_bytes())
    assert len(entries) == {"0500": 86, "0208": 123}[made.baseline]
    for href, (name, digest, size) in entries.items():
        body = (root / href).read_bytes()
        assert len(body) == size
        assert hashlib.new(name.lower().replace("-", "_"), body).hexdigest() == digest.lower(), href
    assert {name for name, _, _ in entries.values()} == (
        {"MD5"} if made.baseline == "0208" else {"MD5", "SHA3-256"}
    )
    beside = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert beside - {href.removeprefix("./") for href in entries} == {"manifest.safe", f"{made.name}-ql.jpg"}


def test_digests_of_the_newest_baseline_are_all_in_capitals() -> None:
    made = scene(NEW.replace("N0500", "N0511"))
    entries = listed(data(sentinel2.files(made)["manifest.safe"]))
    assert {name for name, _, _ in entries.values()} == {"SHA3-256"}
    assert all(digest == digest.upper() for _, digest, _ in entries.values())


def test_old_manifests_do_not_say_where_files_lie() -> None:
    disk = listed(data(sentinel2.files(scene(OLD.replace("201806", "201805")))["manifest.safe"]))
    assert sum(href.startswith("/dpc/") for href in disk) == 119
    bare = listed(data(sentinel2.files(scene(OLD.replace("N0208", "N0207")))["manifest.safe"]))
    assert sum(not href.startswith("./") for href in bare) == 106


def test_before_02_07_images_have_a_prefix() -> None:
    made = scene(OLD.replace("N0208", "N0205"))
    assert one(made, "R20m/L2A_T31UFS_20180620T105031_SCL_20m.jp2").size
    assert b"<IMAGE_FILE_2A>" in data(one(made, "MTD_MSIL2A.xml"))


def test_level_1c_has_no_resolution_in_its_names() -> None:
    made = scene(NEW.replace("L2A", "L1C"))
    pixels, profile = opened(one(made, "IMG_DATA/T31UFS_20180620T105031_B02.jp2"))
    assert (pixels.shape, profile["dtype"]) == ((1, 60, 60), "uint16")
    assert b'<RADIO_ADD_OFFSET band_id="0">-1000<' in data(one(made, "MTD_MSIL1C.xml"))


@pytest.mark.parametrize(
    ("end", "shape", "kind"),
    [
        ("B04_10m.jp2", (1, 366, 366), "uint16"),
        ("B8A_20m.jp2", (1, 183, 183), "uint16"),
        ("B09_60m.jp2", (1, 61, 61), "uint16"),
        ("SCL_20m.jp2", (1, 183, 183), "uint8"),
        ("TCI_10m.jp2", (3, 366, 366), "uint8"),
    ],
)
def test_bands_lie_on_the_tile(end: str, shape: tuple[int, int, int], kind: str) -> None:
    made = Scene(NEW, 20.0, 15635)
    pixels, profile = opened(one(made, end))
    assert (pixels.shape, profile["dtype"], profile["driver"]) == (shape, kind, "JP2OpenJPEG")
    assert profile["nodata"] is None
    assert profile["crs"].to_epsg() == 32631
    step = 109_800 / shape[1]
    assert tuple(profile["transform"])[:6] == (step, 0, 600_000, 0, -step, 5_700_000)


@pytest.mark.parametrize("cover", [0.0, 0.9, 20.0, 61.5, 99.2, 100.0])
@pytest.mark.parametrize("cut", [None, (0.943, 0.79)])
def test_the_classification_has_the_clouds_that_the_product_says(
    cover: float, cut: tuple[float, float] | None
) -> None:
    classes, _ = opened(one(Scene(NEW, cover, 15635, cut), "SCL_20m.jp2"))
    assert cloud_share(classes[0]) == pytest.approx(cover, abs=0.01)
    assert set(np.unique(classes)) <= set(range(12))
    assert (classes == NODATA).any() == (cut is not None)


def test_two_baselines_of_a_sensing_differ_by_the_offset() -> None:
    new, _ = opened(one(scene(), "B04_10m.jp2"))
    old, _ = opened(one(scene(OLD), "B04_10m.jp2"))
    assert np.array_equal(new.astype(int) - OFFSET, old)
    metadata = data(one(scene(), "MTD_MSIL2A.xml"))
    assert metadata.count(b"<BOA_ADD_OFFSET band_id=") == 13
    assert b"ADD_OFFSET" not in data(one(scene(OLD), "MTD_MSIL2A.xml"))


def test_a_pixel_without_data_is_zero_in_all_bands_and_only_there() -> None:
    made = scene(cut=(0.7, 0.3))
    classes, _ = opened(one(made, "SCL_20m.jp2"))
    for end in ("B04_20m.jp2", "AOT_20m.jp2", "TCI_20m.jp2"):
        pixels, _ = opened(one(made, end))
        assert np.array_equal((pixels == 0).all(axis=0), classes[0] == NODATA), end
    assert made.footprint != scene().footprint
    assert len(made.footprint) == 6


def test_dates_differ_and_a_name_gives_the_same_bytes_each_time() -> None:
    first = data(one(scene(), "B04_10m.jp2"))
    other = data(one(scene(NEW.replace("20180620", "20180630")), "B04_10m.jp2"))
    assert first != other
    sentinel2.files.cache_clear()
    assert data(one(scene(), "B04_10m.jp2")) == first


def test_the_metadata_name_each_image() -> None:
    made = scene()
    root = ET.fromstring(data(one(made, "MTD_MSIL2A.xml")))  # noqa: S314 - the sandbox's own
    named = {f"{item.text}.jp2" for item in root.iter("IMAGE_FILE")}
    assert named == {path for path in sentinel2.files(made) if "/IMG_DATA/" in path}
    tile = data(one(made, "MTD_TL.xml"))
    assert b"<HORIZONTAL_CS_CODE>EPSG:32631<" in tile
    assert b"<ULX>600000</ULX><ULY>5700000</ULY><XDIM>1830</XDIM>" in tile


def test_the_quicklook_is_a_picture() -> None:
    assert data(one(scene(), "-ql.jpg")).startswith(b"\xff\xd8\xff")


def test_a_name_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="no name of a Sentinel-2 product"):
        Scene("S1A_IW_SLC", 0, 1)


def test_pixels_fit_all_resolutions() -> None:
    with pytest.raises(ValueError, match="a multiple of 6"):
        Scene(NEW, 0, 1, pixels=100)


def test_orbits_and_tracks_agree() -> None:
    """Relative orbits count on with the absolute ones, 143 a cycle; each satellite began somewhere else."""
    for made in scenes():
        shift = {"S2A": 3, "S2B": -26}[made.mission]
        assert (made.orbit + shift) % 143 == made.relative_orbit, made.name


def test_the_built_in_products_have_what_searches_must_tell_apart() -> None:
    found = list(scenes())
    june = {made.sensed.date() for made in found if made.tile == "31UFS" and made.sensed.month == 6}
    assert len([day for day in june if day.year == 2018]) == 12
    assert {made.relative_orbit for made in found} == {8, 51, 94}
    assert {made.mission for made in found} == {"S2A", "S2B"}
    assert [made.name for made in found if not made.online] == [
        "S2A_MSIL2A_20180531T105031_N0500_R051_T31UFS_20230813T034909"
    ]
    assert sum(not made.measured for made in found) == 1
    assert len({made.name for made in found}) == len(found) == 30
