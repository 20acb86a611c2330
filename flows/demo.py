"""The demonstration: one plan, staged by Snakemake and by Prefect, against the archives in a box.

``make demo`` runs this. Everything happens below ``demo-run``; nothing leaves the machine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
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
        SAY.print("[bold]1[/] plan the query of config/config.yaml")
        plan = RUN / "plan.ndjson"
        _run([_tool("skystage"), "plan", "-", "-o", str(plan)], environment, stdin=_query())
        SAY.print("[bold]2[/] stage it with Snakemake and with Prefect, side by side")
        flow = _start("prefect", [sys.executable, str(ROOT / "flows" / "stage.py"), str(CONFIG)], environment)
        workflow = _start("snakemake", _snakemake(), environment)
        failed = [name for name, process in (("snakemake", workflow), ("prefect", flow)) if _end(process)]
        if failed:
            for name in failed:
                SAY.print((RUN / f"{name}.log").read_text()[-4000:], markup=False)
            SAY.print(f"[red]{' and '.join(failed)} failed[/]; the logs are in demo-run/")
            return 1
    manifests = {name: RUN / name / "results" / "items.json" for name in ("snakemake", "prefect")}
    texts = {name: TIMES.sub('"created":""', path.read_text()) for name, path in manifests.items()}
    same = texts["snakemake"] == texts["prefect"]
    _show(plan, Store(RUN / "snakemake" / "results" / "store"))
    for name, path in manifests.items():
        SAY.print(f"{name:<10} {path.relative_to(ROOT)}")
    seconds = time.monotonic() - begun
    SAY.print(f"manifests {'equal' if same else '[red]DIFFER[/]'} apart from times; {seconds:.0f} s")
    return 0 if same else 1


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


def _query() -> str:
    import yaml

    return json.dumps(yaml.safe_load(CONFIG.read_text())["query"], default=str)


def _tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _snakemake() -> list[str]:
    return [
        *(_tool("snakemake"), "--snakefile", str(ROOT / "workflow" / "Snakefile")),
        *("--configfile", str(CONFIG), "--cores", "2", "--forceall"),
    ]


def _run(command: list[str], environment: dict[str, str], *, stdin: str) -> None:
    subprocess.run(command, env=environment, cwd=RUN, input=stdin, text=True, check=True)  # noqa: S603


def _start(name: str, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with (RUN / f"{name}.log").open("wb") as log:
        # A process group of its own: Prefect's short-lived server must not outlive the run.
        return subprocess.Popen(  # noqa: S603
            command, env=environment, cwd=RUN / name, stdout=log, stderr=log, start_new_session=True
        )


def _end(process: subprocess.Popen[bytes]) -> int:
    code = process.wait()
    try:
        os.killpg(process.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    return code


def _show(plan: Path, store: Store) -> None:
    table = Table("granule", "asset", "bytes", "verified by", "where", title="staged")
    for granule in Plan(plan).granules():
        for asset in granule.assets:
            receipt = store.receipt(asset)
            if receipt is not None:
                where = str(store.path(asset).relative_to(ROOT))
                table.add_row(granule.id[:32], asset.key, f"{receipt.size:,}", receipt.verified, where[:60])
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
