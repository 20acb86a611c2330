"""One access token for all processes of an account on a machine: what is kept of it, and where.

A log-in opens a session, and archives count sessions. So whoever logs in leaves the token in a private file
for the others, and with it what the service refused, so that nobody asks the same in vain. How long a token
lives is short (ten minutes), and only its owner can read it; see docs/adr/0010-shared-tokens.md.

`Token` is arithmetic without I/O. It must live with clocks that jump: a token from the future is of no known
age, so it is refreshed, and what the service says decides.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from skystage import locks
from skystage.errors import Interrupted, ServerFault, StoreError, Throttled, TransferError, Unauthorized
from skystage.locks import Lock
from skystage.settings import state_directory

LIFE = 0.8
"""The share of its life after which a token is refreshed."""
SKEW = 1.0
"""Seconds by which a clock may be set back without making what was written before void."""
REMEMBERED = 300.0
"""Seconds for which a refusal of the same credentials is taken for the answer, without asking again."""
BRIEFLY = 2.0
"""Seconds for which a log-in service that failed is left alone by all processes."""
LEFTOVER = 86_400.0
"""Seconds after which a file that nobody wrote again is deleted: no token lives that long."""
ROUNDS = 100_000
"""Of the key derivation: 25 ms, once a process, and for each password that somebody would try."""
SALT = 32
"""Bytes."""

_REMEMBERED: dict[str, type[TransferError]] = {
    kind.__name__: kind for kind in (Unauthorized, Throttled, ServerFault, Interrupted)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What is known of an account's log-in at one moment. Times are seconds; none of it shows in a repr."""

    access: str = field(default="", repr=False)
    refresh: str = field(default="", repr=False)
    made: float = 0.0
    """When they were asked for, since 1970."""
    expires: float = 0.0
    """How long `access` lives from then on."""
    refresh_expires: float = 0.0
    doubted: int = 0
    """How many tokens before this one were refused while they should have lived."""
    used: str = field(default="", repr=False)
    """A digest of the one-time code that the log-in took: it is good for no other."""
    problem: str = ""
    """The error that the last attempt ended with, by name; empty if it did not."""
    message: str = ""
    hint: str = ""
    until: float = 0.0
    """When the service may be asked again."""
    asked_with: str = field(default="", repr=False)
    """A digest of the second factor that was refused: with another one, it may be asked again at once."""

    def fresh(self, now: float) -> bool:
        """Whether it is good, and not yet to be refreshed."""
        return bool(self.access) and -SKEW <= now - self.made < LIFE * self.expires

    def alive(self, now: float) -> bool:
        """Whether it is good."""
        return bool(self.access) and -SKEW <= now - self.made < self.expires

    def refreshable(self, now: float) -> bool:
        """Whether the refresh token may still live."""
        return bool(self.refresh) and now - self.made < self.refresh_expires

    def failed(self, error: TransferError, now: float, asked_with: str) -> Token:
        """The same, with the error that an attempt to get another one ended with."""
        wait = REMEMBERED if isinstance(error, Unauthorized) else (error.retry_after or BRIEFLY)
        return replace(
            self,
            problem=type(error).__name__,
            message=error.message,
            hint=error.hint,
            until=now + wait,
            asked_with=asked_with,
        )

    def check(self, now: float, asked_with: str) -> None:
        """Raise what the last attempt ended with, as long as another one would be in vain.

        Raises
        ------
        TransferError
            The error again; of a passing one `retry_after` is what is left.
        """
        kind = _REMEMBERED.get(self.problem)
        left = self.until - now
        # A clock that was set back: a moment that lies further ahead than any that is written is void.
        if kind is None or not 0 < left <= LEFTOVER:
            return
        if kind is not Unauthorized:
            raise kind(self.message, hint=self.hint, retry_after=left)
        if self.asked_with == asked_with and left <= REMEMBERED:
            raise kind(self.message, hint=f"{self.hint}; not asked again for {left:.0f} s")


_KINDS = {name: type(value) for name, value in asdict(Token()).items()}


