from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from skystage import aoi, archives, query
from skystage.errors import AreaError, QueryError
from skystage.model import Query


class Span(BaseModel):
    model_config = ConfigDict(extra="forbid")
    min: int
    max: int

    @model_validator(mode="after")
    def _in_order(self) -> Span:
        if self.min > self.max:
            raise ValueError("min is more than max")
        return self


def listed(value: object) -> object:
    if value not in ("RED", "GREEN"):
        raise ValueError("not one of: GREEN, RED")
    return value


def many(value: object) -> object:
    return sorted(set(value), key=str) if isinstance(value, list) else [value]


class Criteria(BaseModel):
    model_config = ConfigDict(extra="forbid")
    dataset: str | None = None
    relative_orbit: Annotated[list[int], BeforeValidator(many)] | None = None
    orbit: int | Span | None = None
    direction: Literal["ASCENDING", "DESCENDING"] | None = None
    since: date | None = None
    body: str | None = None
    pages: int = 1
    box: tuple[float, float] | None = None
    colour: Annotated[str, BeforeValidator(listed)] | None = None
    where: str | None = Field(None, alias="query")

    @model_validator(mode="after")
    def _together(self) -> Criteria:
        if self.dataset == "NISAR" and self.orbit:
            raise ValueError("orbit: NISAR has none")
        return self


class Fake:
    name = "fake"
    title = "A fake"
    criteria = Criteria
    properties: Mapping[str, str] = {"frame": "frameNumber", "polarization": "polarization"}
    property_names: frozenset[str] | None = frozenset({"sceneName", "dataset"})
    asset_keys: tuple[str, ...] | None = ("data", "metadata")
    companions = frozenset({"orbits", "dem"})

    def selection(self, select: Mapping[str, Any]) -> dict[str, Any]:
        return dict(select)


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    archive = Fake()
    known = archives.get

    def get(name: str) -> Any:
        return archive if name == "fake" else known(name)

    monkeypatch.setattr(archives, "get", get)
    return archive


def parse(**keys: Any) -> Query:
    return query.parse({"archive": "fake", **keys})


# What is read


def test_a_query_file_says_it_all(tmp_path: Path) -> None:
    (tmp_path / "roi.geojson").write_text(json.dumps(aoi.parse([0, 0, 2, 1])))
    (tmp_path / "q.yaml").write_text(
        """
archive: fake
area: roi.geojson
start: 2018-01-01
end: 2018-12-31
dataset: SENTINEL-1
relative_orbit: 35
filter: {polarization: [VV+VH], min_coverage: 0.2, months: [6, 7, 8], latest: 10}
select: {name: "*_20m*"}
assets: [metadata, data]
with: {orbits: true, dem: {name: glo_30}}
offline: keep
allow_missing: orbit
allow_incomplete: true
"""
    )
    assert query.read(tmp_path / "q.yaml") == Query(
        archive="fake",
        criteria={"dataset": "SENTINEL-1", "pages": 1, "relative_orbit": [35]},
        area=aoi.parse([0, 0, 2, 1]),
        start=datetime(2018, 1, 1, tzinfo=UTC),
        end=datetime(2018, 12, 31, 23, 59, 59, 999_999, UTC),
        filter={"latest": 10, "min_coverage": 0.2, "months": [6, 7, 8], "polarization": "VV+VH"},
        select={"name": "*_20m*"},
        assets=("data", "metadata"),
        companions={"dem": {"name": "glo_30"}, "orbits": True},
        offline="keep",
        allow_missing=("orbit",),
        allow_incomplete=True,
    )


def test_json_and_yaml_ask_the_same(tmp_path: Path) -> None:
    asked = {"archive": "fake", "start": "2018-01-01", "with": {"orbits": {}, "dem": False}}
    (tmp_path / "q.json").write_text(json.dumps(asked))
    (tmp_path / "q.yaml").write_text(
        "archive: fake\nstart: 2018-01-01\nwith:\n  orbits: true\n  dem: false\n"
    )
    assert query.read(tmp_path / "q.json") == query.read(str(tmp_path / "q.yaml"))


def test_what_a_query_says_of_itself_reads_as_the_same_query() -> None:
    asked = parse(
        area=[170, -9, -170, 9], start="2018-01-01", end="2018-01-02", filter={"frame": 7}, query="x"
    )
    assert query.parse(asked.to_json()) == asked


def test_a_key_without_a_value_is_a_key_left_out() -> None:
    assert parse(end=None, dataset=None, filter=None, area=None) == parse()


