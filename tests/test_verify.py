from __future__ import annotations

import hashlib
import io
import struct
import sys
import zipfile
from pathlib import Path

import pytest

from skystage import verify
from skystage.errors import ChecksumMismatch, SizeMismatch, StructureError, WrongBody
from skystage.model import Asset


def asset(name: str, **fields) -> Asset:
    return Asset(key="data", path=f"a/c/g/{name}", **fields)


def file(tmp_path: Path, name: str, content: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def zip_bytes(comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("member.txt", "content" * 100)
        made.comment = comment
    return buffer.getvalue()


@pytest.mark.parametrize("algorithm", ["md5", "sha256", "sha512", "sha1", "sha3-256"])
def test_a_file_is_proved_by_the_checksum_that_the_archive_gives(tmp_path, algorithm):
    path = file(tmp_path, "x.bin", b"bytes" * 1000)
    good = hashlib.new(algorithm.replace("-", "_"), b"bytes" * 1000).hexdigest()
    expected = asset("x.bin", size=5000, checksums={algorithm: good.upper()})
    assert verify.prove(expected, path, verify.digest_file(path, expected.checksums)) == algorithm


def test_a_wrong_checksum_is_refused(tmp_path):
    path = file(tmp_path, "x.bin", b"bytes")
    expected = asset("x.bin", checksums={"md5": "0" * 32})
    with pytest.raises(ChecksumMismatch, match="md5 .* the plan says 0000"):
        verify.prove(expected, path, verify.digest_file(path, expected.checksums))


def test_a_wrong_size_is_refused_before_the_checksum(tmp_path):
    path = file(tmp_path, "x.bin", b"bytes")
    with pytest.raises(SizeMismatch, match="5 bytes, the plan says 7"):
        verify.prove(asset("x.bin", size=7, checksums={"md5": "0" * 32}), path, {})


def test_without_a_checksum_size_and_structure_are_the_proof_and_say_so(tmp_path):
    path = file(tmp_path, "x.zip", zip_bytes())
    assert verify.prove(asset("x.zip"), path, verify.digest_file(path, {})) == "size+structure"


def test_a_checksum_nobody_can_take_is_no_proof(tmp_path):
    path = file(tmp_path, "x.bin", b"bytes")
    sums = {"crc64": "ff", "md5": ""}
    assert verify.strongest(sums) is None
    assert (
        verify.prove(asset("x.bin", checksums=sums), path, verify.digest_file(path, sums)) == "size+structure"
    )


def test_a_file_is_proved_by_its_blake3(tmp_path):
    pytest.importorskip("blake3")
    # The test vector of the BLAKE3 reference for the three bytes 0, 1, 2.
    expected = asset(
        "x.bin", checksums={"blake3": "e1be4d7a8ab5560aa4199eea339849ba8e293d55ca0a81006726d184519e647f"}
    )
    path = file(tmp_path, "x.bin", bytes(range(3)))
    assert verify.prove(expected, path, verify.digest_file(path, expected.checksums)) == "blake3"
    path.write_bytes(b"\0\1\3")
    with pytest.raises(ChecksumMismatch, match="blake3"):
        verify.prove(expected, path, verify.digest_file(path, expected.checksums))


def test_blake3_is_preferred_where_the_package_is_there_and_done_without_where_not(monkeypatch):
    sums = {"blake3": "b" * 64, "md5": "a" * 32}
    monkeypatch.setitem(sys.modules, "blake3", None)
    assert verify.strongest(sums) == "md5"
    fake = type(sys)("blake3")
    fake.blake3 = hashlib.sha256
    monkeypatch.setitem(sys.modules, "blake3", fake)
    assert verify.strongest(sums) == "blake3"
    assert set(verify.Digester(sums).digests()) == {"sha256", "blake3"}


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("x.zip", b"<!DOCTYPE html><html>log in"),
        ("x.zip", b"  \n<html><body>quota"),
        ("x.zip", b"\xef\xbb\xbf<HTML>"),
        ("x.zip", b"Rar!"),
        ("x.bin", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
        ("x.tif", b"PK\x03\x04"),
        ("x.fits", b"XTENSION"),
        ("x.EOF", b"<html>log in</html>"),
        ("x.EOF", b"not xml at all"),
        ("x.xml", b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>'),
        ("x.bin", b"<!doctype html>"),
    ],
)
def test_a_page_where_data_was_promised_is_refused(name, start):
    with pytest.raises(WrongBody):
        verify.check_start(asset(name), start)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("x.zip", b"PK\x03\x04"),
        ("x.TIF", b"II*\0"),
        ("x.fits", b"SIMPLE  =                    T"),
        ("x.EOF", b'<?xml version="1.0" ?><Earth_Explorer_File>'),
        ("x.html", b"<html>"),
        ("x.dat", b"anything"),
        ("x.zip", b""),
    ],
)
def test_data_of_the_promised_kind_passes(name, start):
    verify.check_start(asset(name), start)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("x.bin", b"", "empty"),
        ("x.zip", zip_bytes()[:-30], "not a whole .zip"),
        ("x.zip", zip_bytes()[200:], "not a whole .zip"),
        ("x.fits", b"SIMPLE" * 100, "HDU|begin"),
        ("x.tif", b"II*\0", "header is cut"),
        ("x.tif", b"II*\0" + struct.pack("<I", 5000) + bytes(100), "first directory"),
        ("x.tif", b"MM\0+" + bytes(4) + struct.pack(">Q", 5000) + bytes(100), "first directory"),
        ("x.EOF", b"<a><b></a>", "not well-formed"),
        ("x.EOF", b"<a><b>", "not well-formed"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(tmp_path, name, content, problem):
    with pytest.raises(StructureError, match=problem):
        verify.check_structure(asset(name), file(tmp_path, name, content))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.bin", b"1"),
        ("x.zip", zip_bytes()),
        ("x.zip", zip_bytes(comment=b"a comment" * 100)),
        ("x.tif", b"II*\0" + struct.pack("<I", 8) + bytes(100)),
        ("x.tif", b"MM\0+" + bytes(4) + struct.pack(">Q", 16) + bytes(100)),
        ("x.EOF", b"<a><b/></a>"),
    ],
)
def test_a_whole_file_passes(tmp_path, name, content):
    verify.check_structure(asset(name), file(tmp_path, name, content))


