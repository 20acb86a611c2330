"""The Prefect tasks and the flow, against a real server of their own and the archives in a box."""

from __future__ import annotations

import fcntl
import importlib.util
import inspect
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import typing
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import certifi
import pytest
import yaml

from skystage.errors import (
    ChecksumMismatch,
    CredentialsMissing,
    FetchFailed,
    NotFound,
    QueryError,
    ServerFault,
    SkystageError,
    Stopped,
    Throttled,
)
from skystage.plan import Plan
from skystage.planning import build
from skystage.query import parse
from skystage.store import Store

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "flows" / "stage.py"
SNAKEMAKE = [str(Path(sys.executable).parent / "snakemake"), "--snakefile", str(ROOT / "workflow/Snakefile")]
# Of what belongs to an area, the date is that of its staging.
TIMES = re.compile(r'"(created|datetime)":"[^"]*"')

# Whatever Prefect and its dependencies deprecate is not what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One Prefect server for all workers: the first to come starts it, and ends it when all are done."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    home = root / "prefect"
    home.mkdir(exist_ok=True)
    settings = {
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        # Else it takes SSL_CERT_FILE, and keeps that of the first test's box.
        "PREFECT_API_SSL_CERT_FILE": certifi.where(),
    }
    process, address = None, home / "address"
    with (home / "users").open("w") as users, pytest.MonkeyPatch.context() as environment:
        for name, value in settings.items():
            environment.setenv(name, value)
        fcntl.flock(users, fcntl.LOCK_SH)
        with (home / "starting").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            if not address.exists():
                process = _start_server(home, address)
        environment.setenv("PREFECT_API_URL", address.read_text())
        yield address.read_text()
        if process is not None:
            fcntl.flock(users, fcntl.LOCK_EX)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _start_server(home: Path, address: Path) -> subprocess.Popen[bytes]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--port", str(port), "--no-ui"],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}/api"
    until(lambda: _answers(f"{url}/health"), 180)
    address.write_text(url)
    return process


def _answers(url: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=5):
            return True
    except OSError:
        return False


def until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.05)


@pytest.fixture
def flows(server) -> ModuleType:
    """The module flows/stage.py, as a script's neighbour would import it."""
    return imported(SCRIPT)


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def at_once(monkeypatch, impatient, server) -> None:
    """The pauses between the tries of a task are short."""
    from skystage.prefect import tasks

    monkeypatch.setattr(tasks, "PAUSES", (0.01,))


@pytest.fixture
def locked(box, access, tmp_path, five_scenes) -> str:
    plan = build(parse(five_scenes), tmp_path / "locked.ndjson", access)
    box.clear()
    return str(plan.path)


def zip_of(plan: str | Path, number: int = 0) -> str:
    return [asset for asset in Plan(plan).assets() if asset.key == "data"][number].path


def bytes_requested(box) -> list[str]:
    return [one["path"] for one in box.requests() if one["path"].endswith((".zip", ".EOF"))]


def manifest(folder: Path) -> str:
    return TIMES.sub(r'"\1":""', (folder / "items.json").read_text())