def test_defaults_are_part_of_the_question() -> None:
    assert parse().digest == parse(pages=1).digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"relative_orbit": 35}, {"relative_orbit": [35]}),
        ({"relative_orbit": [2, 1]}, {"relative_orbit": [1, 2, 2]}),
        ({"start": "2018-01-01"}, {"start": "2018-01-01T00:00:00Z"}),
        ({"start": date(2018, 1, 1)}, {"start": datetime(2018, 1, 1)}),  # noqa: DTZ001
        ({"end": "2018-01-01"}, {"end": "2018-01-01T23:59:59.999999"}),
        ({"area": [0, 0, 2, 1]}, {"area": "POLYGON((2 0, 2 1, 0 1, 0 0, 2 0))"}),
        ({"assets": "data"}, {"assets": ["data", "data"]}),
        ({"filter": {"frame": [2, 1]}}, {"filter": {"frame": [1, 2]}}),
        ({"since": "2018-01-01"}, {"since": date(2018, 1, 1)}),
        ({"with": {"dem": {"since": date(2018, 1, 1)}}}, {"with": {"dem": {"since": "2018-01-01"}}}),
        ({"dataset": "a", "direction": "ASCENDING"}, {"direction": "ASCENDING", "dataset": "a"}),
    ],
)
def test_equal_questions_have_equal_digests(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert parse(**one).digest == parse(**other).digest


def test_different_questions_have_different_digests() -> None:
    assert parse(relative_orbit=35).digest != parse(relative_orbit=36).digest


@pytest.mark.parametrize("end", [date(2018, 12, 31), "2018-12-31"])
def test_a_bare_date_is_the_whole_day(end: Any) -> None:
    assert parse(end=end).end == datetime(2018, 12, 31, 23, 59, 59, 999_999, UTC)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)),  # noqa: DTZ001
    st.integers(-23, 23),
)
def test_times_mean_the_same_moment_in_every_zone(moment: datetime, hours: int) -> None:
    utc = moment.replace(tzinfo=UTC)
    there = utc.astimezone(timezone(timedelta(hours=hours)))
    asked = [
        parse(start=value).start for value in (moment, utc, there, there.isoformat(), moment.isoformat(" "))
    ]
    assert asked == [utc] * 5


# What is refused


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"datset": "x"}, "datset: archive 'fake' has no such key .did you mean 'dataset'"),
        ({"strat": "2018-01-01"}, "did you mean 'start'"),
        ({"aoi": [0, 0, 1, 1]}, "aoi: .* .did you mean 'area'"),
        ({"months": [6]}, "it is a filter: write filter: {months: ...}"),
        ({"season": [1, 90]}, "it is a filter: write filter: {season: ...}"),
        ({"frame": 7}, "it is a filter: write filter: {frame: ...}"),
        ({"mnths": [6]}, "did you mean filter: {months: ...}"),
        ({"xyzzy": 1}, "allowed: archive, area, start"),
        (
            {"filter": {"relative_orbit": 3}},
            "filter.relative_orbit: is no filter .* write relative_orbit: beside",
        ),
        ({"filter": {"area": 3}}, "filter.area: is no filter"),
        ({"filter": {"polarizaton": "VV"}}, "did you mean 'polarization'"),
        ({"filter": {"earliest": 1, "latest": 1}}, "exclude each other"),
        ({"filter": {"min_coverage": 0.5}}, "filter.min_coverage: the query has no area"),
        ({"filter": [1]}, r"filter: got \[1\]"),
        ({"select": {"name": []}}, "select.name: got an empty list"),
        ({"relative_orbit": []}, "relative_orbit: got an empty list"),
        ({"orbit": {}}, "orbit: got an empty mapping"),
        ({"relative_orbit": "x"}, "relative_orbit: got 'x' .allowed: a valid integer"),
        ({"orbit": "x"}, r"orbit: got 'x' .allowed: a valid integer.* or {min: , max: }"),
        ({"pages": "many"}, "pages: got 'many'"),
        ({"orbit": {"min": 1}}, "orbit: got .*or a mapping with max"),
        ({"orbit": {"min": 2, "max": 1}}, "^orbit: got {'min': 2, 'max': 1}: min is more than max$"),
        ({"box": [1]}, r"box: got \[1\] .allowed: more values"),
        ({"colour": "GREAN"}, "colour: got 'GREAN' .allowed: GREEN, RED; did you mean 'GREEN'"),
        ({"direction": "ASCENDNG"}, "direction: got 'ASCENDNG' .* did you mean 'ASCENDING'"),
        ({"dataset": "NISAR", "orbit": 3}, "^orbit: NISAR has none$"),
        ({"start": "last week"}, "start: got 'last week' .allowed: a date"),
        ({"start": "2018-01-02", "end": "2018-01-01"}, "end: .* is before start"),
        ({"area": [-179, 0, 179, 1]}, "west > east"),
        ({"assets": "dta"}, "assets: got 'dta' .allowed: data, metadata; did you mean 'data'"),
        ({"assets": []}, "assets: got an empty list"),
        ({"assets": [1]}, r"assets: got \[1\]"),
        ({"assets": 7}, "a key, or a list of keys"),
        ({"with": {"orbts": True}}, "with: got 'orbts' .allowed: dem, orbits; did you mean 'orbits'"),
        ({"with": {"orbits": "yes"}}, "with.orbits: got 'yes'"),
        ({"with": {"dem": {"a": object()}}}, "with.dem: got .*what JSON can say"),
        ({"with": ["orbits"]}, "with: got"),
        ({"offline": "maybe"}, "offline: got 'maybe' .allowed: drop, keep"),
        ({"allow_incomplete": "yes"}, "allow_incomplete: got 'yes'"),
        ({"allow_missing": [""]}, "allow_missing: got"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        parse(**keys)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "archive: missing"),
        ({"archive": 3}, "archive: got 3"),
        ({"archive": "fakir"}, "'fakir' is not known"),
    ],
)
def test_an_archive_must_be_named(mapping: dict[str, Any], message: str) -> None:
    with pytest.raises(QueryError, match=message):
        query.parse(mapping)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.yaml", b"", "q.yaml: is empty"),
        ("q.yaml", b"[1, 2]", "holds a list"),
        ("q.yaml", b"hello", "holds only 'hello'"),
        ("q.yaml", b"archive: fake\narchive: asf\n", "'archive' is there twice"),
        ("q.yaml", b"archive: fake\nfilter: {latest: 1, latest: 2}\n", "'latest' is there twice"),
        ("q.yaml", b"archive: fake\n? [1, 2]\n: 3\n", "found unhashable key"),
        ("q.yaml", b"archive: [", "q.yaml: while parsing"),
        ("q.yaml", b"archive: fake\nstart: 2018-02-31\n", "q.yaml: day is out of range"),
        ("q.json", b'{"archive": "fake", "archive": "x"}', "'archive' is there twice"),
        ("q.json", b"{", "q.json: Expecting"),
        ("q.yaml", b"\xff\xfe\x00", "is no text"),
    ],
)
def test_a_file_that_is_no_query_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(QueryError, match=message) as caught:
        query.read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=r"q\.yaml: No such file or directory \(name a query file\)$"):
        query.read(tmp_path / "q.yaml")


