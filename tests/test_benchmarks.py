"""The bench of faults can tell a right file from a wrong one: else its table would say nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_table_of_faults_tells_right_from_wrong_and_names_what_is_absent(tmp_path):
    page, found = tmp_path / "page.md", tmp_path / "found.json"
    page.write_text((ROOT / "docs" / "faults.md").read_text())
    command = [sys.executable, ROOT / "benchmarks" / "faults.py", "--json", found, "--markdown", page]
    command += [
        "--clients",
        "skystage",
        "skystage-size",
        "curl",
        "--faults",
        "cut",
        "login-corrupt",
        "login-kill",
    ]
    # With no PATH there is no curl.
    ended = subprocess.run(
        command, env={**os.environ, "PATH": str(tmp_path)}, check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    cells = {(one["client"], one["fault"]): one["cell"] for one in json.loads(found.read_text())["trials"]}
    assert cells == {
        ("skystage", "cut"): "ok",
        ("skystage-size", "cut"): "ok",
        ("skystage", "login-corrupt"): "error → ok",
        # Nothing but a checksum sees one byte inside a zip's data: the bench says so of skystage, too.
        ("skystage-size", "login-corrupt"): "**WRONG**",
        ("skystage", "login-kill"): "error → ok",
        ("skystage-size", "login-kill"): "error → ok",
        **{("curl", fault): "absent" for fault in ("cut", "login-corrupt", "login-kill")},
    }
    assert "| one byte of the zip flipped | error → ok | **WRONG** | absent |" in page.read_text()
