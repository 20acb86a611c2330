from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from urllib.parse import parse_qs

import keyring
import pytest

from skystage import auth
from skystage.auth import Answer, Cdse, Earthdata, Mast, MastExclusive, Secret
from skystage.errors import CredentialsMissing, Interrupted, Unauthorized
from skystage.resume import Head

USER = Secret(username="ada", password="engine", found="argument")
VARIABLES = (
    *("EARTHDATA_TOKEN", "EARTHDATA_USERNAME", "EARTHDATA_PASSWORD"),
    *("CDSE_TOKEN", "CDSE_USERNAME", "CDSE_PASSWORD", "CDSE_TOTP", "CDSE_TOTP_SECRET"),
    *("CDSE_CLIENT_ID", "CDSE_CLIENT_SECRET"),
    *("CDSE_S3_ACCESS_KEY", "CDSE_S3_SECRET_KEY", "MAST_API_TOKEN"),
)


@pytest.fixture(autouse=True)
def no_credentials_of_the_machine(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


class Service:
    """A log-in service that gives tokens 1, 2, 3 ..., and remembers what it was asked."""

    def __init__(self, *, status: int = 200, body: object = None, **fields) -> None:
        self.asked: list[tuple[str, str, dict, dict]] = []
        self.status, self.body, self.fields = status, body, fields

    def __call__(self, method, url, headers, content) -> Answer:
        self.asked.append((method, url, dict(headers), parse_qs(content.decode())))
        body = self.body or {"access_token": f"t{len(self.asked)}", **self.fields}
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Answer(Head(status=self.status), text)


def test_a_secret_shows_nothing_of_itself():
    shown = repr(Secret(username="ada", password="engine", token="tok", one_time="1"))
    for word in ("ada", "engine", "tok"):
        assert word not in shown


def test_an_account_is_told_apart_without_telling_who_it_is():
    assert USER.account != Secret(username="bob", password="x").account
    assert "ada" not in USER.account


def test_credentials_are_looked_for_in_argument_then_environment_then_netrc(monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine urs.earthdata.nasa.gov login n password p\n")
    (tmp_path / "netrc").chmod(0o600)
    assert Earthdata(Service()).secret.username == "n"
    monkeypatch.setenv("EARTHDATA_USERNAME", "e")
    assert Earthdata(Service()).secret.username == "n"  # half a pair is none
    monkeypatch.setenv("EARTHDATA_PASSWORD", "p")
    assert Earthdata(Service()).secret.username == "e"
    assert Earthdata(Service(), USER).secret.username == "ada"


def test_a_broken_netrc_is_named_without_quoting_it(tmp_path):
    (tmp_path / "netrc").write_text("machine urs.earthdata.nasa.gov login n passwrd hunter2\n")
    with pytest.raises(CredentialsMissing) as caught:
        Earthdata(Service())
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "netrc" in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        "dy4owt9f80bz7.cloudfront.net",
        "s3.us-west-2.amazonaws.com",
        "asf.alaska.edu.evil.org",
        "evilasf.alaska.edu",
        "download.dataspace.copernicus.eu",
    ],
)
def test_earthdata_gives_nothing_to_foreign_hosts(host):
    service = Service()
    assert Earthdata(service, USER).authorization(host) is None
    assert service.asked == []


def test_earthdata_gives_the_token_to_its_hosts_and_the_password_to_the_login_only():
    service = Service()
    scheme = Earthdata(service, USER)
    assert scheme.authorization("datapool.asf.alaska.edu") == "Bearer t1"
    assert scheme.authorization("sentinel1.asf.alaska.edu") == "Bearer t1"
    assert scheme.authorization("urs.earthdata.nasa.gov") == "Basic YWRhOmVuZ2luZQ=="
    assert [asked[1] for asked in service.asked] == [
        "https://urs.earthdata.nasa.gov/api/users/find_or_create_token"
    ]


def test_a_given_token_is_used_as_it_is_and_cannot_be_renewed():
    service = Service()
    scheme = Earthdata(service, Secret(token="mine"))
    assert scheme.authorization("datapool.asf.alaska.edu") == "Bearer mine"
    assert scheme.authorization("urs.earthdata.nasa.gov") == "Bearer mine"
    assert not scheme.renew("Bearer mine")
    assert service.asked == []


