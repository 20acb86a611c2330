"""Documents that planning reads: in order, each asked for once, from a cache that anybody may empty."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from skystage import documents, events
from skystage.auth import Secret
from skystage.errors import CredentialsMissing, NotFound, SkystageError, StoreError, StructureError
from skystage.model import Asset, Source
from skystage.transport import Access

CATALOGUE = "https://catalogue.dataspace.copernicus.eu/odata/v1/Products"
ORBITS = f"{CATALOGUE}?$filter=startswith(Name,'S1A_OPER_AUX_POEORB')"


@pytest.fixture
def labels(box) -> list[Asset]:
    """Small public documents: answers of a catalogue."""
    return [
        Asset(key="label", path=f"x/y/{n}/label.json", sources=(Source(href=f"{ORBITS}&$top={n + 1}"),))
        for n in range(5)
    ]


def kept(name: str = "") -> Path:
    return Path(os.environ["SKYSTAGE_CACHE"]) / "documents" / name


def test_documents_come_in_the_order_that_was_asked_for(box, labels, access):
    found = list(documents.read_all(reversed(labels), access))
    assert [content.count(b'"Id"') for content in found] == [5, 4, 3, 2, 1]


def test_a_second_reader_asks_for_nothing(box, labels, access):
    first = list(documents.read_all(labels, access))
    requests = len(box.requests())
    assert list(documents.read_all(labels, Access())) == first
    assert len(box.requests()) == requests


def test_what_cannot_be_had_is_a_reason_in_its_place(labels, access):
    gone = replace(labels[1], sources=(Source(href=f"{CATALOGUE}(0)"),))
    found = list(documents.read_all([labels[0], gone, labels[2]], access))
    assert [type(one) for one in found] == [bytes, NotFound, bytes]


def test_many_are_read_in_groups(box, labels, access, monkeypatch):
    monkeypatch.setattr(documents, "GROUP", 2)
    reader = documents.read_all(labels, access)
    next(reader)
    next(reader)
    assert len(box.requests()) == 2
    assert len(list(reader)) == 3


def test_a_document_does_not_wait_for_those_behind_it(box, labels, access):
    elsewhere = "stac.dataspace.copernicus.eu"
    box.set_faults([{"match": {"host": elsewhere}, "latency": 3}])
    slow = replace(labels[1], sources=(Source(href=f"https://{elsewhere}/v1/collections"),))
    with closing(documents.read_all([labels[0], slow], access)) as reader:
        assert next(reader).count(b'"Id"') == 1
        assert not kept("x/y/1/label.json").exists()
    # Whoever has had enough does not get it any more.
    assert not kept("x/y/1/label.json").exists()


def arrived(name: str) -> Path:
    while not kept(name).exists():
        time.sleep(0.01)
    return kept(name)


def test_an_emptied_cache_is_filled_again(box, labels, access):
    reader = documents.read_all(labels, access)
    next(reader)
    arrived("x/y/3/label.json").unlink()
    assert [isinstance(one, bytes) for one in reader] == [True] * 4
    assert len(box.requests()) == 6


def test_a_document_that_goes_again_at_once_is_a_reason(labels, access, monkeypatch):
    fetch_all = documents.fetch_all

    def and_delete(*args, listen=events.ignore, **options):
        def hear(event):
            if isinstance(event, events.Staged):
                shutil.rmtree(kept("x"))
            listen(event)

        return fetch_all(*args, listen=hear, **options)

    monkeypatch.setattr(documents, "fetch_all", and_delete)
    (found,) = documents.read_all(labels[:1], access)
    assert isinstance(found, StoreError)


def test_what_is_older_than_a_month_goes_once_a_day(labels, access):
    list(documents.read_all(labels, access))
    old = time.time() - documents.KEPT - 1
    os.utime(kept("x/y/0/label.json"), (old, old))
    list(documents.read_all(labels[1:], access))
    assert kept("x/y/0").exists()  # it was looked after today
    os.utime(kept(".skystage/swept"), (old, old))
    list(documents.read_all(labels[1:], access))
    assert not kept("x/y/0").exists()
    assert kept("x/y/1/label.json").exists()


def test_what_vanishes_while_it_is_swept_keeps_nobody_from_the_rest(labels, access):
    list(documents.read_all(labels, access))
    old = time.time() - documents.KEPT - 1
    for number in (0, 1, 2):
        os.utime(kept(f"x/y/{number}/label.json"), (old, old))
    kept("x/y/1/label.json").unlink()
    kept("x/y/1/label.json").symlink_to("gone")  # as one that goes between two looks
    os.utime(kept(".skystage/swept"), (old, old))
    list(documents.read_all(labels[3:], access))
    assert not kept("x/y/0").exists()
    assert not kept("x/y/2").exists()


def test_missing_credentials_are_found_before_the_first_request(box, labels, monkeypatch):
    monkeypatch.setenv("NETRC", "/nowhere")
    secret = replace(labels[0], sources=(Source(href=f"{CATALOGUE}(0)/$value", auth="cdse"),))
    with pytest.raises(CredentialsMissing):
        list(documents.read_all([secret], Access()))
    assert box.requests() == []


def test_credentials_that_are_refused_are_not_tried_on_the_rest(box):
    product = "https://download.dataspace.copernicus.eu/odata/v1/Products({})/$value"
    secrets = [
        Asset(key="label", path=f"x/y/{n}/z", sources=(Source(href=product.format(n), auth="cdse"),))
        for n in range(300)
    ]
    wrong = Access(secrets={"cdse": Secret(token="foreign")})
    with pytest.raises(CredentialsMissing):
        list(documents.read_all(secrets, wrong))
    assert 0 < len(box.requests()) <= 2 * documents.AT_ONCE


def test_a_cache_that_cannot_be_used_is_said(labels, access, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SKYSTAGE_CACHE", str(tmp_path / "file"))
    with pytest.raises(SkystageError, match="file/documents"):
        list(documents.read_all(labels, access))


def test_what_is_forgotten_is_asked_for_again(box, labels, access):
    first = list(documents.read_all(labels, access))
    requests = len(box.requests())
    documents.forget(labels[2])
    documents.forget(labels[2])
    assert not kept("x/y/2").exists()
    assert list(documents.read_all(labels, Access())) == first
    assert len(box.requests()) == requests + 1


def test_what_is_too_large_for_memory_is_no_document(box, labels, access, monkeypatch):
    large = max(len(content) for content in documents.read_all(labels, access))
    monkeypatch.setattr(documents, "MOST", large - 1)
    box.clear()
    known = replace(labels[0], path="x/y/z/known.json", size=large)
    *small, last, named = documents.read_all([*labels, known], Access())
    assert [type(one) for one in small] == [bytes] * 4
    for one in (last, named):
        assert isinstance(one, StructureError)
        assert f"has more than {large - 1:,} bytes: no small document" in one.message
    assert box.requests() == [], "what is known to be large is not asked for"
