"""The demonstration: one plan, staged by Snakemake and by Prefect, against the archives in a box.

``make demo`` runs this. Everything happens below ``demo-run``; nothing leaves the machine.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from skystage.plan import Plan
from skystage.sandbox import Sandbox
from skystage.store import Store

ROOT = Path(__file__).resolve().parent.parent
RUN = ROOT / "demo-run"
CONFIG = ROOT / "config" / "config.yaml"
TIMES = re.compile(r'"created":"[^"]*"')
SAY = Console(stderr=True, highlight=False)


def main() -> int:
    """Stage the same plan twice, compare the manifests, and show what is there."""
    begun = time.monotonic()
    # The files are staged anew; what Prefect and Snakemake keep for themselves may stay.
    for name in ("snakemake", "prefect"):
        shutil.rmtree(RUN / name / "results", ignore_errors=True)
        (RUN / name).mkdir(parents=True, exist_ok=True)
    log = RUN / "requests.ndjson"
    log.unlink(missing_ok=True)
    with Sandbox(log=log) as box:
        environment = box.environment(_environment())
        SAY.print("staging the query of config/config.yaml, with Snakemake and with Prefect")
        flow = _start("prefect", [sys.executable, str(ROOT / "flows" / "stage.py"), str(CONFIG)], environment)
        workflow = _start("snakemake", _snakemake(), environment)
        failed = [name for name, process in (("snakemake", workflow), ("prefect", flow)) if _end(process)]
        if failed:
            for name in failed:
                SAY.print((RUN / f"{name}.log").read_text()[-4000:], markup=False)
            SAY.print(f"[red]{' and '.join(failed)} failed[/]; the logs are in demo-run/")
            return 1
    results = {name: RUN / name / "results" for name in ("snakemake", "prefect")}
    plans = {name: Plan(path / "plan.ndjson") for name, path in results.items()}
    manifests = {
        name: TIMES.sub('"created":""', (path / "items.json").read_text()) for name, path in results.items()
    }
    _show(plans["snakemake"], Store(results["snakemake"] / "store"))
    same_plan = plans["snakemake"].header.digest == plans["prefect"].header.digest
    same = manifests["snakemake"] == manifests["prefect"]
    digest = plans["snakemake"].header.digest
    SAY.print(f"plans      {'equal' if same_plan else '[red]DIFFER[/]'}: {digest[:16]}...")
    SAY.print(f"manifests  {'equal' if same else '[red]DIFFER[/]'} apart from times:")
    for path in results.values():
        SAY.print(f"           {(path / 'items.json').relative_to(ROOT)}")
    SAY.print(f"requests   {_count(log):,}, all answered by the sandbox; {time.monotonic() - begun:.0f} s")
    return 0 if same and same_plan else 1


def _environment() -> dict[str, str]:
    """What keeps the orchestrators quiet, offline and in their own folders."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PREFECT_HOME": str(RUN / "prefect" / "home"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
        "DO_NOT_TRACK": "1",
        "SKYSTAGE_STATE": str(RUN / "state"),
        "XDG_CACHE_HOME": str(RUN / "cache"),
    }


def _count(log: Path) -> int:
    with log.open() as lines:
        return sum(1 for _ in lines)


def _tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _snakemake() -> list[str]:
    return [
        *(_tool("snakemake"), "--snakefile", str(ROOT / "workflow" / "Snakefile")),
        *("--configfile", str(CONFIG), "--cores", "2", "--forceall"),
    ]


def _start(name: str, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with (RUN / f"{name}.log").open("wb") as log:
        # A process group of its own: Prefect's short-lived server must not outlive the run.
        return subprocess.Popen(  # noqa: S603
            command, env=environment, cwd=RUN / name, stdout=log, stderr=log, start_new_session=True
        )


def _end(process: subprocess.Popen[bytes]) -> int:
    code = process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    return code


def _show(plan: Plan, store: Store) -> None:
    """One row for each folder, kind of asset and way of verifying."""
    rows: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for asset in plan.assets():
        receipt = store.receipt(asset)
        if receipt is not None:
            folder = "/".join(asset.path.split("/")[:2])
            rows[f"{store.root.relative_to(ROOT)}/{folder}/", asset.key, receipt.verified].append(
                receipt.size
            )
    table = Table("where", "asset", "files", "bytes", "verified by", title="staged", title_justify="left")
    for (folder, key, verified), sizes in sorted(rows.items()):
        table.add_row(folder, key, str(len(sizes)), f"{sum(sizes):,}", verified)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
