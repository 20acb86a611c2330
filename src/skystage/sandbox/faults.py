"""What can go wrong, as rules: which requests, from when, how often, and what happens to them.

A rule is a mapping ``{match: {...}, effect: value, ...}``; `Rules.effects` says for one
request what all rules together want. The proxy does what concerns the wire, the services
what concerns tokens and validators.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from skystage.errors import SkystageError

_MATCH_KEYS = ("host", "path", "method", "range", "after", "times")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What is to happen to one request. Everything is optional."""

    status: int | None = None
    """Answer with this status instead of asking the service."""
    headers: Mapping[str, str | None] | None = None
    """Header fields to set on the reply."""
    body: str | None = None
    """The body of the reply; alone it replaces only the body."""
    retry_after: float | str | None = None
    """A ``Retry-After`` header: seconds or an HTTP date. Without a status, 429."""
    login_page: bool = False
    """An HTML log-in page with status 200."""
    gateway_page: bool = False
    """A gzipped HTML page with status 502."""
    max_connections: int | None = None
    """429 when the host is answering more requests than this at once."""
    latency: float = 0.0
    """Seconds before the reply begins."""
    cut_before_headers: bool = False
    """Close the connection instead of answering."""
    cut: int | None = None
    """Close the connection after so many bytes of the body; the full length is announced. Negative: before
    the last so many."""
    stall: float = 0.0
    """Seconds of silence inside the body, at `stall_at`."""
    stall_at: int = 0
    """Bytes of the body sent before the stall."""
    drip: float | None = None
    """Bytes a second, sent one by one."""
    bandwidth: float | None = None
    """Bytes a second on this connection."""
    corrupt: int | None = None
    """Offset in the file of a byte to flip; negative counts from its end."""
    lie: int = 0
    """Added to the announced ``Content-Length``."""
    ignore_range: bool = False
    """Answer ranges with 200 and everything."""
    wrong_range: bool = False
    """Answer ranges with 206 and another range than the one asked for."""
    no_length: str | None = None
    """No ``Content-Length``: ``chunked``, or ``close`` for a body that ends with the connection."""
    validator: str | None = None
    """``change``: the file has a new ETag."""
    content: str | None = None
    """``other``: the file has other bytes, as many, and with them a new ETag."""
    expire_tokens: bool = False
    """All tokens and cookies issued so far stop working before the request is answered."""
    token_lifetime: float | None = None
    """Seconds that tokens issued by this request live."""
    refresh_lifetime: float | None = None
    """Seconds that refresh tokens issued by this request live."""


NO_EFFECTS = Effects()
_EFFECT_KEYS = tuple(field.name for field in fields(Effects))

_NUMBERS = (int, float)
_KINDS: dict[str, tuple[type, ...]] = {
    "status": (int,),
    "headers": (dict,),
    "body": (str,),
    "retry_after": (int, float, str),
    "max_connections": (int,),
    "latency": _NUMBERS,
    "cut": (int,),
    "stall": _NUMBERS,
    "stall_at": (int,),
    "drip": _NUMBERS,
    "bandwidth": _NUMBERS,
    "corrupt": (int,),
    "lie": (int,),
    "token_lifetime": _NUMBERS,
    "refresh_lifetime": _NUMBERS,
    "host": (str,),
    "path": (str,),
    "method": (str,),
    "after": (int,),
    "times": (int,),
}
_CHOICES = {"no_length": ("chunked", "close"), "validator": ("change",), "content": ("other",)}


@dataclass(slots=True)
class _Rule:
    match: Mapping[str, Any]
    effects: Mapping[str, Any]
    seen: int = 0

    def wants(self, host: str, path: str, method: str, *, ranged: bool) -> bool:
        match = self.match
        return (
            fnmatchcase(host, match.get("host", "*"))
            and fnmatchcase(path, match.get("path", "*"))
            and method == match.get("method", method).upper()
            and match.get("range", ranged) == ranged
        )

    def take(self) -> bool:
        """Count one matching request and say whether the rule acts on it."""
        number, self.seen = self.seen, self.seen + 1
        first = self.match.get("after", 0)
        times = self.match.get("times")
        return number >= first and (times is None or number < first + times)


class Rules:
    """The fault rules of a box with their counters; safe for threads.

    Parameters
    ----------
    rules
        The rules, or a YAML or JSON file with a list of them.

    Raises
    ------
    SkystageError
        If a rule has a key that does not exist or a value that it cannot have.
    """

    def __init__(self, rules: Sequence[Mapping[str, Any]] | Path | None = None) -> None:
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []
        self.set(rules)

    def set(self, rules: Sequence[Mapping[str, Any]] | Path | None) -> None:
        """Replace all rules; the new ones count from the start."""
        checked = [_check(number, rule) for number, rule in enumerate(_load(rules), 1)]
        with self._lock:
            self._rules = checked

    def effects(self, host: str, path: str, method: str, *, ranged: bool) -> Effects:
        """What all rules together want of a request; of two that disagree, the later rule."""
        wanted: dict[str, Any] = {}
        with self._lock:
            for rule in self._rules:
                if rule.wants(host, path, method, ranged=ranged) and rule.take():
                    wanted.update(rule.effects)
        return Effects(**wanted) if wanted else NO_EFFECTS


def _load(rules: Sequence[Mapping[str, Any]] | Path | None) -> Sequence[Any]:
    if rules is None:
        return []
    if not isinstance(rules, Path):
        return rules
    import yaml

    try:
        # JSON is a subset of YAML, so one reader does for both.
        loaded = yaml.safe_load(rules.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise SkystageError(f"cannot read the fault rules {rules}: {error}".replace("\n", " ")) from error
    if loaded is None:
        return []
    if not isinstance(loaded, list):
        raise SkystageError(f"{rules} is no list of fault rules", hint="see docs/sandbox.md")
    return loaded


def _check(number: int, rule: object) -> _Rule:
    if not isinstance(rule, Mapping):
        raise SkystageError(f"fault rule {number} is no mapping", hint="see docs/sandbox.md")
    match = rule.get("match") or {}
    if not isinstance(match, Mapping):
        raise SkystageError(f"fault rule {number}: match is no mapping", hint="see docs/sandbox.md")
    effects = {key: value for key, value in rule.items() if key != "match"}
    for key in match:
        if key not in _MATCH_KEYS:
            raise SkystageError(
                f"fault rule {number}: no match key {key!r}", hint=f"one of {', '.join(_MATCH_KEYS)}"
            )
    for key in effects:
        if key not in _EFFECT_KEYS:
            raise SkystageError(
                f"fault rule {number}: no effect {key!r}", hint=f"one of {', '.join(_EFFECT_KEYS)}"
            )
    for key, value in (*match.items(), *effects.items()):
        _check_value(number, key, value)
    if not effects:
        raise SkystageError(f"fault rule {number} has no effect", hint=f"one of {', '.join(_EFFECT_KEYS)}")
    return _Rule(match, effects)


def _check_value(number: int, key: str, value: object) -> None:
    if key in _CHOICES:
        good = value in _CHOICES[key]
        wanted = " or ".join(_CHOICES[key])
    else:
        kinds = _KINDS.get(key, (bool,))
        # True is an int to Python, and no number to the one who wrote the rule.
        good = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
        wanted = " or ".join(kind.__name__ for kind in kinds)
    if not good:
        raise SkystageError(f"fault rule {number}: {key} cannot be {value!r}", hint=f"{key} is {wanted}")