def test_a_refused_token_is_renewed_once_for_all_threads():
    service = Service()
    scheme = Earthdata(service, USER)
    first = scheme.authorization("datapool.asf.alaska.edu")
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(scheme.renew(first))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8
    assert len(service.asked) == 2
    assert scheme.authorization("datapool.asf.alaska.edu") == "Bearer t2"


def test_a_service_that_gives_the_same_token_again_is_not_asked_for_ever():
    scheme = Earthdata(Service(body={"access_token": "same"}), USER)
    assert not scheme.renew(scheme.authorization("datapool.asf.alaska.edu"))


@pytest.mark.parametrize("scheme", [Earthdata, Cdse])
def test_missing_credentials_name_variable_host_and_page(scheme):
    made = scheme(Service())
    with pytest.raises(CredentialsMissing) as caught:
        made.authorization(made.domains[0])
    assert "https://" in caught.value.hint
    assert scheme.name.upper() in caught.value.hint
    assert "netrc" in caught.value.hint


@pytest.mark.parametrize("scheme", [Earthdata, Cdse])
def test_refused_credentials_say_where_they_were_found(scheme):
    made = scheme(Service(status=401, body={"error": "invalid"}), USER)
    with pytest.raises(Unauthorized) as caught:
        made.authorization(made.domains[0])
    assert "argument" in caught.value.hint
    assert "engine" not in repr(caught.value)


@pytest.mark.parametrize("body", [b"<html>", b"[]"])
def test_a_login_page_instead_of_json_is_a_passing_fault(body):
    with pytest.raises(Interrupted):
        Earthdata(Service(body=body), USER).authorization("datapool.asf.alaska.edu")


def test_cdse_gives_nothing_to_its_own_login_and_to_foreign_hosts():
    scheme = Cdse(Service(), USER)
    assert scheme.authorization("identity.dataspace.copernicus.eu") is None
    assert scheme.authorization("s1-orbits.s3.amazonaws.com") is None


