"""Parts of a product that is staged whole are taken out of its zip: without a request, and proved."""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import replace

import pytest

from skystage import events
from skystage.batch import fetch_all
from skystage.errors import CredentialsMissing, NoSource, TransferError
from skystage.fetch import fetch_asset
from skystage.model import Asset
from skystage.product import beside
from skystage.transport import Access


@pytest.fixture
def manifest(slc: Asset) -> Asset:
    """``manifest.safe`` of the product, with a source that would ask for it."""
    source = replace(slc.sources[0], member=f"{slc.name.removesuffix('.zip')}.SAFE/manifest.safe")
    return Asset(key="manifest", path=slc.path.replace(slc.name, "manifest.safe"), sources=(source,))


def content_of(slc, store) -> bytes:
    with zipfile.ZipFile(store.path(slc)) as file:
        return file.read(f"{slc.name.removesuffix('.zip')}.SAFE/manifest.safe")


@pytest.fixture
def staged(box, slc, store, access):
    fetch_asset(slc, store, access)
    return slc


def test_a_part_of_a_staged_product_costs_no_request(box, staged, manifest, store, access):
    requests = len(box.requests())
    receipt = fetch_asset(manifest, store, access)
    assert len(box.requests()) == requests
    assert store.path(manifest).read_bytes() == content_of(staged, store)
    assert (receipt.verified, receipt.attempts, receipt.bytes_moved) == ("crc32", 0, 0)
    assert receipt.source == f"file:{staged.name}"
    assert fetch_asset(manifest, store, access) == receipt


def test_it_needs_neither_source_nor_credentials(staged, manifest, store, monkeypatch):
    for name in ("NETRC", "EARTHDATA_TOKEN", "EARTHDATA_USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", "/nowhere")
    outcome = fetch_all([manifest], store, Access())
    assert (len(outcome.receipts), outcome.requests) == (1, 0)
    lonely = replace(manifest, sources=())
    store.path(manifest).unlink()
    assert fetch_asset(lonely, store, Access()).verified == "crc32"


def test_the_checksum_of_the_plan_proves_it(staged, manifest, store, access):
    digest = hashlib.sha3_256(content_of(staged, store)).hexdigest()
    receipt = fetch_asset(replace(manifest, checksums={"sha3-256": digest}), store, access)
    assert receipt.verified == "sha3-256"


def test_another_file_than_the_planned_one_is_asked_for_at_the_sources(box, staged, manifest, store, access):
    heard: list[events.Event] = []
    planned = replace(manifest, checksums={"sha3-256": "0" * 64})
    requests = len(box.requests())
    with pytest.raises(TransferError, match="sha3-256"):
        fetch_asset(planned, store, access, heard.append)
    assert len(box.requests()) > requests
    assert isinstance(heard[0], events.Retrying)
    assert not store.path(manifest).exists()


def test_a_damaged_product_is_no_source(staged, manifest, store, access):
    path = store.path(staged)
    status, content = path.stat(), bytearray(path.read_bytes())
    at = content.index(b"<?xml", content.index(b"manifest.safe"))
    content[at + 100] ^= 1
    path.write_bytes(content)
    # Damage that nobody sees who only looks at size and time.
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    receipt = fetch_asset(manifest, store, access)
    assert receipt.source.startswith("https://")


def test_a_product_whose_directory_is_no_text_is_no_source(staged, manifest, store, access):
    path = store.path(staged)
    status, content = path.stat(), bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 9] |= 0x08  # its name is said to be UTF-8 (APPNOTE 4.4.4, bit 11)
    content[at + 46] = 0xFF
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert fetch_asset(manifest, store, access).source.startswith("https://")


def test_a_product_that_has_no_such_file_is_no_source(staged, manifest, store, access):
    missing = replace(manifest, path=manifest.path.replace("manifest.safe", "nothing.xml"), sources=())
    with pytest.raises(NoSource):
        fetch_asset(missing, store, access)


def test_only_what_lies_beside_a_product_is_its_part(staged, manifest, store):
    assert beside(manifest, store) == store.path(staged)
    assert beside(staged, store) is None
    assert beside(replace(manifest, path="manifest.safe"), store) is None
    assert beside(replace(manifest, path="orbits/AUX_POEORB/manifest.safe"), store) is None


def test_without_the_product_credentials_are_asked_for_before_the_first_byte(
    box, manifest, store, monkeypatch
):
    monkeypatch.setenv("NETRC", "/nowhere")
    with pytest.raises(CredentialsMissing):
        fetch_all([manifest], store, Access())
    assert box.requests() == []
