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
from collections.abc import Iterator
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
BIN = Path(sys.executable).parent
COMMANDS = {
    "snakemake": [
        *(str(BIN / "snakemake"), "--snakefile", str(ROOT / "workflow" / "Snakefile")),
        *("--configfile", str(CONFIG), "--cores", "2"),
    ],
    "prefect": [sys.executable, str(ROOT / "flows" / "stage.py"), str(CONFIG)],
}


def main() -> int:
    """Stage the same plan twice, compare the manifests, and show what is there."""
    begun = time.monotonic()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    # All is staged anew; only Prefect's own database stays, which is slow to make.
    shutil.rmtree(RUN / "snakemake", ignore_errors=True)
    shutil.rmtree(RUN / "prefect" / "results", ignore_errors=True)
    log = RUN / "requests.ndjson"
    log.unlink(missing_ok=True)
    with Sandbox(log=log) as box, contextlib.ExitStack() as running:
        environment = box.environment(_environment())
        SAY.print("staging the query of config/config.yaml, with Snakemake and with Prefect ...")
        processes = {
            name: running.enter_context(_running(name, command, environment))
            for name, command in COMMANDS.items()
        }
        failed = [name for name, process in processes.items() if process.wait()]
    if failed:
        for name in failed:
            SAY.print((RUN / f"{name}.log").read_text()[-4000:], markup=False)
        SAY.print(f"[red]{' and '.join(failed)} failed[/]; the logs are in {RUN.name}/")
        return 1
    results = [RUN / name / "results" for name in COMMANDS]
    plans = [Plan(path / "plan.ndjson") for path in results]
    manifests = [TIMES.sub('"created":""', (path / "items.json").read_text()) for path in results]
    same_plan = len({plan.header.digest for plan in plans}) == 1
    same = len(set(manifests)) == 1
    _show(plans[0], Store(results[0] / "store"))
    SAY.print(f"plans      {'equal' if same_plan else '[red]DIFFER[/]'}: {plans[0].header.digest[:16]}...")
    SAY.print(f"manifests  {'equal' if same else '[red]DIFFER[/]'} apart from times:")
    for path in results:
        SAY.print(f"           {(path / 'items.json').relative_to(ROOT)}")
    SAY.print(f"requests   {_count(log):,}, all answered by the sandbox; {time.monotonic() - begun:.0f} s")
    return 0 if same and same_plan else 1


def _environment() -> dict[str, str]:
    """What keeps the orchestrators quiet, offline and in their own folders."""
    own = ("PREFECT_", "SNAKEMAKE_", "SKYSTAGE_")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(own)},
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PREFECT_HOME": str(RUN / "prefect" / "home"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # The first start on a machine makes the database, and takes its time.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
        "DO_NOT_TRACK": "1",
        "SKYSTAGE_STATE": str(RUN / "state"),
        "XDG_CACHE_HOME": str(RUN / "cache"),
    }


@contextlib.contextmanager
def _running(name: str, command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a process group of its own, which ends with us: no server outlives the run."""
    (RUN / name).mkdir(parents=True, exist_ok=True)
    with (RUN / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            command, env=environment, cwd=RUN / name, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, number)
                process.wait(3)


def _show(plan: Plan, store: Store) -> None:
    """One row for each folder, kind of asset and way of verifying."""
    rows: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for asset in plan.assets():
        receipt = store.receipt(asset)
        if receipt is not None:
            folder = "/".join(asset.path.split("/")[:2])
            rows[f"{folder}/", asset.key, receipt.verified].append(receipt.size)
    title = f"staged in {store.root.relative_to(ROOT)}/"
    table = Table("where", "asset", "files", "bytes", "verified by", title=title, title_justify="left")
    for (folder, key, verified), sizes in sorted(rows.items()):
        table.add_row(folder, key, str(len(sizes)), f"{sum(sizes):,}", verified)
    Console().print(table)


def _count(log: Path) -> int:
    with log.open() as lines:
        return sum(1 for _ in lines)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
