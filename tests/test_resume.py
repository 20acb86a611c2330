"""Rules of RFC 9110 that decide what a response means for a part file; one test a rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skystage import errors
from skystage.resume import (
    Append,
    Asked,
    Discard,
    Done,
    Fail,
    Head,
    Part,
    Restart,
    decide,
    failure,
    request_headers,
    retry_after,
    usable,
)

PART = Part(size=400, validator='"v1"', origin="https://a/x", total=1000)


def answer(status: int, /, excerpt: str = "", **headers: str) -> Head:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Head(status=status, headers=named, excerpt=excerpt)


def partial(
    first: int = 400, last: int = 999, total: int = 1000, etag: str = '"v1"', length: int | None = None
) -> Head:
    length = last - first + 1 if length is None else length
    return answer(206, content_range=f"bytes {first}-{last}/{total}", etag=etag, content_length=str(length))


def decided(part: Part, head: Head, *, proved: bool = True) -> object:
    """The decision on an answer to the question for what the part lacks."""
    asked = Asked(part.size) if part.size else None
    return decide(asked, part, head, name="x", proved=proved)


def test_a_request_without_a_part_asks_for_the_whole_file_uncompressed():
    assert request_headers(None) == {"Accept-Encoding": "identity"}


def test_a_request_with_a_part_asks_for_the_rest_if_the_file_is_unchanged():
    assert request_headers(Asked(400), '"v1"') == {
        "Accept-Encoding": "identity",
        "Range": "bytes=400-",
        "If-Range": '"v1"',
    }


def test_a_part_without_validator_is_asked_for_without_if_range():
    assert "If-Range" not in request_headers(Asked(4))


def test_a_piece_is_asked_for_by_its_first_and_last_byte():
    assert request_headers(Asked(400, 499))["Range"] == "bytes=400-499"


def test_a_piece_is_appended_if_it_is_the_one_that_was_asked_for():
    asked = Asked(400, 499)
    assert decide(asked, PART, partial(last=499), name="x", proved=True) == Append(1000)
    for wrong in (partial(last=498), partial(first=399, last=499), partial()):
        assert isinstance(decide(asked, PART, wrong, name="x", proved=True), Fail)


def test_gaps_are_what_lies_between_the_runs_that_are_there():
    part = Part(size=10, later=((20, 30), (40, 50)))
    assert part.gaps(60) == [(10, 20), (30, 40), (50, 60)]
    assert part.held == 30
    assert Part().gaps(None) == [(0, None)]


def test_the_rest_that_was_asked_for_is_appended():
    assert decided(PART, partial()) == Append(1000)


def test_a_full_answer_to_a_range_restarts():
    assert decided(PART, answer(200, content_length="1000")) == Restart(1000)


def test_a_full_answer_without_length_restarts_with_unknown_length():
    assert decided(Part(), answer(200)) == Restart(None)
    assert decided(Part(), answer(200, content_length="many")) == Restart(None)


@pytest.mark.parametrize(
    "head",
    [
        partial(first=0, last=999),
        partial(first=401),
        partial(last=500),
        partial(length=7),
        answer(206, content_length="600"),
        answer(206, content_range="bytes 400-999/*"),
        answer(206, content_range="items 1-2/3"),
    ],
    ids=["from 0", "one later", "not to the end", "lengths differ", "no range", "no total", "no bytes"],
)
def test_a_partial_answer_that_is_not_what_was_asked_is_refused(head):
    result = decided(PART, head)
    assert isinstance(result, Fail)
    assert isinstance(result.error, errors.WrongBody)


def test_a_partial_answer_that_nobody_asked_for_is_refused():
    assert isinstance(decided(Part(), partial(first=0)), Fail)


def test_a_partial_answer_of_another_version_discards_the_part():
    assert decided(PART, partial(etag='"v2"')) == Discard()


def test_a_partial_answer_of_another_length_discards_the_part():
    assert decided(PART, partial(last=1999, total=2000)) == Discard()


def test_without_a_checksum_a_partial_answer_needs_a_validator():
    head = answer(206, content_range="bytes 400-999/1000", content_length="600")
    assert decided(PART, head, proved=False) == Discard()
    assert decided(PART, head, proved=True) == Append(1000)


def test_without_a_checksum_what_came_without_validator_is_not_continued_under_one():
    blind = Part(size=400, origin="https://a/x", total=1000)
    assert decided(blind, partial(), proved=False) == Discard()
    assert decided(blind, partial(), proved=True) == Append(1000)


@pytest.mark.parametrize("said", ["bytes 400-399/400", "bytes 400-299/300", "bytes 400-1000/1000"])
def test_a_range_that_cannot_be_is_no_answer(said):
    assert isinstance(decided(PART, answer(206, content_range=said, etag='"v1"')), Fail)


def test_a_partial_answer_without_content_length_is_appended():
    assert decided(PART, answer(206, content_range="bytes 400-999/1000", etag='"v1"')) == Append(1000)


def test_a_part_of_unknown_total_is_continued():
    assert decided(Part(size=400, validator='"v1"'), partial()) == Append(1000)


def test_a_part_as_long_as_the_file_is_done_if_a_checksum_will_prove_it():
    whole = Part(size=1000, validator='"v1"', total=1000)
    head = answer(416, content_range="bytes */1000")
    assert decided(whole, head, proved=True) == Done()
    assert decided(whole, head, proved=False) == Discard()


def test_a_piece_is_never_done_by_a_file_that_ends_where_it_begins():
    shorter = answer(416, content_range="bytes */400")
    assert decide(Asked(400, 499), PART, shorter, name="x", proved=True) == Discard()
    assert decide(Asked(400), PART, shorter, name="x", proved=True) == Discard()


def test_a_part_longer_than_the_file_is_discarded():
    assert decided(PART, answer(416, content_range="bytes */300")) == Discard()
    assert decided(PART, answer(416)) == Discard()


def test_416_without_a_part_is_an_error():
    result = decided(Part(), answer(416))
    assert isinstance(result, Fail)
    assert isinstance(result.error, errors.RangeNotSatisfiable)


def test_a_compressed_body_is_refused():
    assert isinstance(decided(Part(), answer(200, content_encoding="gzip")), Fail)
    assert decided(Part(), answer(200, content_encoding="identity")) == Restart(None)


def test_a_compressed_part_is_never_joined_to_bytes_that_are_not():
    part = partial()
    joined = decided(
        PART, Head(status=206, headers={**part.headers, "content-encoding": "gzip"}), proved=False
    )
    assert isinstance(joined, Fail)
    assert isinstance(joined.error, errors.WrongRange)  # so that the file is asked for whole


@pytest.mark.parametrize("length", ["9" * 19, "9" * 5000, "-5", "5, 5"])
def test_a_length_that_no_file_can_have_is_no_length(length):
    assert answer(200, content_length=length).length is None
    assert isinstance(decided(PART, answer(206, content_range=f"bytes 400-999/{length}")), Fail)
    assert decided(PART, answer(416, content_range=f"bytes */{length}")) == Discard()


@pytest.mark.parametrize(
    ("status", "error", "transient"),
    [
        (302, errors.Refused, False),
        (400, errors.Refused, False),
        (401, errors.Unauthorized, False),
        (403, errors.Forbidden, False),
        (404, errors.NotFound, False),
        (408, errors.Interrupted, True),
        (410, errors.NotFound, False),
        (425, errors.Interrupted, True),
        (416, errors.RangeNotSatisfiable, False),
        (429, errors.Throttled, True),
        (500, errors.ServerFault, True),
        (503, errors.ServerFault, True),
    ],
)
def test_each_status_is_its_own_error(status, error, transient):
    found = failure(answer(status, excerpt="said"), "x")
    assert type(found) is error
    assert found.transient is transient
    assert str(status) in str(found)


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch"])
def test_keys_that_s3_does_not_take_are_refused_credentials(code):
    found = failure(answer(403, excerpt=f"{code}: no"), "x")
    assert type(found) is errors.Unauthorized
    assert "(403)" in str(found)
    assert "access key" in found.hint


def test_licence_terms_are_told_apart_from_other_refusals_with_the_page_to_visit():
    body = '{"status_code":403,"error_description":"EULA Acceptance Failure","resolution_url":"https://urs/approve"}'
    found = failure(answer(403, excerpt=body), "x")
    assert isinstance(found, errors.TermsNotAccepted)
    assert "https://urs/approve" in found.hint
    assert isinstance(failure(answer(403, excerpt="accept the EULA"), "x"), errors.TermsNotAccepted)
    assert type(failure(answer(403, excerpt='["no object"]'), "x")) is errors.Forbidden
    assert type(failure(answer(403, excerpt='{"resolution_url": 7}'), "x")) is errors.Forbidden


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("120", 120.0),
        ("Thu, 01 Jan 1970 00:00:30 GMT", 20.0),
        ("soon", None),
        (f"Thu, 01 Jan 1970 00:00:30 +{'9' * 30}", None),
        ("9" * 400, 86_400.0),
        ("Fri, 31 Dec 9999 00:00:00 GMT", 86_400.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(text, seconds):
    assert retry_after(answer(429, retry_after=text), now=10.0) == seconds


def test_retry_after_in_the_past_is_now():
    assert retry_after(answer(429, retry_after="Thu, 01 Jan 1970 00:00:30 GMT"), now=100.0) == 0.0
    assert retry_after(answer(429, retry_after="Thu, 01 Jan 1970 00:00:30 GMT")) == 0.0


def test_a_weak_etag_is_no_validator_and_neither_is_the_date_beside_it():
    assert answer(200, etag='W/"v"', last_modified="yesterday").validator == ""
    assert answer(200, last_modified="yesterday").validator == "yesterday"
    assert answer(200, etag='"v"').validator == '"v"'


def test_a_part_is_continued_from_a_mirror_only_if_a_checksum_proves_the_whole():
    assert usable(PART, "https://b/x", None, proved=True)
    assert not usable(PART, "https://b/x", None, proved=False)
    assert usable(PART, "https://a/x", None, proved=False)
    assert not usable(Part(size=4, origin="https://a/x"), "https://a/x", None, proved=False)
    assert not usable(Part(), "https://a/x", None, proved=True)


def test_what_came_of_a_member_is_continued_as_that_member_alone():
    packed = Part(size=4, member="a/b.xml", origin="https://a/x.zip")
    assert usable(packed, "https://b/x.zip", "a/b.xml", proved=True)
    assert not usable(packed, "https://a/x.zip", None, proved=True)
    assert not usable(packed, "https://a/x.zip", "a/c.xml", proved=True)


@given(
    size=st.integers(1, 50),
    first=st.integers(0, 50),
    last=st.integers(0, 60),
    total=st.integers(1, 60),
    etag=st.sampled_from(['"v1"', '"v2"', ""]),
)
def test_bytes_are_only_appended_where_they_belong(size, first, last, total, etag):
    part = Part(size=size, validator='"v1"', total=50)
    result = decided(part, partial(first, last, total, etag), proved=False)
    if isinstance(result, Append):
        assert (first, last, total, etag) == (size, 49, 50, '"v1"')
