"""What a product's name proves: its manifest, and by that its files, however they were zipped."""

from __future__ import annotations

import io
import zipfile

import pytest

from skystage import safefile
from skystage.errors import StructureError
from skystage.sandbox.payloads import product_zip, repacked_zip

NAME = "S1A_IW_SLC__1SDV_20200106T010203_20200106T010230_030678_03842A_5B1C"


def packed(content) -> bytes:
    return content.read(0, content.size)


def changed(change) -> bytes:
    """The product with its members, by name, as `change` leaves them."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(packed(product_zip(f"{NAME}.zip")))) as old:
        members = {name: old.read(name) for name in old.namelist()}
    change(members)
    with zipfile.ZipFile(out, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)
    return out.getvalue()


@pytest.fixture
def prove(tmp_path):
    def proved(content: bytes, name: str = NAME) -> None:
        path = tmp_path / "file.zip"
        path.write_bytes(content)
        safefile.prove_zip(path, name)

    return proved


def test_two_archives_zip_one_product_differently_and_both_are_proved(prove):
    ours, theirs = packed(product_zip(f"{NAME}.zip")), packed(repacked_zip(f"{NAME}.zip"))
    assert ours != theirs
    for content in (ours, theirs):
        prove(content)
        prove(content, f"{NAME}.zip")


def test_real_manifests_have_the_crc_of_their_products_name(recordings):
    import gzip

    folder = recordings / "earth" / "safe"
    manifest = gzip.decompress((folder / "s1_manifest" / "burst2safe_manifest_7C85.safe.gz").read_bytes())
    assert safefile.manifest_crc(manifest) == "7C85"
    (path,) = folder.glob("s1_slc_zip/*.zip")
    with zipfile.ZipFile(path) as file:
        manifest = file.read(f"{path.stem}.SAFE/manifest.safe")
    assert path.stem.endswith(safefile.manifest_crc(manifest))
    assert len(safefile.listed(manifest)) > 20
    # Its measurements were replaced by dummies: the manifest is right, and the product is not whole.
    with pytest.raises(StructureError):
        safefile.prove_zip(path, path.stem)


def test_a_manifest_that_is_not_the_names_is_refused(prove):
    def change(members):
        name = f"{NAME}.SAFE/manifest.safe"
        members[name] = members[name].replace(b"stand-in", b"Stand-in")

    with pytest.raises(StructureError, match="its manifest has the CRC"):
        prove(changed(change))


def test_a_file_that_is_not_the_manifests_is_named(prove):
    def change(members):
        name = next(name for name in members if name.endswith(".tiff"))
        members[name] = members[name][:-1] + bytes([members[name][-1] ^ 1])

    with pytest.raises(StructureError, match=r"measurement/.* is not the file that its manifest lists"):
        prove(changed(change))


def test_a_file_that_is_missing_is_named(prove):
    def change(members):
        del members[next(name for name in members if name.endswith(".tiff"))]

    with pytest.raises(StructureError, match="measurement"):
        prove(changed(change))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip at all" * 100])
def test_what_is_no_zip_is_refused_in_one_line(prove, content):
    with pytest.raises(StructureError):
        prove(content)


def test_bytes_behind_the_end_are_refused(prove):
    with pytest.raises(StructureError, match="behind its end"):
        prove(packed(product_zip(f"{NAME}.zip")) + b"more")


def test_a_damaged_zip_is_refused(prove):
    content = bytearray(packed(repacked_zip(f"{NAME}.zip")))
    content[len(content) // 2] ^= 1
    with pytest.raises(StructureError):
        prove(bytes(content))


def test_a_name_that_proves_nothing_is_refused(prove):
    assert not safefile.names_its_manifest("S2A_MSIL2A_20200101T000000_N0500_R001_T31UFS_20200101T000000")
    assert safefile.names_its_manifest(f"{NAME}.SAFE.zip")
    with pytest.raises(StructureError, match="does not prove"):
        prove(packed(product_zip(f"{NAME}.zip")), "product.zip")


@pytest.mark.parametrize(
    "manifest",
    [b"<not", b"<a/>", b"<a><byteStream size='1'/></a>"],
)
def test_what_is_no_manifest_is_refused(manifest):
    with pytest.raises(ValueError, match="manifest"):
        safefile.listed(manifest)
