"""What the user of this machine says, and where: the limits of hosts, and the directory of their state."""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from skystage.errors import QueryError, StoreError

LEAST = 100_000
"""The least bandwidth: with less, eight connections are so slow that servers hang up. Mostly it is a typo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLimit:
    """What one account may do at one host. What is not said here, a less exact name says."""

    connections: int = 0
    rate: float | None = None
    """Requests a second."""
    bandwidth: float | None = None
    """Bytes a second, over all connections."""
    daily_bytes: float | None = None
    """Bytes a day, from midnight to midnight UTC. What is under way when they are spent may end."""


DEFAULTS: Mapping[str, HostLimit] = {
    # Copernicus Data Space, "Quotas and limitations": 4 concurrent connections for general users.
    "*.dataspace.copernicus.eu": HostLimit(connections=4),
    # Labels of planetary images, a round trip each; S3 itself takes thousands of requests a second.
    "astrogeo-ard.s3*.amazonaws.com": HostLimit(connections=32),
    "*": HostLimit(connections=8),
}


def state_directory() -> Path:
    """``$SKYSTAGE_STATE``, else ``$XDG_STATE_HOME/skystage``, else ``~/.local/state/skystage``.

    Where none is named and the home cannot be written (a job without a home), a directory of the
    user's own below the system's temporary one.

    Raises
    ------
    StoreError
        If that one belongs to somebody else.
    """
    return _own_directory("SKYSTAGE_STATE", "XDG_STATE_HOME", ".local/state")


def cache_directory() -> Path:
    """``$SKYSTAGE_CACHE``, ``$XDG_CACHE_HOME/skystage`` or ``~/.cache/skystage``; else as `state_directory`.

    Raises
    ------
    StoreError
        If it belongs to somebody else.
    """
    return _own_directory("SKYSTAGE_CACHE", "XDG_CACHE_HOME", ".cache")


def _own_directory(variable: str, base: str, default: str) -> Path:
    if chosen := os.environ.get(variable):
        return Path(chosen).absolute()
    path = _home(base, default) / "skystage"
    with suppress(OSError):
        if path.is_absolute():
            path.mkdir(parents=True, exist_ok=True)
            if os.access(path, os.W_OK | os.X_OK):
                return path
    path = Path(tempfile.gettempdir()) / f"skystage-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise StoreError(
            f"{path}: belongs to somebody else", hint=f"let {variable} name a directory of your own"
        )
    return path


def config_file() -> Path:
    """``$SKYSTAGE_CONFIG``, else ``$XDG_CONFIG_HOME/skystage/config.yaml``."""
    if chosen := os.environ.get("SKYSTAGE_CONFIG"):
        return Path(chosen)
    return _home("XDG_CONFIG_HOME", ".config") / "skystage" / "config.yaml"


def _home(variable: str, default: str) -> Path:
    # XDG base directories: a path that is not absolute is to be ignored. Without a home it stays "~".
    chosen = Path(os.environ.get(variable, ""))
    return chosen if chosen.is_absolute() else Path(os.path.expanduser(f"~/{default}"))  # noqa: PTH111


def configured(path: Path | None = None) -> dict[str, HostLimit]:
    """The ``limits`` of the configuration file; empty where there is none.

    Raises
    ------
    QueryError
        If the file cannot be read, or a limit is not one.
    """
    path = config_file() if path is None else path
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(
            f"{path}: cannot be read: {error}", hint="SKYSTAGE_CONFIG names a YAML file"
        ) from error
    import yaml

    try:
        content = _keys(yaml.safe_load(text) or {}, ["limits"], "the file")
        hosts = content.get("limits") or {}
        return {str(host).lower(): _limit(str(host), hosts[host]) for host in hosts}
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise QueryError(
            f"{path}: {str(error).splitlines()[0]}",
            hint="expected limits: {HOST: {connections: 4, rate: 2.5, bandwidth: 10MB, daily_bytes: 500GB}}",
        ) from error


def _limit(host: str, values: object) -> HostLimit:
    if "/" in host:
        raise ValueError(f"{host}: expected the name of a host, not an address")
    said = dict(_keys(values, [one.name for one in fields(HostLimit)], host))
    for key, value in said.items():
        try:
            said[key] = _READ[key](value)
        except ValueError as error:
            raise ValueError(f"{host}: {key}: {error}") from error
    return HostLimit(**said)


def _keys(values: object, known: Iterable[str], where: str) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: {values!r} is not a mapping")  # noqa: TRY004 - of the file, not of the caller
    for key in values:
        if key not in known:
            import difflib

            near = difflib.get_close_matches(str(key), known, 1)
            meant = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise ValueError(f"{where}: no key {key!r}; {meant}")
    return values


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{value!r} is not a whole number of at least 1")
    return value


def _rate(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise ValueError(f"{value!r} is not a number of more than 0")
    return value


def size(value: object) -> float:
    """Bytes, from a number or from text such as ``10MB``, ``1.5 GB``, ``2 TiB``.

    ``MB`` is 10^6 bytes (SI), ``MiB`` is 2^20 (IEC 80000-13), as archives and disks count.

    Raises
    ------
    ValueError
        If it is neither. A small ``b`` is refused: it could mean bits.
    """
    text = str(value).strip() if isinstance(value, str) else ""
    if match := _SIZE.fullmatch(text):
        unit = match[2] or ""
        value = float(match[1]) * (1024 if "i" in unit else 1000) ** " KMGTP".index(unit[:1].upper() or " ")
    try:
        return _rate(value)
    except ValueError:
        raise ValueError(
            f"{value!r} is not a size: write bytes, or text such as 10MB (10^6 bytes) or 2 TiB (2^40 bytes)"
        ) from None


_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(?:([kKMGTP]i?)?B)?")


def _bandwidth(value: object) -> float:
    if (found := size(value)) < LEAST:
        raise ValueError(
            f"{value!r} is less than {LEAST // 1000} kB a second: it counts bytes; 10MB is usual"
        )
    return found


_READ: Mapping[str, Callable[[object], float]] = {
    "connections": _count,
    "rate": _rate,
    "bandwidth": _bandwidth,
    "daily_bytes": size,
}