def parse(text: bytes) -> Token:
    """The token as it was written; none from what is torn or was never one."""
    with suppress(ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        said = json.loads(text)
        return Token(**{name: kind(said[name]) for name, kind in _KINDS.items() if name in said})
    return Token()


class Shared:
    """The token of some credentials, shared with all processes of this user; else kept in memory.

    It is not shared where the directory is another user's, or others may look into it, or locks
    do not work there: `problem` says why, and `fix` what helps.

    Parameters
    ----------
    credentials
        The words that together are asked for with. Other words are another token: a wrong password
        never gets what the right one brought.
    """

    def __init__(self, credentials: Sequence[str]) -> None:
        self.problem = self.fix = ""
        self.directory: Path | None = None
        self._memory = Token()
        salt = secrets.token_bytes(SALT)
        try:
            self.directory = _directory()
            salt = _salt(self.directory)
            if not locks.work(self.directory):
                raise StoreError(f"{self.directory}: locks do not exclude each other here")  # noqa: TRY301
        except (OSError, StoreError) as error:
            self._not_shared(error)
        words = json.dumps(list(credentials)).encode()
        derived = hashlib.pbkdf2_hmac("sha256", words, salt, ROUNDS)
        self._name, self._key = derived[:12].hex(), derived[12:]

    def digest(self, word: str) -> str:
        """A word that stands for `word` in the file and tells nothing of it; empty for none."""
        return hmac.digest(self._key, word.encode(), "sha256").hex()[:16] if word else ""

    def lock(self) -> Lock | None:
        """What to hold while a token is asked for: one at a time."""
        return None if self.directory is None else Lock(self.directory / "log-in.lock")

    def read(self) -> Token:
        """What is known now."""
        if self.directory is None:
            return self._memory
        return parse(_read(self.directory / f"{self._name}.json"))

    def write(self, token: Token) -> None:
        """Let all know; a kill leaves the old or the new."""
        self._memory = token
        if self.directory is None:
            return
        try:
            _sweep(self.directory)
            _write(self.directory / f"{self._name}.json", json.dumps(asdict(token)).encode())
        except OSError as error:
            self._not_shared(error)

    def _not_shared(self, error: OSError | StoreError) -> None:
        self.problem, self.fix = str(error), "let SKYSTAGE_STATE name a directory on another file system"
        if isinstance(error, StoreError):
            self.problem, self.fix = error.message, error.hint or self.fix
        self.directory = None


def _directory() -> Path:
    """The private directory, made if it is not there.

    Raises
    ------
    StoreError
        If somebody else may look into it.
    """
    # With the user's number: two users may share one state directory, but not their tokens.
    path = state_directory() / f"tokens-{os.geteuid()}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise StoreError(f"{path}: is no directory of your own", hint="remove it")
    if found.st_mode & 0o077:
        raise StoreError(f"{path}: others may look into it", hint=f"chmod 700 {path}")
    return path


def _salt(directory: Path) -> bytes:
    """A random word of this directory: equal passwords have other names elsewhere."""
    path = directory / "salt"
    if len(salt := _read(path)) == SALT:
        return salt
    new = path.with_name(f"salt-{_mine()}")
    new.unlink(missing_ok=True)
    _create(new, secrets.token_bytes(SALT))
    try:
        # Whole from the first moment; of several processes that make it, the first one's counts.
        path.hardlink_to(new)
    except FileExistsError:
        if len(_read(path)) != SALT:  # torn by a crash, or not ours
            new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    return _read(path)


def _read(path: Path) -> bytes:
    """A file of ours that nobody else can read; nothing of any other."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:  # noqa: PTH123 - it was opened with care
            found = os.fstat(fd)
            if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
                return file.read()
    return b""


def _write(path: Path, content: bytes) -> None:
    new = path.with_name(f"{path.name}-{_mine()}")
    new.unlink(missing_ok=True)
    try:
        _create(new, content)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _create(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as file:  # noqa: PTH123 - it was opened with care
        file.write(content)


def _mine() -> str:
    return f"{os.getpid()}-{threading.get_ident()}"


def _sweep(directory: Path) -> None:
    """Delete what is long dead: of other credentials, and of processes that were killed."""
    before = time.time() - LEFTOVER
    for path in directory.iterdir():
        if path.name != "salt" and path.suffix != ".lock":
            with suppress(FileNotFoundError):
                if path.lstat().st_mtime < before:
                    path.unlink()
