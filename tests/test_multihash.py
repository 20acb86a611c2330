"""Checksums in STAC say their algorithm: most say the right one."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skystage import multihash

BODY = b"what the file holds"
DIGESTS = {
    "d50110": ("md5", hashlib.md5(BODY, usedforsecurity=False).hexdigest()),
    "1114": ("sha1", hashlib.sha1(BODY, usedforsecurity=False).hexdigest()),
    "1220": ("sha256", hashlib.sha256(BODY).hexdigest()),
    "1340": ("sha512", hashlib.sha512(BODY).hexdigest()),
    "1620": ("sha3-256", hashlib.sha3_256(BODY).hexdigest()),
    "1e20": ("blake3", "0" * 64),
}


@pytest.mark.parametrize("head", DIGESTS)
def test_each_algorithm_is_read_as_it_is_written(head):
    algorithm, digest = DIGESTS[head]
    assert multihash.write(algorithm, digest) == head + digest
    for text in (head + digest, (head + digest).upper(), f"f{head}{digest}", f"F{head}{digest}"):
        assert multihash.read(text) == {algorithm: digest}


def test_an_md5_of_32_bytes_is_a_sha3_256():
    digest = hashlib.sha3_256(BODY).hexdigest()
    assert multihash.read(f"d50120{digest}") == {"sha3-256": digest}


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        "",
        "f",
        "d5",
        "d501",
        "12",
        "1220",
        "1220" + "00" * 31,
        "1220" + "00" * 33,
        "1210" + "00" * 16,  # a SHA-256 that was cut to half its length proves less than it says
        "d50114" + "00" * 20,
        "2220" + "00" * 32,  # murmur3
        "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPzKJ",
        "md5:0123",
        "1220" + "zz" * 32,
    ],
)
def test_what_says_no_checksum_that_can_be_taken_is_none(text):
    assert multihash.read(text) == {}


@given(st.text() | st.binary().map(bytes.hex))
def test_nothing_that_a_catalogue_says_breaks_it(text):
    assert len(multihash.read(text)) <= 1


def test_an_unknown_algorithm_is_not_written():
    with pytest.raises(KeyError):
        multihash.write("crc32", "00")
