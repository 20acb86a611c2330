"""The token that all processes of an account share: one log-in, whoever dies, waits or guesses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skystage import tokens, totp
from skystage.auth import EODATA, Answer, Cdse, Secret
from skystage.batch import fetch_all
from skystage.errors import CredentialsMissing, Interrupted, ServerFault, StoreError, Throttled, Unauthorized
from skystage.fetch import fetch_asset
from skystage.locks import Lock
from skystage.model import Asset, Source
from skystage.resume import Head
from skystage.sandbox.accounts import (
    CAREFUL,
    CDSE,
    CLIENT,
    CLIENT_SECRET,
    PASSWORD,
    S3_KEY,
    S3_SECRET,
    SENTINEL_HUB,
    TOTP_SECRET,
    USER,
)
from skystage.sandbox.copernicus import products
from skystage.store import Store
from skystage.tokens import Shared, Token, parse
from skystage.transport import Access

IDENTITY = "identity.dataspace.copernicus.eu"
DOWNLOAD = "download.dataspace.copernicus.eu"
ADA = Secret(username="ada", password="engine", found="argument")
NOW = 1_700_000_000.0


@pytest.fixture(autouse=True)
def no_credentials_of_the_machine(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("CDSE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


class Service:
    """An identity service that gives tokens t1, t2, ..., or answers what it is told to."""

    def __init__(self, *answers: tuple[int, object], headers: dict[str, str] | None = None, **fields) -> None:
        self.forms: list[dict[str, str]] = []
        self.answers = list(answers)
        self.headers = headers or {}
        self.fields = {"expires_in": 600, "refresh_token": "r", "refresh_expires_in": 3600, **fields}
        self.mutex = threading.Lock()

    def __call__(self, method, url, headers, content) -> Answer:
        with self.mutex:
            self.forms.append({key: value[0] for key, value in parse_qs(content.decode()).items()})
            said = {"access_token": f"t{len(self.forms)}", **self.fields}
            status, body = self.answers.pop(0) if self.answers else (200, said)
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Answer(Head(status=status, headers=self.headers), text)

    @property
    def grants(self) -> list[str]:
        return [form["grant_type"] for form in self.forms]


REFUSED = (401, {"error": "invalid_grant", "error_description": "Invalid user credentials"})


@pytest.fixture
def clock(monkeypatch):
    now = [NOW]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / f"tokens-{os.geteuid()}"


def held(tmp_path: Path) -> list[Path]:
    return sorted(directory(tmp_path).glob("*.json"))


# --------------------------------------------------------------------------------------------------
# What is known of a token

TOKEN = Token(access="a", refresh="r", made=NOW, expires=600.0, refresh_expires=3600.0)


@pytest.mark.parametrize(
    ("after", "fresh", "alive", "refreshable"),
    [
        (0, True, True, True),
        (479, True, True, True),
        (481, False, True, True),
        (601, False, False, True),
        (3601, False, False, False),
        (-0.5, True, True, True),
        (-3600, False, False, True),  # the clock was set back: its age is not known
    ],
)
def test_a_token_is_refreshed_before_it_dies(after, fresh, alive, refreshable):
    now = NOW + after
    assert (TOKEN.fresh(now), TOKEN.alive(now), TOKEN.refreshable(now)) == (fresh, alive, refreshable)


def test_nothing_is_neither_fresh_nor_alive():
    assert not Token().fresh(0.0)
    assert not Token().alive(0.0)
    assert not Token().refreshable(0.0)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Unauthorized("m", hint="h"), tokens.REMEMBERED),
        (Throttled("m", retry_after=40.0), 40.0),
        (ServerFault("m"), tokens.BRIEFLY),
    ],
)
def test_what_the_service_said_is_remembered_for_a_while(error, seconds):
    known = TOKEN.failed(error, NOW, "factor")
    with pytest.raises(type(error), match="m"):
        known.check(NOW + seconds - 0.5, "factor")
    known.check(NOW + seconds + 0.5, "factor")
    known.check(NOW - 86_400 * 2, "factor")  # a clock that was set back makes it void
    assert (known.access, known.refresh) == ("a", "r")


def test_another_second_factor_may_be_tried_at_once_but_not_a_service_that_is_overrun():
    TOKEN.failed(Unauthorized("m"), NOW, "one").check(NOW, "two")
    with pytest.raises(Throttled) as caught:
        TOKEN.failed(Throttled("m", retry_after=9.0), NOW, "one").check(NOW + 1, "two")
    assert caught.value.retry_after == 8.0


words = st.one_of(
    st.text(max_size=5), st.floats(), st.integers(), st.none(), st.lists(st.integers(), max_size=3)
)
records = st.dictionaries(st.sampled_from([*Token.__dataclass_fields__, "of a newer version"]), words)


@given(st.one_of(st.binary(), records.map(lambda said: json.dumps(said).encode())))
def test_whatever_a_file_holds_is_a_token_or_none(text):
    known = parse(text)
    assert known.fresh(NOW) in (True, False)
    assert known.alive(NOW) in (True, False)
    known.refreshable(NOW)
    known.check(NOW, "")


def test_a_token_survives_its_file():
    assert parse(json.dumps(json.loads(json.dumps(tokens.asdict(TOKEN)))).encode()) == TOKEN
    for word in ("'a'", "'r'"):
        assert word not in repr(TOKEN)


# --------------------------------------------------------------------------------------------------
# The file


def test_only_the_owner_can_read_it_and_it_names_neither_user_nor_password(tmp_path):
    umask = os.umask(0)
    try:
        Cdse(Service(access_token="very-secret"), ADA).authorization(DOWNLOAD)
    finally:
        os.umask(umask)
    (path,) = held(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    kept = b"".join(one.read_bytes() for one in (tmp_path / "state").rglob("*") if one.is_file())
    names = " ".join(str(one) for one in (tmp_path / "state").rglob("*"))
    for word in ("ada", "engine"):
        assert word.encode() not in kept
        assert word not in names.replace(str(tmp_path), "")
    others = [one for one in (tmp_path / "state").rglob("*") if one.is_file() and one != path]
    assert not any(b"very-secret" in one.read_bytes() for one in others)


def test_a_wrong_password_does_not_get_the_right_ones_token(tmp_path):
    service = Service()
    assert Cdse(service, ADA).authorization(DOWNLOAD) == "Bearer t1"
    service.answers = [REFUSED]
    with pytest.raises(Unauthorized):
        Cdse(service, Secret(username="ada", password="wrong")).authorization(DOWNLOAD)
    assert Cdse(service, ADA).authorization(DOWNLOAD) == "Bearer t1"
    assert len(service.forms) == 2


def test_the_names_of_one_directory_say_nothing_in_another(tmp_path, monkeypatch):
    first = Shared(("cdse", "ada", "engine"))
    again = Shared(("cdse", "ada", "engine"))
    monkeypatch.setenv("SKYSTAGE_STATE", str(tmp_path / "elsewhere"))
    assert first._name == again._name != Shared(("cdse", "ada", "engine"))._name


@pytest.mark.parametrize("content", [b"", b'{"access": "t9", "made"', b"[]", b"\x00" * 99], ids=str)
def test_a_torn_file_is_no_token(tmp_path, content):
    service = Service()
    Cdse(service, ADA).authorization(DOWNLOAD)
    (path,) = held(tmp_path)
    path.write_bytes(content)
    assert Cdse(service, ADA).authorization(DOWNLOAD) == "Bearer t2"
    assert Cdse(service, ADA).authorization(DOWNLOAD) == "Bearer t2"


def test_a_file_that_others_can_read_or_that_is_a_link_is_no_token(tmp_path):
    service = Service()
    Cdse(service, ADA).authorization(DOWNLOAD)
    (path,) = held(tmp_path)
    path.chmod(0o640)
    assert Cdse(service, ADA).authorization(DOWNLOAD) == "Bearer t2"
    assert path.stat().st_mode & 0o777 == 0o600
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert Cdse(service, ADA).authorization(DOWNLOAD) == "Bearer t3"
    assert not path.is_symlink()


def test_a_torn_salt_is_made_anew(tmp_path):
    service = Service()
    Cdse(service, ADA).authorization(DOWNLOAD)
    (directory(tmp_path) / "salt").write_bytes(b"half")
    assert Cdse(service, ADA).authorization(DOWNLOAD) == "Bearer t2"
    assert Cdse(service, ADA).authorization(DOWNLOAD) == "Bearer t2"


def test_many_processes_agree_on_one_salt(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        names = set(pool.map(lambda _: Shared(("cdse", "ada", "engine"))._name, range(16)))
    assert len(names) == 1
    assert not list(directory(tmp_path).glob("salt-*"))


def test_what_a_killed_process_left_goes_when_it_is_old(tmp_path):
    Cdse(Service(), ADA).authorization(DOWNLOAD)
    old, new = (directory(tmp_path) / name for name in ("dead.json-1-1", "young.json-1-1"))
    for path in (old, new):
        path.touch()
    os.utime(old, (1, 1))
    Cdse(Service(), Secret(username="eve", password="x")).authorization(DOWNLOAD)
    assert (old.exists(), new.exists()) == (False, True)
    assert len(held(tmp_path)) == 2


@pytest.mark.parametrize("spoil", ["mode", "link", "file", "read-only"])
def test_where_others_may_look_nothing_is_written_and_the_log_in_works(tmp_path, spoil):
    path = directory(tmp_path)
    path.parent.mkdir()
    if spoil == "mode":
        path.mkdir()
        path.chmod(0o755)
    elif spoil == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        path.symlink_to(tmp_path / "elsewhere")
    elif spoil == "file":
        path.touch()
    elif os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    else:
        path.parent.chmod(0o500)
    service = Service()
    scheme = Cdse(service, ADA)
    assert scheme.authorization(DOWNLOAD) == "Bearer t1"
    assert scheme.authorization(DOWNLOAD) == "Bearer t1"
    assert scheme.renew("Bearer t1")
    assert service.grants == ["password", "refresh_token"]
    assert scheme.shared().problem
    assert scheme.shared().fix
    path.parent.chmod(0o700)
    assert not any(b"t2" in one.read_bytes() for one in tmp_path.rglob("*") if one.is_file())


def test_a_directory_that_is_taken_away_meanwhile_is_a_typed_error(tmp_path):
    scheme = Cdse(Service(), ADA)
    scheme.shared()
    for one in directory(tmp_path).iterdir():
        one.unlink()
    directory(tmp_path).rmdir()
    directory(tmp_path).touch()
    with pytest.raises(StoreError, match="no lock can be made"):
        scheme.authorization(DOWNLOAD)


@pytest.mark.parametrize("spoil", ["the directory goes", "a folder stands there"])
def test_what_cannot_be_written_is_not_shared_and_not_lost(tmp_path, spoil):
    shared = Shared(("cdse", "ada", "engine"))
    if spoil == "the directory goes":
        shutil.rmtree(directory(tmp_path))
    else:
        (directory(tmp_path) / f"{shared._name}.json" / "x").mkdir(parents=True)
    assert shared.read() == Token()
    shared.write(TOKEN)
    assert shared.problem
    assert "SKYSTAGE_STATE" in shared.fix
    assert shared.read() == TOKEN
    assert shared.lock() is None
    assert not any(path.is_file() and b'"r"' in path.read_bytes() for path in tmp_path.rglob("*"))


# --------------------------------------------------------------------------------------------------
# One at a time


def test_of_many_schemes_one_logs_in():
    service = Service()
    with ThreadPoolExecutor(20) as pool:
        got = set(pool.map(lambda _: Cdse(service, ADA).authorization(DOWNLOAD), range(40)))
    assert got == {"Bearer t1"}
    assert service.grants == ["password"]


def test_eight_refusals_at_the_same_time_cost_one_refresh():
    service = Service()
    schemes = [Cdse(service, ADA) for _ in range(8)]
    refused = {scheme.authorization(DOWNLOAD) for scheme in schemes}
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda scheme: scheme.renew("Bearer t1", "DAT-ZIP-109"), schemes))
    assert refused == {"Bearer t1"}
    assert {scheme.authorization(DOWNLOAD) for scheme in schemes} == {"Bearer t2"}
    assert service.grants == ["password", "refresh_token"]


def test_while_one_refreshes_the_others_go_on_with_what_still_lives(tmp_path, clock):
    service = Service()
    scheme = Cdse(service, ADA)
    scheme.authorization(DOWNLOAD)
    clock[0] += 500
    with Lock(directory(tmp_path) / "log-in.lock"):
        assert scheme.authorization(DOWNLOAD) == "Bearer t1"
    assert scheme.authorization(DOWNLOAD) == "Bearer t2"


def test_one_that_is_suspended_while_it_logs_in_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(Cdse, "WAIT", 0.1)
    service = Service()
    scheme = Cdse(service, ADA)
    scheme.shared()
    with Lock(directory(tmp_path) / "log-in.lock"):
        assert scheme.authorization(DOWNLOAD) == "Bearer t1"


def test_a_token_that_another_process_got_is_used(clock):
    service = Service()
    first, second = Cdse(service, ADA), Cdse(service, ADA)
    first.authorization(DOWNLOAD)
    second.authorization(DOWNLOAD)
    clock[0] += 500
    assert first.authorization(DOWNLOAD) == second.authorization(DOWNLOAD) == "Bearer t2"
    assert first.renew("Bearer t1")  # a late word: it is another already
    assert service.grants == ["password", "refresh_token"]


def test_a_clock_that_is_set_back_costs_a_refresh_and_one_that_jumps_ahead_a_log_in(clock):
    service = Service()
    Cdse(service, ADA).authorization(DOWNLOAD)
    clock[0] -= 86_400
    assert Cdse(service, ADA).authorization(DOWNLOAD) == "Bearer t2"
    clock[0] += 86_400
    assert Cdse(service, ADA).authorization(DOWNLOAD) == "Bearer t3"
    assert service.grants == ["password", "refresh_token", "password"]


def test_a_host_that_wants_no_token_is_not_given_ever_new_ones():
    service = Service()
    scheme = Cdse(service, ADA)
    word = scheme.authorization(DOWNLOAD)
    tries = 0
    while scheme.renew(word):
        word = scheme.authorization(DOWNLOAD)
        tries += 1
    assert tries == Cdse.DOUBTS
    assert not scheme.renew(word, "DAT-ZIP-604")
    assert len(service.forms) == 1 + Cdse.DOUBTS


def test_a_client_that_may_not_download_is_not_renewed():
    service = Service()
    scheme = Cdse(service, Secret(client_id="c", client_secret="s"))
    word = scheme.authorization(DOWNLOAD)
    assert not scheme.renew(word, '{"code": "DAT-ZIP-609", "message": "Token audience not allowed"}')
    assert service.grants == ["client_credentials"]


# --------------------------------------------------------------------------------------------------
# What the service may say


def test_a_wrong_password_is_asked_once_by_all_processes_and_the_right_one_at_once(clock):
    service = Service(REFUSED)
    wrong = Secret(username="ada", password="wrong", found="argument")
    scheme = Cdse(service, wrong)
    for _ in range(3):
        with pytest.raises(Unauthorized, match="two factors"):
            scheme.authorization(DOWNLOAD)
    with pytest.raises(Unauthorized, match="not asked again"):
        Cdse(service, wrong).authorization(DOWNLOAD)
    assert len(service.forms) == 1
    assert Cdse(service, ADA).authorization(DOWNLOAD) == "Bearer t2"
    clock[0] += tokens.REMEMBERED + 1
    service.answers = [REFUSED]
    with pytest.raises(Unauthorized):
        Cdse(service, wrong).authorization(DOWNLOAD)
    assert len(service.forms) == 3


def test_who_mended_the_account_can_have_it_asked_again():
    service = Service(REFUSED)
    with pytest.raises(Unauthorized):
        Cdse(service, ADA).authorization(DOWNLOAD)
    scheme = Cdse(service, ADA)
    scheme.forget_refusals()
    assert scheme.authorization(DOWNLOAD) == "Bearer t2"


@pytest.mark.parametrize(
    ("answer", "headers", "error"),
    [
        ((429, b"<html>slow down</html>"), {"retry-after": "40"}, Throttled),
        ((503, b"<html>"), {}, ServerFault),
        ((200, b"<html>maintenance</html>"), {}, Interrupted),
        ((200, {"token_type": "Bearer"}), {}, Interrupted),
        ((200, {"access_token": "t", "expires_in": "soon"}), {}, Interrupted),
    ],
)
def test_a_service_that_fails_is_left_alone_by_all_processes(clock, answer, headers, error):
    service = Service(answer, headers=headers)
    with pytest.raises(error) as caught:
        Cdse(service, ADA).authorization(DOWNLOAD)
    assert caught.value.transient
    with pytest.raises(error) as again:
        Cdse(service, ADA).authorization(DOWNLOAD)
    assert again.value.retry_after > 0
    assert len(service.forms) == 1
    clock[0] += 41
    assert Cdse(service, ADA).authorization(DOWNLOAD) == "Bearer t2"


def test_a_refresh_that_fails_does_not_cost_a_token_that_still_lives(clock):
    service = Service()
    scheme = Cdse(service, ADA)
    scheme.authorization(DOWNLOAD)
    clock[0] += 500
    service.answers = [(503, b"")]
    assert scheme.authorization(DOWNLOAD) == "Bearer t1"
    assert scheme.authorization(DOWNLOAD) == "Bearer t1"
    assert len(service.forms) == 2
    clock[0] += tokens.BRIEFLY + 1
    assert scheme.authorization(DOWNLOAD) == "Bearer t3"
    assert service.grants == ["password", "refresh_token", "refresh_token"]


@pytest.mark.parametrize("status", [400, 401])
def test_a_refresh_token_that_died_early_is_followed_by_one_log_in(clock, status):
    service = Service()
    scheme = Cdse(service, ADA)
    scheme.authorization(DOWNLOAD)
    clock[0] += 500
    service.answers = [(status, {"error": "invalid_grant", "error_description": "Token is not active"})]
    assert scheme.authorization(DOWNLOAD) == "Bearer t3"
    assert service.grants == ["password", "refresh_token", "password"]


@pytest.mark.parametrize(
    ("secret", "answer", "said"),
    [
        (ADA, (400, {"error": "invalid_grant"}), "100 sessions"),
        (Secret(client_id="c", client_secret="s"), (401, {"error": "invalid_client"}), "CDSE_CLIENT_SECRET"),
        (ADA, (401, b"nothing to read"), "credentials are from"),
        (ADA, (401, {"error": ["odd"]}), "credentials are from"),
        (ADA, (403, {"error": "access_denied"}), "403"),
    ],
)
def test_each_refusal_says_what_to_look_at(secret, answer, said):
    with pytest.raises(Exception, match=said) as caught:
        Cdse(Service(answer), secret).authorization(DOWNLOAD)
    assert "engine" not in str(caught.value)


# --------------------------------------------------------------------------------------------------
# Second factors and clients


# RFC 6238, appendix B: secret, digest, and the code at four of its moments.
@pytest.mark.parametrize(
    ("length", "digest", "codes"),
    [
        (20, "sha1", ("94287082", "07081804", "14050471", "65353130")),
        (32, "sha256", ("46119246", "68084774", "67062674", "77737706")),
        (64, "sha512", ("90693936", "25091201", "99943326", "47863826")),
    ],
)
def test_codes_are_those_of_the_standard(length, digest, codes):
    key = (b"1234567890" * 7)[:length]
    moments = (59, 1111111109, 1111111111, 20000000000)
    assert tuple(totp.code(key, now, digits=8, digest=digest) for now in moments) == codes
    assert totp.code(b"1234567890" * 2, 59) == "287082"


def test_a_secret_is_read_as_services_show_it():
    assert totp.key("gezd gnbv gy3t qojq gezd gnbv gy3t qojq") == b"12345678901234567890"
    assert totp.key("GEZDGNBVGY3Q====") == totp.key("gezdgnbvgy3q")
    for wrong in ("1!", "", "GEZDGNBVGY3TQOJ1"):
        with pytest.raises(ValueError, match="base32") as caught:
            totp.key(wrong)
        assert not wrong or wrong not in str(caught.value)


def test_a_secret_that_is_none_is_found_before_anything_is_sent():
    service = Service()
    with pytest.raises(CredentialsMissing, match="CDSE_TOTP_SECRET"):
        Cdse(service, Secret(username="a", password="b", totp_secret="!!")).authorization(DOWNLOAD)
    assert service.forms == []


def test_a_code_is_sent_once_and_its_token_serves_whoever_has_another_code(clock):
    service = Service(refresh_expires_in=700)
    one, two = (Secret(username="a", password="b", one_time=code) for code in ("111111", "222222"))
    assert Cdse(service, one).authorization(DOWNLOAD) == "Bearer t1"
    assert Cdse(service, two).authorization(DOWNLOAD) == "Bearer t1"
    clock[0] += 701
    with pytest.raises(Unauthorized, match="CDSE_TOTP_SECRET"):
        Cdse(service, one).authorization(DOWNLOAD)
    assert [form.get("totp") for form in service.forms] == ["111111"]
    assert Cdse(service, two).authorization(DOWNLOAD) == "Bearer t2"


def test_a_new_code_is_tried_at_once_after_a_wrong_one():
    service = Service(REFUSED)
    wrong, right = (Secret(username="a", password="b", one_time=code) for code in ("111111", "222222"))
    with pytest.raises(Unauthorized):
        Cdse(service, wrong).authorization(DOWNLOAD)
    assert Cdse(service, right).authorization(DOWNLOAD) == "Bearer t2"


def test_no_code_is_made_twice_from_a_secret(clock, monkeypatch):
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    service = Service(refresh_expires_in=0)
    scheme = Cdse(service, Secret(username="a", password="b", totp_secret=TOTP_SECRET))
    scheme.authorization(DOWNLOAD)
    assert scheme.renew("Bearer t1")
    first, second = (form["totp"] for form in service.forms)
    assert first != second
    assert sum(slept) <= totp.STEP


def test_a_second_factor_from_the_environment_joins_a_netrc_entry(tmp_path, monkeypatch):
    (tmp_path / "no-netrc").write_text("machine dataspace.copernicus.eu login a password b\n")
    (tmp_path / "no-netrc").chmod(0o600)
    monkeypatch.setenv("CDSE_TOTP_SECRET", TOTP_SECRET)
    secret = Cdse(Service()).secret
    assert (secret.username, secret.totp_secret) == ("a", TOTP_SECRET)


def test_a_client_needs_no_user(monkeypatch):
    monkeypatch.setenv("CDSE_CLIENT_ID", "c")
    monkeypatch.setenv("CDSE_CLIENT_SECRET", "s")
    service = Service(refresh_token="", refresh_expires_in=0)
    scheme = Cdse(service)
    assert scheme.authorization(DOWNLOAD) == "Bearer t1"
    assert service.forms == [{"grant_type": "client_credentials", "client_id": "c", "client_secret": "s"}]
    assert scheme.renew("Bearer t1")
    assert service.grants == ["client_credentials"] * 2


# --------------------------------------------------------------------------------------------------
# In the box


def grants(box) -> list[int]:
    return [one["status"] for one in box.requests() if one["host"] == IDENTITY]


@pytest.fixture
def orbits(box) -> list[Asset]:
    """Orbit files of the Copernicus Data Space, all different, as assets that only it has."""
    found = [one for one in products(box._world.catalogue) if one.instrument == "AUX"]
    return [
        Asset(
            key="orbit",
            path=f"orbits/{one.kind}/{one.name}",
            size=one.content.size,
            checksums={"md5": one.content.md5},
            sources=(Source(href=f"https://{DOWNLOAD}/odata/v1/Products({one.id})/$value", auth="cdse"),),
        )
        for one in sorted(found, key=lambda one: one.name)
    ]


JOBS = """
    import json, sys
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path
    from skystage.batch import fetch_all
    from skystage.model import Asset
    from skystage.store import Store
    from skystage.transport import Access
    assets = [Asset.from_json(json.loads(line)) for line in Path(sys.argv[1]).read_text().splitlines()]
    def job(store):
        return len(fetch_all(assets, Store(Path(store)), Access(), jobs=8).failures)
    with ThreadPoolExecutor() as pool:
        sys.exit(sum(pool.map(job, sys.argv[2:])))
