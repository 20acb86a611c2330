from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from skystage import settings
from skystage.errors import QueryError, StoreError
from skystage.limits import Limits
from skystage.settings import HostLimit

STRANGER = 65534
"""The number of another user; tests can become it where they run as root."""


def as_somebody_else(act) -> str:
    """What `act` returns, or raises, in a process of another user, or else of this one."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            if os.getuid() == 0:
                os.setgid(STRANGER)
                os.setuid(STRANGER)
            os.write(writing, str(act()).encode())
        except BaseException as error:  # noqa: BLE001 - the parent is to know
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as said:
        return said.read()


@pytest.fixture
def open_folder():
    """A folder that other users reach too; pytest's own they do not."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o777)
    yield made
    shutil.rmtree(made)


def test_a_configuration_file_is_read_where_the_user_says(tmp_path, monkeypatch):
    monkeypatch.setenv("SKYSTAGE_CONFIG", str(tmp_path / "c.yaml"))
    assert settings.configured() == {}
    (tmp_path / "c.yaml").write_text("limits:\n  H.org: {connections: 4, rate: 2.5, bandwidth: 10MB}\n")
    assert settings.configured() == {"h.org": HostLimit(connections=4, rate=2.5, bandwidth=1e7)}
    assert Limits(directory=tmp_path).of("h.org").connections == 4
    monkeypatch.delenv("SKYSTAGE_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert settings.config_file() == tmp_path / "skystage" / "config.yaml"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("limits: {h: {connections: 0}}", "h: connections: 0 is not a whole number"),
        ("limits: {h: {connections: many}}", "'many' is not a whole number"),
        ("limits: {h: {connections: true}}", "True is not a whole number"),
        ("limits: {h: {rate: -1}}", "h: rate: -1 is not a number of more than 0"),
        ("limits: {h: {rate: .nan}}", "nan is not a number"),
        ("limits: {h: {conections: 4}}", "h: no key 'conections'; did you mean 'connections'?"),
        ("limits: {h: {bandwith: 4}}", "did you mean 'bandwidth'?"),
        ("limits: {h: {xyz: 4}}", "known: connections, rate, bandwidth, daily_bytes"),
        ("limit: {h: {rate: 4}}", "no key 'limit'; did you mean 'limits'?"),
        ("limits: {h: {bandwidth: 10}}", "h: bandwidth: 10 is less than 100 kB a second"),
        ("limits: {h: {daily_bytes: 10Mb}}", "h: daily_bytes: '10Mb' is not a size: write bytes"),
        ("limits: {'https://h/': {connections: 4}}", "expected the name of a host"),
        ("limits: {h: 4}", "h: 4 is not a mapping"),
        ("limits: 4", "expected limits"),
        ("limits: [a", "while parsing"),
        ("- a", "the file: ['a'] is not a mapping"),
    ],
)
def test_a_broken_configuration_is_one_line_that_shows_the_form(tmp_path, text, complaint):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(QueryError, match="expected limits:") as caught:
        settings.configured(path)
    assert complaint in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_example_is_a_configuration():
    example = Path(__file__).resolve().parent.parent / "config" / "limits.yaml"
    limits = Limits(settings.configured(example), example.parent)
    assert limits.of("zipper.dataspace.copernicus.eu") == HostLimit(
        connections=4, bandwidth=2e7, daily_bytes=4e11
    )
    assert limits.of("sentinel1.asf.alaska.edu") == HostLimit(connections=4, rate=2.5, bandwidth=6e7)


def test_a_configuration_that_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(QueryError, match="cannot be read"):
        settings.configured(tmp_path)


@pytest.mark.parametrize(
    ("said", "count"),
    [
        (1500, 1500),
        ("1500", 1500),
        ("1500 B", 1500),
        ("10MB", 10**7),
        ("10 kB", 10**4),
        ("10KB", 10**4),
        ("1.5 GB", 1.5e9),
        ("500 GB", 5e11),
        ("2 TiB", 2 * 2**40),
        (" 10 KiB ", 10240),
    ],
)
def test_a_size_is_bytes_or_has_a_unit(said, count):
    assert settings.size(said) == count


@pytest.mark.parametrize("said", ["10Mb", "10M", "10iB", "ten MB", "", "-1 MB", 0, "0 MB", True, None, 1e999])
def test_what_may_be_read_in_two_ways_is_no_size(said):
    with pytest.raises(ValueError, match="10MB .10.6 bytes"):
        settings.size(said)


def test_the_state_lies_where_the_user_says_else_in_the_state_home_else_in_the_temporary_folder(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("SKYSTAGE_STATE", str(tmp_path / "mine"))
    assert settings.state_directory() == tmp_path / "mine"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKYSTAGE_STATE", "mine")
    assert settings.state_directory() == tmp_path / "mine"
    monkeypatch.delenv("SKYSTAGE_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert settings.state_directory() == tmp_path / "state" / "skystage"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")  # XDG: to be ignored
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settings.state_directory() == tmp_path / ".local" / "state" / "skystage"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert settings.state_directory() == tmp_path / f"skystage-{os.getuid()}"


def test_a_home_of_somebody_else_is_not_written_to(open_folder, monkeypatch):
    monkeypatch.delenv("SKYSTAGE_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(open_folder))
    monkeypatch.setattr(tempfile, "tempdir", str(open_folder))
    (open_folder / "skystage").mkdir()
    (open_folder / "skystage").chmod(0o555)
    said = as_somebody_else(settings.state_directory)
    assert said.startswith(f"{open_folder}/skystage-")


def test_a_folder_that_somebody_else_laid_out_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("SKYSTAGE_STATE", raising=False)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"skystage-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="belongs to somebody else"):
        settings.state_directory()


def test_two_users_have_limits_of_their_own_and_a_shared_folder_that_is_closed_is_one_line(
    open_folder, monkeypatch
):
    monkeypatch.setenv("SKYSTAGE_STATE", str(open_folder))
    Limits({}).acquire("me", "h").free()
    (open_folder / "limits" / "me@h").chmod(0o555)

    def other() -> object:
        return Limits({}).acquire("me", "g")

    (open_folder / "limits").chmod(0o555)
    assert "SKYSTAGE_STATE" in as_somebody_else(other)
