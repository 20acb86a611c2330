"""The files of Sentinel-2 products as assets: what manifests list, under which key, and where it lies."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import replace

import pytest

from skystage.archives import sentinel2
from skystage.errors import (
    CatalogueUnavailable,
    NotFound,
    QueryError,
    ServerFault,
)
from skystage.model import Granule, Query

NAME = "S2A_MSIL2A_20180607T104021_N0500_R008_T31UFS_20230902T002212"
FOLDER = "GRANULE/L2A_T31UFS_A015449_20180607T104021"
SCL = f"{FOLDER}/IMG_DATA/R20m/T31UFS_20180607T104021_SCL_20m.jp2"
PRODUCT = Granule(
    archive="cdse",
    collection="SENTINEL-2_S2MSI2A",
    id=NAME,
    native_id="0d7e36b5-1111-5222-8333-444455556666",
    properties={"S3Path": f"/eodata/Sentinel-2/MSI/L2A_N0500/2018/06/07/{NAME}.SAFE"},
)


def manifest(*files: tuple[str, str, str], size: int = 7) -> bytes:
    """A manifest of files: path, name of the checksum, digest."""
    streams = "".join(
        f'<dataObject><byteStream size="{size}"><fileLocation locatorType="URL" href="{path}"/>'
        f'<checksum checksumName="{name}">{digest}</checksum></byteStream></dataObject>'
        for path, name, digest in files
    )
    return f"<x>{streams}</x>".encode()


def keys_of(*paths: str) -> list[str]:
    return list(sentinel2.listed(manifest(*((path, "MD5", "0" * 32) for path in paths))))


@pytest.mark.parametrize(
    ("path", "key"),
    [
        (f"./{SCL}", "SCL_20m"),
        (SCL, "SCL_20m"),
        (f"{FOLDER}/IMG_DATA/R10m/L2A_T31UFS_20170607T104021_B02_10m.jp2", "B02_10m"),
        ("./GRANULE/L1C_T31UFS_A1_20180607T104021/IMG_DATA/T31UFS_20180607T104021_B8A.jp2", "B8A"),
        ("./GRANULE/L1C_T31UFS_A1_20180607T104021/IMG_DATA/T31UFS_20180607T104021_TCI.jp2", "TCI"),
        (f"./{FOLDER}/QI_DATA/T31UFS_20180607T104021_PVI.jp2", "PVI"),
        (f"./{FOLDER}/QI_DATA/MSK_CLDPRB_20m.jp2", "MSK_CLDPRB_20m"),
        (f"./{FOLDER}/QI_DATA/MSK_DETFOO_B02.gml", "MSK_DETFOO_B02"),
        (f"./{FOLDER}/MTD_TL.xml", "granule_metadata"),
        ("./DATASTRIP/DS_EPAE_20180607T130000_S20180607T104021/MTD_DS.xml", "datastrip_metadata"),
        ("./MTD_MSIL2A.xml", "product_metadata"),
        ("./MTD_MSIL1C.xml", "product_metadata"),
        ("./INSPIRE.xml", "inspire_metadata"),
        (f"./{FOLDER}/QI_DATA/GENERAL_QUALITY.xml", "GENERAL_QUALITY"),
    ],
)
def test_files_are_called_by_what_they_are(path, key):
    assert keys_of(path) == ["safe_manifest", key]


@pytest.mark.parametrize(
    "path",
    [
        "./HTML/UserProduct_index.html",
        "./DATASTRIP/DS/QI_DATA/GENERAL_QUALITY.xml",
        f"./{FOLDER}/AUX_DATA/AUX_ECMWFT",
    ],
)
def test_files_that_nobody_asks_for_have_no_key(path):
    assert keys_of(path) == ["safe_manifest"]


def test_a_manifest_with_paths_of_the_machine_that_made_it_is_read():
    # Baseline 02.08 of May 2018.
    lost = f"/dpc/app/launch_12/.14196/.S2B_OPER_MSI_L2A_TL_EPA__N02.08/{SCL}"
    assert sentinel2.listed(manifest((lost, "MD5", "0" * 32)))["SCL_20m"].path == SCL


def test_a_product_of_several_tiles_is_refused():
    other = SCL.replace("31UFS", "31UES")
    with pytest.raises(ValueError, match="several tiles"):
        keys_of(SCL, other)


def resolved(
    assets: list[str], monkeypatch, *documents, criteria=None, granules=(PRODUCT,), **more
) -> list[Granule]:
    monkeypatch.setattr(
        sentinel2.documents,
        "read_all",
        lambda assets, access: (read for _, read in zip(assets, documents, strict=True)),
    )
    query = Query(archive="cdse", assets=tuple(assets), criteria=criteria or {}, **more)
    return list(sentinel2.resolve(granules, query, None))


def test_a_file_has_its_sources_in_order_of_cost(monkeypatch):
    (granule,) = resolved(["SCL_20m"], monkeypatch, manifest((SCL, "SHA3-256", "AB" * 32)))
    scl = granule.asset("SCL_20m")
    assert scl.path == f"cdse/SENTINEL-2_S2MSI2A/{NAME}/T31UFS_20180607T104021_SCL_20m.jp2"
    assert (scl.size, scl.checksums, scl.media_type) == (7, {"sha3-256": "ab" * 32}, "image/jp2")
    nodes, s3, member = scl.sources
    product = (
        "https://download.dataspace.copernicus.eu/odata/v1/Products(0d7e36b5-1111-5222-8333-444455556666)"
    )
    assert nodes.auth == "cdse"
    assert nodes.href.startswith(f"{product}/Nodes({NAME}.SAFE)/Nodes(GRANULE)/Nodes(L2A_T31UFS_A015449")
    assert nodes.href.endswith("/Nodes(R20m)/Nodes(T31UFS_20180607T104021_SCL_20m.jp2)/$value")
    assert s3.auth == "cdse-s3"
    assert s3.href == f"https://eodata.dataspace.copernicus.eu{PRODUCT.properties['S3Path']}/{SCL}"
    assert (member.href, member.auth, member.member) == (f"{product}/$value", "cdse", f"{NAME}.SAFE/{SCL}")


def test_the_query_says_which_sources_and_in_which_order(monkeypatch):
    read = manifest((SCL, "MD5", "0" * 32))
    (granule,) = resolved(["SCL_20m"], monkeypatch, read, criteria={"sources": ["zip", "nodes"]})
    member, nodes = granule.asset("SCL_20m").sources
    assert (member.member is None, nodes.member is None) == (False, True)


def test_a_product_that_names_no_place_in_the_bucket_has_the_other_sources(monkeypatch):
    read = manifest((SCL, "MD5", "0" * 32))
    (granule,) = resolved(["SCL_20m"], monkeypatch, read, granules=[replace(PRODUCT, properties={})])
    assert [one.auth for one in granule.asset("SCL_20m").sources] == ["cdse", "cdse"]


def test_the_manifest_of_a_product_that_was_published_anew_is_read_anew(monkeypatch):
    asked = []

    def read_all(assets, access):
        asked.extend(assets)
        yield from [manifest((SCL, "MD5", "0" * 32))] * 2

    monkeypatch.setattr(sentinel2.documents, "read_all", read_all)
    query = Query(archive="cdse", assets=("SCL_20m",))
    list(sentinel2.resolve([PRODUCT, replace(PRODUCT, native_id="another")], query, None))
    assert len({asset.path for asset in asked}) == 2
    assert all(asset.path.endswith(".safe") for asset in asked)  # looked at as the XML that it is


def test_a_band_without_resolution_is_the_finest(monkeypatch):
    paths = [SCL.replace("20m", end).replace("SCL", "B02") for end in ("60m", "10m", "20m")]
    (granule,) = resolved(
        ["B02", "B02_60m"], monkeypatch, manifest(*((one, "MD5", "0" * 32) for one in paths))
    )
    assert granule.asset("B02").name == "T31UFS_20180607T104021_B02_10m.jp2"
    assert granule.asset("B02_60m").name == "T31UFS_20180607T104021_B02_60m.jp2"


def test_a_plan_says_which_manifest_it_was_made_from(monkeypatch):
    read = manifest((SCL, "MD5", "0" * 32))
    (granule,) = resolved(["SCL_20m"], monkeypatch, read)
    assert granule.properties["skystage:manifest"] == hashlib.sha256(read).hexdigest()


def test_what_cannot_be_had_has_its_reason(monkeypatch):
    other = replace(PRODUCT, id=NAME.replace("T31UFS", "T31UES"))
    documents = [NotFound("gone"), b"no xml", manifest((SCL, "MD5", "0" * 32))]
    found = resolved(["SCL_20m", "B02"], monkeypatch, *documents, granules=(PRODUCT, other, PRODUCT))
    said = [{one.key: one.reason.partition(":")[0] for one in granule.unresolved} for granule in found]
    assert said == [
        {"SCL_20m": "its manifest", "B02": "its manifest"},
        {"SCL_20m": "its manifest is not XML", "B02": "its manifest is not XML"},
        {"B02": "the product has no such file"},
    ]
    assert found[2].asset("SCL_20m") is not None


def test_a_manifest_that_could_be_read_later_ends_the_plan(monkeypatch):
    with pytest.raises(
        CatalogueUnavailable, match=f"{NAME}: its manifest cannot be read now: busy"
    ) as caught:
        resolved(["SCL_20m"], monkeypatch, ServerFault("busy", retry_after=7.0))
    assert (caught.value.retry_after, caught.value.transient) == (7.0, True)


def test_who_accepts_an_incomplete_plan_has_the_reason(monkeypatch):
    (granule,) = resolved(["SCL_20m"], monkeypatch, ServerFault("busy"), allow_incomplete=True)
    assert [one.reason for one in granule.unresolved] == ["its manifest: busy"]


def test_files_of_other_missions_are_not_looked_for(monkeypatch):
    radar = replace(PRODUCT, id="S1A_IW_SLC__1SDV_20180108T020733_20180108T020800_020057_0272C8_8661")
    read = manifest((SCL, "MD5", "0" * 32))
    found = resolved(["SCL_20m"], monkeypatch, read, granules=[radar, PRODUCT])
    assert [one.reason for one in found[0].unresolved] == ["files are known of Sentinel-2 products only"]
    assert found[1].asset("SCL_20m") is not None


def test_bands_of_products_that_have_none_are_a_wrong_query(monkeypatch):
    radar = replace(PRODUCT, id="S1A_IW_SLC__1SDV_20180108T020733_20180108T020800_020057_0272C8_8661")
    with pytest.raises(QueryError, match="no product is of Sentinel-2: got B02"):
        resolved(["B02"], monkeypatch, granules=[radar])
    assert resolved(["B02"], monkeypatch, granules=[]) == []


def test_who_wants_whole_products_reads_no_manifest():
    granules = [PRODUCT]
    assert sentinel2.resolve(granules, Query(archive="cdse", assets=("data", "quicklook")), None) is granules
    assert sentinel2.resolve(granules, Query(archive="cdse"), None) is granules


def test_every_recorded_manifest_gives_its_bands(recordings):
    paths = sorted((recordings / "earth" / "safe").glob("s2_*/*manifest.safe.gz"))
    assert len(paths) > 20
    for path in paths:
        files = sentinel2.listed(gzip.decompress(path.read_bytes()))
        level2 = "MSIL2A" in path.name
        assert ("SCL_20m" in files, "B02_10m" in files, "B02" in files) == (level2, level2, not level2)
        assert {"granule_metadata", "product_metadata"} <= set(files)
        for file in list(files.values())[1:]:
            assert not file.path.startswith(("/", "."))
            assert file.size
            (digest,) = file.checksums.values()
            assert len(digest) in (32, 64)