"""


def start(tmp_path: Path, assets: list[Asset], number: int, jobs: int = 1) -> subprocess.Popen[bytes]:
    """A process of so many jobs, each with a store and an access of its own, which know of no other."""
    (tmp_path / "assets").write_text("\n".join(json.dumps(asset.to_json()) for asset in assets))
    stores = [str(tmp_path / f"store-{number}-{job}") for job in range(jobs)]
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(JOBS), str(tmp_path / "assets"), *stores])


def most_at_once(box) -> int:
    said = [one for one in box.requests() if one["host"] == DOWNLOAD]
    ends = [(one["time"], 1) for one in said] + [(one["time"] + one["seconds"], -1) for one in said]
    now = most = 0
    for _, step in sorted(ends):
        now += step
        most = max(most, now)
    return most


def test_two_hundred_jobs_cost_one_log_in(box, orbits, tmp_path):
    for wave in range(0, 40, 8):
        running = [start(tmp_path, orbits[:1], number, jobs=5) for number in range(wave, wave + 8)]
        assert [one.wait() for one in running] == [0] * 8
    assert box.accounts.sessions[CDSE] == 1
    assert grants(box) == [200]
    assert [one["status"] for one in box.requests() if one["host"] == DOWNLOAD] == [200] * 200


def test_forty_assets_outlive_tokens_of_five_seconds(box, orbits, tmp_path):
    # Four at a time, a second each: as long as two tokens live.
    slow = {"match": {"host": DOWNLOAD}, "latency": 1.0}
    box.set_faults([{"match": {"host": IDENTITY}, "token_lifetime": 5}, slow])
    begun = time.monotonic()
    running = [start(tmp_path, orbits[:10], number) for number in range(4)]
    assert [one.wait() for one in running] == [0] * 4
    took = time.monotonic() - begun
    for number in range(4):
        store = Store(tmp_path / f"store-{number}-0")
        assert all(store.receipt(asset).verified == "md5" for asset in orbits[:10])
    assert took > 10
    assert box.accounts.sessions[CDSE] == 1
    # One log-in, then one refresh for each four fifths of a life that went by.
    assert 2 < len(grants(box)) <= 1 + took / 4
    assert {one["status"] for one in box.requests() if one["host"] == DOWNLOAD} <= {200, 401}


def test_eight_processes_never_hold_more_than_four_connections(box, orbits, tmp_path):
    box.set_faults([{"match": {"host": DOWNLOAD}, "latency": 0.1}])
    running = [start(tmp_path, orbits[:8], number) for number in range(8)]
    assert [one.wait() for one in running] == [0] * 8
    said = [one["status"] for one in box.requests() if one["host"] == DOWNLOAD]
    assert said == [200] * 64
    assert most_at_once(box) == 4
    assert box.accounts.sessions[CDSE] == 1


def test_a_token_that_dies_in_mid_body_is_renewed_and_the_body_continued(box, slc, tmp_path):
    found = next(one for one in products(box._world.catalogue) if one.instrument == "SAR")
    asset = Asset(
        key="data",
        path="cdse/C/g/f.zip",
        size=found.content.size,
        checksums={"md5": found.content.md5},
        sources=(Source(href=f"https://{DOWNLOAD}/odata/v1/Products({found.id})/$value", auth="cdse"),),
    )
    box.clear()
    box.set_faults(
        [
            {"match": {"host": DOWNLOAD, "times": 1}, "cut": found.content.size // 2},
            {"match": {"host": DOWNLOAD, "after": 1, "times": 1}, "expire_tokens": True},
        ]
    )
    receipt = fetch_asset(asset, Store(tmp_path / "store"), Access())
    assert receipt.verified == "md5"
    assert [one["status"] for one in box.requests() if one["host"] == DOWNLOAD] == [200, 401, 206]
    assert receipt.bytes_moved == asset.size


def test_one_that_is_killed_while_it_logs_in_is_followed_by_the_next(box, orbits, tmp_path):
    box.set_faults([{"match": {"host": IDENTITY, "times": 1}, "latency": 60}])
    program = """
        from skystage.transport import Access
        Access().scheme("cdse").authorization("download.dataspace.copernicus.eu")
    """
    holder = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    waiting = Access().scheme("cdse")
    while not box._record._unfinished:
        time.sleep(0.01)
    assert not Lock(directory(tmp_path) / "log-in.lock").try_acquire()
    with ThreadPoolExecutor(1) as pool:
        word = pool.submit(waiting.authorization, DOWNLOAD)
        holder.send_signal(signal.SIGKILL)
        assert str(word.result(timeout=30)).startswith("Bearer ")
    holder.wait()
    assert fetch_asset(orbits[0], Store(tmp_path / "store"), Access()).verified == "md5"


def test_no_secret_is_in_any_file_but_the_tokens_nor_in_what_is_said(box, orbits, tmp_path, capsys, caplog):
    store = Store(tmp_path / "store")
    outcome = fetch_all(orbits[:3], store, Access())
    outcome.raise_for_failures()
    (path,) = held(tmp_path)
    secrets = [
        tokens.parse(path.read_bytes()).access,
        tokens.parse(path.read_bytes()).refresh,
        PASSWORD,
        USER,
    ]
    assert all(secrets)
    for one in tmp_path.rglob("*"):
        if one.is_file():
            found = [secret for secret in secrets if secret.encode() in one.read_bytes()]
            assert found == (secrets[:2] if one == path else []), one
    said = capsys.readouterr()
    assert not any(secret in said.out + said.err + caplog.text + repr(outcome) for secret in secrets)


def test_two_factors_clients_and_sessions_as_the_service_has_them(box, orbits, tmp_path):
    def log_in(**words: str) -> str | None:
        return Access(secrets={"cdse": Secret(**words)}).scheme("cdse").authorization(DOWNLOAD)

    assert log_in(username=CAREFUL, password=PASSWORD, totp_secret=TOTP_SECRET)
    with pytest.raises(Unauthorized, match="two factors"):
        Access(secrets={"cdse": Secret(username=CAREFUL, password="wrong")}).scheme("cdse").authorization(
            DOWNLOAD
        )
    client = Secret(client_id=CLIENT, client_secret=CLIENT_SECRET)
    fetch_asset(orbits[0], Store(tmp_path / "one"), Access(secrets={"cdse": client}))
    hub = Secret(client_id=SENTINEL_HUB, client_secret=CLIENT_SECRET)
    with pytest.raises(Unauthorized, match="DAT-ZIP-609") as caught:
        fetch_asset(orbits[0], Store(tmp_path / "two"), Access(secrets={"cdse": hub}))
    assert "CDSE_USERNAME" in caught.value.hint
    for _ in range(100):
        box.accounts.issue(CDSE, "refresh", USER, 60)
    with pytest.raises(Unauthorized, match="100 sessions"):
        log_in(username=USER, password=PASSWORD)


@pytest.mark.parametrize(
    ("lifetime", "code", "said"), [(0, "DAT-ZIP-109", "ten minutes"), (None, "DAT-ZIP-604", "one of the")]
)
def test_a_given_token_that_is_refused_says_what_it_was(box, orbits, tmp_path, lifetime, code, said):
    token = "foreign" if lifetime is None else box.token(lifetime=lifetime, realm=CDSE)
    with pytest.raises(Unauthorized, match=code) as caught:
        fetch_asset(orbits[0], Store(tmp_path / "s"), Access(secrets={"cdse": Secret(token=token)}))
    assert said in caught.value.hint
    assert grants(box) == []


def test_the_doctor_says_whether_the_token_is_shared_and_shows_none_of_it(box, tmp_path, monkeypatch):
    from skystage.doctor import examine

    lines = Path(os.environ["NETRC"]).read_text().splitlines(keepends=True)
    (tmp_path / "netrc").write_text("".join(line for line in lines if "eodata" not in line))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    findings = {finding.subject: finding for finding in examine(["cdse"])}
    assert all(finding.ok for finding in findings.values())
    shared = findings["Copernicus Data Space token"]
    assert str(directory(tmp_path)) in shared.found
    assert "600 s" in shared.found or "599 s" in shared.found
    assert "CDSE_S3_ACCESS_KEY" in findings["Copernicus Data Space S3 keys"].found
    monkeypatch.setenv("CDSE_S3_ACCESS_KEY", "very-secret-key")
    monkeypatch.setenv("CDSE_S3_SECRET_KEY", "very-secret-word")
    directory(tmp_path).chmod(0o750)
    findings = {finding.subject: finding for finding in examine(["cdse"])}
    keys = findings["Copernicus Data Space S3 keys"]
    assert not keys.ok
    assert "InvalidAccessKeyId" in keys.found
    assert "environment" in keys.fix
    assert not findings["Copernicus Data Space token"].ok
    assert "chmod 700" in findings["Copernicus Data Space token"].fix
    (path,) = held(tmp_path)
    said = repr([finding.to_json() for finding in findings.values()])
    for secret in ("very-secret", PASSWORD, USER, parse(path.read_bytes()).access):
        assert secret not in said
    monkeypatch.setenv("CDSE_TOKEN", box.token(realm=CDSE))
    findings = {finding.subject: finding for finding in examine(["cdse"])}
    assert "as it is" in findings["Copernicus Data Space token"].found


def test_the_doctor_asks_s3_whether_the_keys_are_good_and_wants_no_log_in_then(box, monkeypatch):
    from skystage.doctor import examine

    monkeypatch.setenv("CDSE_S3_ACCESS_KEY", S3_KEY)
    monkeypatch.setenv("CDSE_S3_SECRET_KEY", S3_SECRET)
    monkeypatch.setenv("NETRC", "/nowhere")
    box.clear()
    findings = {finding.subject: finding for finding in examine(["cdse"])}
    assert all(finding.ok for finding in findings.values())
    assert [one["path"] for one in box.requests() if one["host"] == EODATA] == ["/eodata"]
    log_in, keys = findings["Copernicus Data Space log-in"], findings["Copernicus Data Space S3 keys"]
    assert "whole products want a log-in" in log_in.found
    assert "CDSE_USERNAME" in log_in.found
    assert "from environment are accepted: for files of products" in keys.found
    # Orbit files do not lie there.
    assert not {finding.subject: finding for finding in examine(["orbits"])}[log_in.subject].ok


@pytest.mark.parametrize("refused", [True, False])
def test_the_doctor_wants_a_log_in_where_no_keys_work(box, monkeypatch, refused):
    from skystage.doctor import examine

    monkeypatch.setenv("NETRC", "/nowhere")
    if refused:
        monkeypatch.setenv("CDSE_S3_ACCESS_KEY", S3_KEY)
        monkeypatch.setenv("CDSE_S3_SECRET_KEY", "another-word")
    findings = {finding.subject: finding for finding in examine(["cdse"])}
    assert not findings["Copernicus Data Space log-in"].ok
    keys = findings["Copernicus Data Space S3 keys"]
    assert keys.ok is not refused
    assert ("SignatureDoesNotMatch" in keys.found) is refused


def test_the_doctor_says_so_of_a_log_in_that_is_refused_whatever_the_keys(box, monkeypatch):
    from skystage.doctor import examine

    monkeypatch.setenv("CDSE_USERNAME", "nobody")
    monkeypatch.setenv("CDSE_PASSWORD", "nothing")
    monkeypatch.setenv("CDSE_S3_ACCESS_KEY", S3_KEY)
    monkeypatch.setenv("CDSE_S3_SECRET_KEY", S3_SECRET)
    findings = {finding.subject: finding for finding in examine(["cdse"])}
    assert findings["Copernicus Data Space S3 keys"].ok
    assert not findings["Copernicus Data Space log-in"].ok


def test_the_doctor_asks_again_what_was_refused(box, tmp_path):
    from skystage.doctor import examine

    box.set_faults(
        [{"match": {"host": IDENTITY, "times": 1}, "status": 401, "body": '{"error": "invalid_grant"}'}]
    )
    with pytest.raises(Unauthorized):
        Access().scheme("cdse").authorization(DOWNLOAD)
    with pytest.raises(Unauthorized):
        Access().scheme("cdse").authorization(DOWNLOAD)
    assert len(grants(box)) == 1
    assert all(finding.ok for finding in examine(["cdse"]))