def test_one_file_serves_snakemake_and_prefect_from_any_folder_and_gives_equal_manifests(
    box, server, flows, tmp_path
):
    page = (ROOT / "docs" / "orchestrators.md").read_text()
    config = next(text for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "my.yaml" in text)
    (tmp_path / "my.yaml").write_text(config)
    subprocess.run(
        [*SNAKEMAKE, "--configfile", "my.yaml", "--quiet", "all"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        check=True,
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run([sys.executable, str(SCRIPT), "../my.yaml"], cwd=elsewhere, check=True)
    assert manifest(elsewhere / "results") == manifest(tmp_path / "results")
    assert len(json.loads(manifest(elsewhere / "results"))["features"]) == 5

    box.clear()
    flows.stage(**yaml.safe_load(config), results=elsewhere / "results")
    assert bytes_requested(box) == [], "a second run asks the catalogues and no byte host"
    box.clear()
    plan = str(elsewhere / "results" / "plan.ndjson")
    flows.stage(plan=plan, results=elsewhere / "results")
    assert box.requests() == [], "with a plan, it asks nobody"


def test_the_example_for_interferograms_gives_the_same_by_both(box, server, tmp_path):
    config = ROOT / "config" / "insar.yaml"
    subprocess.run(
        [*SNAKEMAKE, "--configfile", config, "--quiet", "rules"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        check=True,
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    script = ROOT / "flows" / "insar_stack.py"
    subprocess.run([sys.executable, script, config], cwd=elsewhere, check=True)
    ours, theirs = elsewhere / "results", tmp_path / "results"
    assert manifest(ours) == manifest(theirs)
    assert Plan(ours / "plan.ndjson").header.totals.granules == 30
    assert (ours / "orbits/orbits.json").read_text() == (theirs / "orbits/orbits.json").read_text()
    assert below(ours / "isce2") == below(theirs / "isce2")
    assert len(list((ours / "isce2/SLC").iterdir())) == 30
    (raster,) = (ours / "dem").glob("*.tif")
    assert raster.read_bytes() == (theirs / "dem/p100_f466.tif").read_bytes()
    assert "S1A_IW_SLC" in (ours / "footprints.html").read_text()

    box.clear()
    flow = imported(script).insar_stack
    flow(plan=str(ours / "plan.ndjson"), results=ours, layout="isce2")
    assert box.requests() == []


def test_the_example_for_sentinel_2_gives_the_same_by_both(box, server, tmp_path):
    config = ROOT / "config" / "sentinel2.yaml"
    subprocess.run(
        [*SNAKEMAKE, "--configfile", config, "--quiet", "rules"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        check=True,
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    script = ROOT / "flows" / "sentinel2_bands.py"
    subprocess.run([sys.executable, script, config], cwd=elsewhere, check=True)
    ours, theirs = elsewhere / "results", tmp_path / "results"
    assert manifest(ours) == manifest(theirs)
    assert Plan(ours / "plan.ndjson").header.totals.granules == 7
    rasters = {
        path: (ours / "bands" / path).read_bytes() for path in below(ours / "bands") if path.endswith(".tif")
    }
    assert len(rasters) == 30, "one of seven is too cloudy; five bands each"
    assert {path for path in below(theirs / "bands") if path.endswith(".tif")} == set(rasters)
    assert all((theirs / "bands" / path).read_bytes() == content for path, content in rasters.items())
    assert (ours / "sheet.png").read_bytes() == (theirs / "sheet.png").read_bytes()

    box.clear()
    flow = imported(script).sentinel2_bands
    options = yaml.safe_load(config.read_text())
    before = {path: path.stat().st_mtime_ns for path in (ours / "bands").rglob("*.tif")}
    flow(**{**options, "plan": str(ours / "plan.ndjson")}, results=ours)
    assert box.requests() == []
    assert {path: path.stat().st_mtime_ns for path in (ours / "bands").rglob("*.tif")} == before


def below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_disk_that_holds_a_batch_is_enough(box, server, locked, tmp_path):
    from prefect import flow

    from skystage.prefect import fetch_slc, release_slc

    store = tmp_path / "store"

    @flow
    def one_by_one(*, released: bool) -> list[int]:
        moved = []
        for number in (1, 2):
            counts = fetch_slc(locked, store, number, 2, keys=["data"], released=released)
            moved.append(counts["bytes_moved"])
            assert len(list(store.rglob("*.zip"))) in {0, counts["staged"]}
            release_slc(locked, store, number, 2)
            assert not list(store.rglob("*.zip"))
        return moved

    assert all(one_by_one(released=False))
    assert not any(one_by_one(released=False))
    assert all(one_by_one(released=True))


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("stage", ["layout", "bands", "sheet"]),
        ("insar_stack", ["bands", "sheet"]),
        ("sentinel2_bands", ["layout"]),
    ],
)
def test_the_parameters_of_the_flows_are_the_keys_of_the_snakemake_config(server, name, without):
    schema = yaml.safe_load((ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text())
    flow = getattr(imported(ROOT / "flows" / f"{name}.py"), name)
    parameters = dict(inspect.signature(flow.fn).parameters)
    del parameters["results"]
    assert list(parameters) == [key for key in schema["properties"] if key not in without]
    for key, parameter in parameters.items():
        default = schema["properties"][key]["default"]
        assert (parameter.default or default) == default
    if "layout" in parameters:
        hints = typing.get_type_hints(flow.fn)
        assert list(typing.get_args(hints["layout"])) == schema["properties"]["layout"]["enum"]


def test_a_permanent_failure_is_not_retried_costs_nobody_else_and_is_named(
    box, flows, at_once, locked, tmp_path
):
    lost = zip_of(locked, 3)
    rule = {"match": {"path": f"*/{Path(lost).name}"}, "status": 404}
    box.set_faults([rule])
    state = flows.stage(
        plan=locked, results=tmp_path / "results", batch_granules=1, jobs=1, return_state=True
    )
    assert state.is_failed()
    assert f"1 of 1 assets failed, the first: {lost}: " in state.message
    assert len([one for one in box.requests() if one["status"] == 404]) == 1
    store = Store(tmp_path / "results" / "store")
    assert [asset.path for asset in Plan(locked).assets() if store.receipt(asset) is None] == [lost]


def test_a_transient_failure_that_outlasts_the_core_is_retried_by_prefect(
    box, flows, at_once, locked, tmp_path
):
    from skystage.retry import TRIES

    slow = zip_of(locked, 3)
    box.set_faults([{"match": {"path": f"*/{Path(slow).name}", "times": TRIES}, "status": 503}])
    flows.stage(plan=locked, results=tmp_path / "results", batch_granules=3)
    assert len([one for one in box.requests() if one["status"] == 503]) == TRIES
    assert len(json.loads(manifest(tmp_path / "results"))["features"]) == 5


def test_no_more_batches_are_under_way_than_the_window_holds(box, flows, locked, tmp_path):
    box.set_faults([{"match": {"host": "*.cloudfront.net"}, "latency": 0.7}])
    flows.stage(plan=locked, results=tmp_path / "results", batch_granules=1, jobs=1)
    busy = [one["busy"] for one in box.requests() if one["host"].endswith(".cloudfront.net")]
    assert len(busy) == 5
    assert max(busy) == flows.WINDOW == 4


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ServerFault("503"), True),
        (Throttled("429"), True),
        (NotFound("404"), False),
        (ChecksumMismatch("other bytes"), False),
        (QueryError("no such key"), False),
        (TypeError("a bug"), False),
        (Stopped("asked to"), False),
        (FetchFailed({"a": NotFound("404"), "b": ServerFault("503")}, 3), True),
        (FetchFailed({"a": NotFound("404")}, 3), False),
        (FetchFailed({"a": ServerFault("503"), "b": Stopped("asked to")}, 3), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_only_what_may_succeed_by_itself_is_tried_again(server, error, again):
    from prefect.states import Crashed, Failed

    from skystage.prefect import fetch_batch, is_transient

    assert is_transient(fetch_batch, None, Failed(data=error)) is again
    assert is_transient(fetch_batch, None, Crashed(data=error)) is again


def test_a_scene_without_its_orbit_fails_the_flow_unless_the_query_allows_it(box, flows, at_once, tmp_path):
    fiji = {"archive": "asf", "relative_orbit": 66, "processing_level": "SLC", "with": {"orbits": True}}
    state = flows.stage(fiji, tmp_path / "results", return_state=True)
    assert "orbit: no AUX_POEORB or AUX_RESORB covers it" in state.message
    flows.stage({**fiji, "allow_missing": ["orbit"]}, tmp_path / "results")
    assert len(json.loads(manifest(tmp_path / "results"))["features"]) == 2


def test_nothing_matched_is_a_failure_unless_empty_is_allowed(box, flows, tmp_path, with_orbits):
    nothing = {**with_orbits, "start": "2015-01-01", "end": "2015-01-02"}
    with pytest.raises(SkystageError, match="nothing is kept of 0 granules"):
        flows.stage(nothing, tmp_path / "results")
    flows.stage(nothing, tmp_path / "results", allow_empty=True)
    assert json.loads(manifest(tmp_path / "results"))["features"] == []


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (
            {"query": {"archive": "asf"}, "batch_granule": 3},
            "no key 'batch_granule'; allowed: query, plan, store",
        ),
        ({"query": {"archive": "asf", "relative_orbt": 3}}, "relative_orbt: archive 'asf' has no such key"),
        ({"jobs": 3}, "neither query nor plan is given"),
    ],
)
def test_a_wrong_configuration_ends_the_script_with_one_clear_line(
    box, flows, tmp_path, monkeypatch, capsys, config, line
):
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stage.py", "my.yaml"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr("skystage.prefect.flows._end_soon_when_told", lambda: None)
    with pytest.raises(SystemExit) as ended:
        flows.main(flows.stage, flows.__doc__)
    assert line in (str(ended.value) if isinstance(ended.value.code, str) else capsys.readouterr().err)
    assert box.requests() == []


@pytest.mark.parametrize("said", ["query", "plan"])
def test_bands_that_cannot_be_cut_are_found_before_anything_is_asked(box, flows, access, tmp_path, said):
    query = {"archive": "cdse", "collection": "SENTINEL-2", "tile": "31UFS", "product_type": "S2MSI2A"}
    query |= {"start": "2018-06-17", "end": "2018-06-17", "assets": ["B04_10m"]}
    asked: dict[str, typing.Any] = {"query": query}
    if said == "plan":
        asked = {"plan": str(build(parse(query), tmp_path / "locked.ndjson", access).path)}
        box.clear()
    flow = imported(ROOT / "flows" / "sentinel2_bands.py").sentinel2_bands
    with pytest.raises(QueryError, match="bands.max_cloud: the query brings no SCL"):
        flow(**asked, results=tmp_path / "results", bands={"max_cloud": 0.3})
    assert box.requests() == []


def test_a_product_that_cannot_be_cut_is_named_and_the_others_are_cut(box, access, server, tmp_path):
    from prefect import flow

    from skystage.prefect import contact_sheet, extract_bands, fetch_bands

    query = {"archive": "cdse", "collection": "SENTINEL-2", "tile": "31UFS", "product_type": "S2MSI2A"}
    query |= {"start": "2018-06-17", "end": "2018-06-20", "assets": ["SCL_20m"], "cloud_cover": {"max": 20}}
    plan = build(parse(query), tmp_path / "plan.ndjson", access)
    store = tmp_path / "store"
    lost, kept = plan.granules()

    @flow
    def cut() -> Path:
        fetch_bands(plan.path, store)
        (store / lost.assets[0].path).unlink()
        with pytest.raises(FetchFailed, match=f"{lost.id}: .* not staged"):
            extract_bands(plan.path, store, tmp_path / "bands")
        return contact_sheet(plan.path, store, tmp_path / "sheet.png", rasters=tmp_path / "bands")

    assert cut().read_bytes().startswith(b"\x89PNG")
    assert [path.parent.name for path in (tmp_path / "bands").rglob("*.tif")] == [kept.id]


@pytest.fixture
def script(server, tmp_path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start flows/stage.py on a config, with short pauses in the core and long ones in Prefect."""
    started: list[subprocess.Popen[bytes]] = []
    driver = tmp_path / "driver.py"
    driver.write_text(
        "import runpy, sys\nfrom skystage import retry\nretry.FIRST = 0.01\n"
        f"sys.argv = ['stage.py', *sys.argv[1:]]\nrunpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
    )

    def start(plan: str) -> subprocess.Popen[bytes]:
        (tmp_path / "my.yaml").write_text(yaml.safe_dump({"plan": plan, "jobs": 1, "batch_granules": 1}))
        with (tmp_path / "said.txt").open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, str(driver), "my.yaml"],
                cwd=tmp_path,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_sigterm_ends_the_flow_within_seconds_and_the_next_run_continues(
    open_box, access, flows, script, tmp_path, five_scenes
):
    box = open_box(payload_size=1_500_000)
    locked = str(build(parse(five_scenes), tmp_path / "locked.ndjson", access).path)
    # A file comes slowly, and another batch waits for its next try.
    slow, down = (Path(zip_of(locked, number)).name for number in (0, 1))
    box.set_faults(
        [
            {"match": {"path": f"*/{slow}", "host": "*.cloudfront.net"}, "bandwidth": 150_000},
            {"match": {"path": f"*/{down}"}, "status": 503},
        ]
    )
    process = script(locked)
    part = Store(tmp_path / "results" / "store").part(next(Plan(locked).assets()))
    until(lambda: part.read().size > 0, 60)
    until(lambda: b"try 2 in" in (tmp_path / "said.txt").read_bytes(), 60)
    process.terminate()
    assert process.wait(10) == 128 + signal.SIGTERM
    held = part.read().size
    assert held > 0

    box.set_faults(None)
    box.clear()
    flows.stage(plan=locked, results=tmp_path / "results", batch_granules=1)
    assert {Path(path).name for path in bytes_requested(box)} == {slow, down}
    assert f"bytes={held}-" in [one["range"] for one in box.requests()]


def test_the_flow_of_the_docs_stages_and_calls_stage_from_another_flow(box, flows, tmp_path, five_scenes):
    from prefect import flow

    page = (ROOT / "docs" / "orchestrators.md").read_text()
    code = next(text for text in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "my_flow.py" in text)
    (tmp_path / "my_flow.py").write_text(code)
    mine = imported(tmp_path / "my_flow.py")

    @flow
    def larger() -> tuple[list[str], Path]:
        names = mine.scenes(five_scenes, tmp_path / "mine")
        return names, flows.stage(five_scenes, tmp_path / "theirs")

    names, path = larger()
    assert names == [item["id"] for item in json.loads(path.read_text())["features"]]
    assert manifest(tmp_path / "mine") == manifest(tmp_path / "theirs")


def test_a_block_brings_the_credentials_and_shows_none_of_them(server, box, monkeypatch, tmp_path):
    from skystage.prefect import CdseCredentials
    from skystage.prefect.blocks import open_access
    from skystage.sandbox.accounts import PASSWORD, USER

    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    block = CdseCredentials(username=USER, password=PASSWORD, s3_access_key="KEY", s3_secret_key="WORD")
    block.save("mine", overwrite=True)
    assert not any(word in repr(block) + str(block) for word in (PASSWORD, "WORD"))
    access = open_access("cdse-credentials/mine")
    scheme = access.scheme("cdse")
    assert scheme.authorization("download.dataspace.copernicus.eu").startswith("Bearer ")
    assert scheme.secret.found == "Block"
    assert CdseCredentials.load("mine").secrets()["cdse-s3"].password == "WORD"
    assert not CdseCredentials().secrets()["cdse"]


def test_a_block_brings_masts_token_for_public_and_exclusive_data(server, box):
    from skystage.prefect import MastCredentials
    from skystage.prefect.blocks import open_access

    MastCredentials(token="words").save("mine", overwrite=True)
    access = open_access("mast-credentials/mine")
    for scheme in ("mast", "mast-exclusive"):
        assert access.scheme(scheme).authorization("mast.stsci.edu") == "token words"
    assert "words" not in repr(MastCredentials.load("mine"))


def test_a_block_of_another_kind_is_refused(server):
    from prefect.blocks.system import Secret

    from skystage.prefect.blocks import open_access

    Secret(value="x").save("other", overwrite=True)
    with pytest.raises(CredentialsMissing, match="cdse-credentials/NAME"):
        open_access("secret/other")
