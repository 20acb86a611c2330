"""Who wants one band of ten products moves that band, their manifests, and hardly anything else."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from skystage.plan import Plan
from skystage.sandbox import Sandbox
from skystage.sandbox.copernicus import products

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
pytest.importorskip("rasterio", reason="the sandbox's pictures need the extra 'raster'")


@pytest.fixture
def large(monkeypatch, tmp_path):
    """A box of ten products of 10 MB, whose scene classifications are as large as real ones."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import optical

    box = Sandbox()
    with ExitStack() as stack:
        scenes = stack.enter_context(optical.products(box, 10, 0.01))
        stack.enter_context(box)
        yield box, scenes


@pytest.mark.parametrize("way", ["nodes", "s3", "zip"])
def test_scl_of_ten_products_costs_its_own_size_and_150_kb_a_product(large, tmp_path, way):
    box, scenes = large
    query = {
        "archive": "cdse",
        "collection": "SENTINEL-2",
        "product_type": "S2MSI2A",
        "assets": ["SCL_20m"],
        "sources": [way],
    }
    (tmp_path / "query.json").write_text(json.dumps(query))
    environment = box.environment() | {"SKYSTAGE_STATE": str(tmp_path / "state")}
    # As a workflow does it: no process knows what another has read.
    for words in (["plan", "query.json", "-o", "plan.ndjson"], ["fetch", "plan.ndjson", "--store", "store"]):
        command = [sys.executable, "-m", "skystage.cli", *words, "--json"]
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert ended.returncode == 0, ended.stderr
    assets = list(Plan(tmp_path / "plan.ndjson").assets())
    assert len(assets) == len(scenes) == 10
    for asset in assets:
        content = (tmp_path / "store" / asset.path).read_bytes()
        assert hashlib.sha3_256(content).hexdigest() == asset.checksums["sha3-256"]
    wanted = sum(asset.size for asset in assets)
    said = box.requests()
    moved = sum(one["sent"] for one in said)
    assert wanted > 10 * 1_000_000
    # Catalogue, log-in, manifests and directories of zips included.
    assert moved <= 1.1 * wanted + 10 * 150_000, f"{moved:,} bytes moved for {wanted:,}"
    held = [one for one in products(box._world.catalogue) if one.files]
    manifests = sum(one.files["manifest.safe"].size for one in held)
    bytes_of_files = sum(one["sent"] for one in said if one["path"].endswith(("/$value", ".jp2", ".safe")))
    if way == "zip":
        # The last 32 kB of each zip, once to plan and once to fetch; and the headers of the two members.
        assert 0 < bytes_of_files - wanted - manifests - 20 * 32_768 < 20 * 300
    else:
        assert bytes_of_files == wanted + manifests
        assert len([one for one in said if one["status"] == 200 and "/$value" in one["path"]]) in (0, 20)
    whole = sum(one.content.size for one in held)
    assert moved < whole / 4