def test_an_area_that_is_no_area_is_an_error_of_the_query() -> None:
    with pytest.raises(AreaError):
        parse(area="nowhere.geojson")


# Archives that leave more open


def test_open_asset_keys_are_not_checked_before_the_search(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "asset_keys", None, raising=False)
    assert parse(assets=["B04", "anything"]).assets == ("B04", "anything")


def test_an_archive_without_companions_says_so(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "companions", frozenset(), raising=False)
    with pytest.raises(QueryError, match="allowed: none"):
        parse(**{"with": {"orbits": True}})


def test_a_property_that_is_a_criterion_too_may_be_filtered() -> None:
    assert parse(filter={"dataset": "x"}).filter == {"dataset": "x"}


def test_properties_may_be_open(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "property_names", None, raising=False)
    assert parse(filter={"eo:cloud_cover": {"max": 20}}).filter == {"eo:cloud_cover": {"max": 20}}


# The Alaska Satellite Facility's own keys


def asf(**keys: Any) -> Query:
    pytest.importorskip("asf_search")
    archive = pytest.importorskip("skystage.archives.asf").Asf()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archives, "get", lambda name: archive)
        return query.parse({"archive": "asf", **keys})


def test_a_radar_query_reads() -> None:
    asked = asf(
        dataset="SENTINEL-1",
        processing_level="SLC",
        relative_orbit=35,
        flight_direction="ascending",
        filter={"path_frame": [35, 122], "min_count": 3},
        **{"with": {"orbits": True}},
    )
    assert asked.criteria["flight_direction"] == "ASCENDING"
    assert asked.filter == {"min_count": 3, "path_frame": [[35, 122]]}
    again = asf(**{key: value for key, value in asked.to_json().items() if key != "archive"})
    assert again.digest == asked.digest


def test_a_misspelt_radar_value_is_answered_with_the_nearest() -> None:
    with pytest.raises(QueryError, match="did you mean 'SENTINEL-1'") as caught:
        asf(dataset="SENTINAL-1")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "value", ["0001-01-01T00:00:00+14:00", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))]
)
def test_a_time_outside_the_calendar_is_refused(value):
    with pytest.raises(QueryError, match="start: got"):
        query.parse({"archive": "asf", "start": value})


def test_what_may_be_missing_is_something_that_can_be():
    asked = {"archive": "asf", "relative_orbit": 35}
    for key in ("orbit", "dem", "geoid", "data"):
        assert query.parse({**asked, "allow_missing": key}).allow_missing == (key,)
    with pytest.raises(QueryError, match="allow_missing: got 'orbits'.*did you mean 'orbit'"):
        query.parse({**asked, "allow_missing": ["orbits"]})
