"""Every example in README and docs runs: Python as it stands, commands as a person types them."""

from __future__ import annotations

import os
import re
import shlex
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


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in ELSEWHERE], ids=lambda p: p.name)
def test_every_query_in_the_docs_can_be_asked(page, tmp_path):
    import yaml

    from skystage import query

    for number, text in enumerate(blocks(page, "yaml")):
        for one in yaml.safe_load_all(text):
            if isinstance(one, dict) and one.get("archive") in {"asf", "safe"}:
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


def test_every_command_is_in_the_readme():
    from skystage import cli

    readme = (ROOT / "README.md").read_text()
    commands = next(action for action in cli._parser("")._actions if action.choices).choices
    for name in commands:
        assert f"{name}" in readme


def test_the_configuration_example_is_what_the_workflow_and_the_flow_take():
    import yaml

    from skystage import query

    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    schema = yaml.safe_load((ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text())
    assert set(config) <= set(schema["properties"])
    assert query.parse(config["query"]).archive == "asf"
