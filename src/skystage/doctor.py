"""What may stand between a user and the data: credentials, reachability, disk. Each finding with its fix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from skystage.auth import SCHEMES
from skystage.errors import QueryError, SkystageError
from skystage.model import Json, Source
from skystage.transport import Access

PROBES = {
    "asf": ("earthdata", "https://cmr.earthdata.nasa.gov/search/granules.umm_json?page_size=0&provider=ASF"),
    "orbits": ("cdse", "https://s1-orbits.s3.amazonaws.com/?prefix=AUX_POEORB&max-keys=1"),
}
"""Archive to the log-in that its bytes need, and an address that answers without one."""

HOSTS = {"earthdata": "datapool.asf.alaska.edu", "cdse": "download.dataspace.copernicus.eu"}
"""A host of each scheme whose Authorization proves that the log-in works."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    ok: bool
    found: str
    fix: str = ""

    def to_json(self) -> dict[str, Json]:
        """For ``--json``."""
        return asdict(self)


def examine(archives: Sequence[str] = (), store: Path | None = None) -> list[Finding]:
    """Look at everything that a fetch from these archives needs; all archives by default.

    Raises
    ------
    QueryError
        For an archive that is not known.
    """
    for name in archives:
        if name not in PROBES:
            raise QueryError(f"doctor: no archive {name!r}", hint=f"one of: {', '.join(PROBES)}")
    access = Access()
    findings: list[Finding] = []
    for name in archives or PROBES:
        scheme, address = PROBES[name]
        findings += _reach(name, address, access)
        findings += _log_in(scheme, access)
    if store is not None:
        findings += _disk(store)
    access.close()
    return findings


def _reach(name: str, address: str, access: Access) -> Iterator[Finding]:
    host = Source(href=address).host
    try:
        access.read(address)
    except SkystageError as error:
        yield Finding(f"{name} catalogue", False, str(error), f"check network and proxy for {host}")  # noqa: FBT003
    else:
        yield Finding(f"{name} catalogue", True, f"{host} answers")  # noqa: FBT003


def _log_in(scheme: str, access: Access) -> Iterator[Finding]:
    subject = SCHEMES[scheme].__doc__.partition(":")[0] if SCHEMES[scheme].__doc__ else scheme  # type: ignore[union-attr]
    try:
        access.scheme(scheme).authorization(HOSTS[scheme])
    except SkystageError as error:
        yield Finding(f"{subject} log-in", False, error.message, error.hint)  # noqa: FBT003
    else:
        where = access.scheme(scheme).secret.found
        yield Finding(f"{subject} log-in", True, f"credentials from {where} are accepted")  # noqa: FBT003


def _disk(store: Path) -> Iterator[Finding]:
    from skystage.store import Store

    try:
        free = Store(store).free()
    except SkystageError as error:
        yield Finding("store", False, error.message, error.hint)  # noqa: FBT003
    else:
        yield Finding("store", True, f"{store}: locks work, {free / 1e9:,.1f} GB free")  # noqa: FBT003