def test_the_part_file_is_judged_by_the_name_of_the_asset(tmp_path):
    with pytest.raises(StructureError):
        verify.check_structure(asset("x.fits"), file(tmp_path, "1234.part", b"123"))


def test_a_zip_with_a_damaged_member_is_not_whole(tmp_path):
    content = zip_bytes()
    at = content.index(b"PK\x01\x02") - 1  # the last byte of the last member
    damaged = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    with pytest.raises(StructureError, match="member .* is damaged"):
        verify.check_structure(asset("x.zip"), file(tmp_path, "x.zip", damaged))


def test_of_a_zip_packed_in_an_unknown_way_only_the_directory_is_looked_at(tmp_path):
    content = bytearray(zip_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 10 : at + 12] = struct.pack("<H", 97)
    content[8:10] = struct.pack("<H", 97)
    verify.check_structure(asset("x.zip"), file(tmp_path, "x.zip", bytes(content)))


@pytest.mark.parametrize("encoding", ["shift_jis", "no-such-encoding"])
def test_xml_that_cannot_be_read_is_not_whole(tmp_path, encoding):
    file = tmp_path / "x.xml"
    file.write_text(f'<?xml version="1.0" encoding="{encoding}"?><a/>')
    with pytest.raises(StructureError, match="not well-formed"):
        verify.check_structure(Asset(key="data", path="a/C/g/x.xml"), file)


def test_a_damaged_member_is_found_out_whatever_it_is_packed_with(tmp_path):
    file = tmp_path / "x.zip"
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(file, "w", method) as made:
            made.writestr("a", bytes(range(256)) * 100)
        content = bytearray(file.read_bytes())
        content[50:60] = b"\xff" * 10
        file.write_bytes(content)
        with pytest.raises(StructureError):
            verify.check_structure(Asset(key="data", path="a/C/g/x.zip"), file)