def test_a_cdse_token_is_refreshed_before_it_dies_and_the_password_is_sent_once(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(auth.time, "time", lambda: clock[0])
    service = Service(expires_in=600, refresh_token="r", refresh_expires_in=3600)
    scheme = Cdse(service, USER)
    host = "download.dataspace.copernicus.eu"
    assert scheme.authorization(host) == "Bearer t1"
    clock[0] += 479
    assert scheme.authorization(host) == "Bearer t1"
    clock[0] += 2
    assert scheme.authorization(host) == "Bearer t2"
    grants = [asked[3]["grant_type"] for asked in service.asked]
    assert grants == [["password"], ["refresh_token"]]


def test_a_dead_refresh_token_falls_back_to_the_password(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(auth.time, "time", lambda: clock[0])
    service = Service(expires_in=600, refresh_token="r", refresh_expires_in=700)
    scheme = Cdse(service, USER)
    scheme.authorization("download.dataspace.copernicus.eu")
    clock[0] += 701
    scheme.authorization("download.dataspace.copernicus.eu")
    assert [asked[3]["grant_type"][0] for asked in service.asked] == ["password", "password"]


def test_a_refused_refresh_token_falls_back_to_the_password():
    def refuse_refresh(method, url, headers, content):
        if b"refresh_token" in content:
            return Answer(Head(status=400), b"{}")
        return service(method, url, headers, content)

    service = Service(expires_in=600, refresh_token="r", refresh_expires_in=3600)
    scheme = Cdse(refuse_refresh, USER)
    first = scheme.authorization("download.dataspace.copernicus.eu")
    assert scheme.renew(first)
    assert scheme.renew(first)  # another thread came first
    assert len(service.asked) == 2


def test_two_factor_accounts_send_their_one_time_password():
    service = Service()
    Cdse(service, Secret(username="a", password="b", one_time="123456")).authorization(
        "download.dataspace.copernicus.eu"
    )
    assert service.asked[0][3]["totp"] == ["123456"]


def test_a_given_cdse_token_is_not_renewed():
    scheme = Cdse(Service(), Secret(token="mine"))
    assert scheme.authorization("download.dataspace.copernicus.eu") == "Bearer mine"
    assert not scheme.renew("Bearer mine")


def test_the_keys_for_eodata_are_looked_for_as_everything_else(monkeypatch, tmp_path):
    with pytest.raises(CredentialsMissing, match="CDSE_S3_ACCESS_KEY"):
        auth.eodata_keys(None)
    (tmp_path / "netrc").write_text("machine eodata.dataspace.copernicus.eu login KEY password WORD\n")
    (tmp_path / "netrc").chmod(0o600)
    assert auth.eodata_keys(None) == Secret(username="KEY", password="WORD", found=str(tmp_path / "netrc"))
    monkeypatch.setenv("CDSE_S3_ACCESS_KEY", "key")
    monkeypatch.setenv("CDSE_S3_SECRET_KEY", "word")
    assert auth.eodata_keys(None).username == "key"
    assert auth.eodata_keys(USER) is USER


# --------------------------------------------------------------------------------------------------
# MAST


class Ring(keyring.backend.KeyringBackend):
    """A keyring that holds what astroquery stores, or is locked."""

    priority = -1  # never chosen but here
    token: str | None = "k"
    locked = False

    def get_password(self, service, username):
        if self.locked:
            raise keyring.errors.KeyringLocked
        assert (service, username) == ("astroquery:mast.stsci.edu.token", "masttoken")
        return self.token

    def set_password(self, service, username, password): ...

    def delete_password(self, service, username): ...


@pytest.fixture
def ring():
    before = keyring.get_keyring()
    keyring.set_keyring(Ring())
    yield keyring.get_keyring()
    keyring.set_keyring(before)


def test_masts_token_is_looked_for_in_argument_environment_netrc_and_keyring(monkeypatch, tmp_path, ring):
    assert (Mast(Service()).secret.token, Mast(Service()).secret.found) == ("k", "keyring")
    (tmp_path / "netrc").write_text("machine mast.stsci.edu login token password n\n")
    (tmp_path / "netrc").chmod(0o600)
    assert Mast(Service()).secret.token == "n"
    monkeypatch.setenv("MAST_API_TOKEN", "e")
    assert Mast(Service()).secret.token == "e"
    assert Mast(Service(), Secret(token="a")).secret.token == "a"


def test_a_keyring_that_is_empty_or_locked_is_none(ring):
    ring.token = None
    assert not Mast(Service()).secret
    ring.locked = True
    assert not Mast(Service()).secret


@pytest.mark.parametrize("variable", ["MAST_API_TOKEN", "EARTHDATA_TOKEN", "CDSE_TOKEN"])
def test_a_token_is_one_line_and_what_is_none_is_not_repeated(variable, monkeypatch):
    scheme = {"MAST_API_TOKEN": Mast, "EARTHDATA_TOKEN": Earthdata, "CDSE_TOKEN": Cdse}[variable]
    monkeypatch.setenv(variable, " word\r\n")
    assert scheme(Service()).secret.token == "word"
    for wrong in ("secret\nX-Header: 1", "sécret", "se cret", "secret\x1b"):
        monkeypatch.setenv(variable, wrong)
        with pytest.raises(CredentialsMissing, match=r"the token \(environment\) has characters") as caught:
            scheme(Service())
        assert "cret" not in str(caught.value)


def test_a_keyring_that_cannot_be_loaded_is_none():
    """One that the environment names, of a package that is not there."""
    program = "from skystage.auth import Mast; print(bool(Mast(None).secret))"
    environment = {**os.environ, "PYTHON_KEYRING_BACKEND": "no_such_package.Keyring"}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=False, capture_output=True, text=True
    )
    assert (ended.stdout, ended.stderr) == ("False\n", "")


def test_masts_token_goes_to_its_hosts_alone():
    mast = Mast(Service(), Secret(token="t"))
    assert mast.authorization("mast.stsci.edu") == "token t"
    for host in (
        "stpubdata.s3.amazonaws.com",
        "notmast.stsci.edu",
        "mast.stsci.edu.example.org",
        "stsci.edu",
    ):
        assert mast.authorization(host) is None
        assert MastExclusive(Service(), Secret(token="t")).authorization(host) is None


def test_public_data_need_no_token_and_come_without_one_that_is_refused(ring):
    ring.token = None
    assert Mast(Service()).authorization("mast.stsci.edu") is None
    mast = Mast(Service(), Secret(token="t"))
    assert mast.renew("token t")
    assert mast.authorization("mast.stsci.edu") is None


def test_exclusive_data_need_a_token_that_lives(ring):
    ring.token = None
    with pytest.raises(CredentialsMissing, match="exclusive access"):
        MastExclusive(Service()).authorization("mast.stsci.edu")
    with pytest.raises(Unauthorized, match="refused") as caught:
        MastExclusive(Service(), Secret(token="t", found="argument")).renew("token t")
    assert "60 in all" in caught.value.hint
