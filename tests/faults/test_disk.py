"""Death of an adoption or a release at any instruction: nothing is lost, and the next run ends it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from skystage import archives, plan
from skystage.archives import orbits
from skystage.batch import fetch_plan
from skystage.model import Query
from skystage.sandbox.box import SMALLEST_PAYLOAD
from skystage.store import Store

ENDING = Path(__file__).with_name("ending.py")


@pytest.mark.parametrize("action", ["adopt", "copy", "move", "release"])
def test_death_before_and_after_every_call_that_changes_a_file(open_box, access, tmp_path, action):
    open_box(payload_size=SMALLEST_PAYLOAD)
    query = Query(archive="asf", criteria={"relative_orbit": [35], "processing_level": ["SLC"]})
    slcs = sorted(archives.get("asf").search(query, access), key=lambda granule: granule.id)
    granules = sorted(orbits.find(slcs[:2], True, access).granules, key=lambda one: (one.collection, one.id))
    made = plan.write(
        tmp_path / "plan.ndjson",
        query=Query(archive="asf"),
        granules=granules,
        hits=len(granules),
        received=len(granules),
    )
    source = Store(tmp_path / "source")
    fetch_plan(made, source, access).raise_for_failures()
    (tmp_path / "old").mkdir()
    for asset in made.assets():
        source.path(asset).rename(tmp_path / "old" / asset.name)
    ended = subprocess.run(
        [
            *(sys.executable, str(ENDING), action, str(made.path)),
            *(str(tmp_path / "old"), str(tmp_path / "work")),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    result = json.loads(ended.stdout)
    assert result["problems"] == []
    assert result["died"] == result["points"] - 2  # each series ends with the run that nothing killed
    assert result["died"] > 40
