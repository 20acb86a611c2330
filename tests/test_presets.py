"""Presets: data that a query starts from."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from skystage import planning, query
from skystage.errors import QueryError

ROOT = Path(__file__).resolve().parent.parent
PRESETS = sorted((ROOT / "config" / "presets").glob("*.yaml"))
INSARHUB = {
    "preset": "S1_SLC",
    "area": [-113.05, 37.74, -112.68, 38.00],
    "start": "2020-01-01",
    "end": "2020-12-31",
    "relative_orbit": 100,
    "filter": {"frame": 466},
}


def test_these_presets_are_there():
    assert [path.stem for path in PRESETS] == ["ALOS", "NISAR_GSLC", "S1_BURST", "S1_GRD", "S1_SLC"]


@pytest.mark.parametrize("preset", [path.stem for path in PRESETS])
def test_each_preset_is_a_query_and_finds_something_in_the_catalogue(preset, box, access, tmp_path):
    asked = query.parse({"preset": preset})
    made = planning.build(asked, tmp_path / "plan.ndjson", access)
    assert made.header.totals.granules
    levels = {granule.properties["processingLevel"] for granule in made.granules()}
    assert levels == set(asked.criteria["processing_level"])


def test_insarhubs_example_is_one_preset_and_five_keys(box, access, tmp_path):
    made = planning.build(query.parse(INSARHUB), tmp_path / "plan.ndjson", access)
    assert made.header.totals.granules == 30
    granules = list(made.granules())
    assert {granule.stack for granule in granules} == {"p100_f466"}
    assert {granule.start.year for granule in granules} == {2020}
    assert sum(granule.asset("orbit") is not None for granule in granules) == 30


def test_a_preset_is_the_same_question_as_its_keys():
    spelt = {
        **{key: value for key, value in INSARHUB.items() if key != "preset"},
        "archive": "asf",
        "dataset": "SENTINEL-1",
        "processing_level": "SLC",
        "beam_mode": "IW",
        "polarization": ["VV+VH", "VV"],
        "with": {"orbits": True},
    }
    assert query.parse(INSARHUB).digest == query.parse(spelt).digest
    assert "preset" not in query.parse(INSARHUB).to_json()


def test_the_querys_own_keys_count():
    asked = query.parse({"preset": "S1_SLC", "polarization": "HH", "beam_mode": None})
    assert asked.criteria["polarization"] == ["HH"]
    assert asked.criteria["beam_mode"] == ["IW"]  # a key without a value is a key left out


def test_filter_and_with_are_put_together_key_by_key(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "archive: asf\nfilter: {frame: 466, months: [6]}\nwith: {orbits: {types: [AUX_POEORB]}}\nend:\n"
    )
    (tmp_path / "query.yaml").write_text("preset: mine.yaml\nfilter: {months: [7], latest: 3}\n")
    asked = query.read(tmp_path / "query.yaml")
    assert asked.filter == {"frame": 466, "latest": 3, "months": [7]}
    assert asked.companions == {"orbits": {"types": ["AUX_POEORB"]}}
    without = query.parse({"preset": "mine.yaml", "with": {"orbits": False}}, base=tmp_path)
    assert without.companions == {}
    assert query.parse({"preset": str(tmp_path / "mine.yaml")}).filter == {"frame": 466, "months": [6]}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"preset": "S1_SCL"}, "preset: got 'S1_SCL' .allowed: ALOS, .*did you mean 'S1_SLC'"),
        ({"preset": "s1_slc"}, "did you mean 'S1_SLC'"),
        ({"preset": 3}, "preset: got 3"),
        ({"preset": "nowhere.yaml"}, r"nowhere\.yaml: No such file or directory .name a preset file"),
        ({"preset": "list.json"}, "holds a list"),
        ({"preset": "nested.yaml"}, "preset: nested.yaml names another preset"),
        ({"presets": "S1_SLC", "archive": "asf"}, "did you mean 'preset'"),
        ({"preset": "S1_SLC", "filter": ["x"]}, "filter: got"),
    ],
)
def test_a_preset_that_is_none_is_refused_in_one_line(tmp_path, given, said):
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "nested.yaml").write_text("preset: S1_SLC\n")
    with pytest.raises(QueryError, match=said) as caught:
        query.parse(given, base=tmp_path)
    assert "\n" not in str(caught.value)


def test_the_wheel_holds_the_presets_where_they_are_looked_for(tmp_path, monkeypatch):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "site")
    monkeypatch.setattr(query, "__file__", str(tmp_path / "site" / "skystage" / "query.py"))
    assert {path.parent for path in query.presets().values()} == {tmp_path / "site" / "skystage" / "presets"}
    assert query.parse({"preset": "ALOS"}).criteria["processing_level"] == ["L1.1"]
