"""What may stand between a user and the data: credentials, reachability, disk. Each finding with its fix."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from skystage import s3
from skystage.auth import EODATA, SCHEMES, Cdse, Mast, eodata_keys
from skystage.errors import CredentialsMissing, QueryError, SkystageError
from skystage.model import Json, Source
from skystage.transport import Access

WHO = "https://mast.stsci.edu/whoami"
"""Says whose session a token of MAST's opens."""
PROBES = {
    "asf": ("earthdata", "https://cmr.earthdata.nasa.gov/search/granules.umm_json?page_size=0&provider=ASF"),
    "cdse": ("cdse", "https://catalogue.dataspace.copernicus.eu/odata/v1/Products?$top=1"),
    "mast": ("mast", WHO),
    "missions": ("mast", WHO),
    "orbits": ("cdse", "https://s1-orbits.s3.amazonaws.com/?prefix=AUX_POEORB&max-keys=1"),
}
"""Archive to the log-in that its bytes need, and an address that answers without one."""

KEYS = f"https://{EODATA}/eodata?list-type=2&max-keys=1"
"""A question that the Copernicus Data Space's S3 answers to keys that are good: a page of one name."""

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
    asked = list(archives or PROBES)
    for name in asked:
        findings += _reach(name, PROBES[name][1], access)
    for scheme in dict.fromkeys(PROBES[name][0] for name in asked):
        if scheme == "cdse" and "cdse" in asked:
            findings += _copernicus(access)
        else:
            findings += _session(access) if scheme == "mast" else _log_in(scheme, access)
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
        one = access.scheme(scheme)
        if isinstance(one, Cdse):
            one.forget_refusals()
        one.authorization(HOSTS[scheme])
    except SkystageError as error:
        yield Finding(f"{subject} log-in", False, error.message, error.hint)  # noqa: FBT003
    else:
        yield Finding(f"{subject} log-in", True, f"credentials from {one.secret.found} are accepted")  # noqa: FBT003
        if isinstance(one, Cdse):
            yield _sharing(one)


def _session(access: Access) -> Iterator[Finding]:
    """Whose session it is that MAST opens, if anybody's: most data are public."""
    subject, none = "MAST log-in", "none, and public data need none; for exclusive data set MAST_API_TOKEN"
    try:
        secret = access.scheme("mast").secret
    except SkystageError as error:
        yield Finding(subject, False, error.message, error.hint)  # noqa: FBT003
        return
    if not secret:
        yield Finding(subject, True, none)  # noqa: FBT003
        return
    try:
        said = json.loads(access.read(WHO, auth_scheme="mast"))
        name = None if said["anon"] else said["attrib"].get("display_name") or said.get("ezid")
    except (SkystageError, ValueError, LookupError, TypeError, AttributeError) as error:
        problem = error.message if isinstance(error, SkystageError) else "the answer is not one of its own"
        yield Finding(subject, False, problem, f"the token is from {secret.found}")  # noqa: FBT003
        return
    if name is None:
        expired = "a token ends after 10 days without use, or 60 in all; make one at"
        yield Finding(subject, False, f"the token from {secret.found} is refused", f"{expired} {Mast.NEW}")  # noqa: FBT003
    else:
        yield Finding(subject, True, f"the token from {secret.found} is accepted: {name}")  # noqa: FBT003


def _sharing(scheme: Cdse) -> Finding:
    subject = "Copernicus Data Space token"
    if scheme.secret.token:
        return Finding(subject, True, "CDSE_TOKEN is used as it is, and not renewed")  # noqa: FBT003
    shared = scheme.shared()
    if shared.problem:
        return Finding(subject, False, f"each process logs in by itself: {shared.problem}", shared.fix)  # noqa: FBT003
    token = shared.read()
    left = token.made + token.expires - time.time()
    said = f"shared by all processes, in {shared.directory}; lives for {left:.0f} s, then renewed"
    return Finding(subject, True, said)  # noqa: FBT003


def _copernicus(access: Access) -> Iterator[Finding]:
    """Its two ways to the bytes: who has keys for S3 can do without a log-in."""
    log_in, *more = _log_in("cdse", access)
    keys, work = _keys(access)
    if work and not access.scheme("cdse").secret:
        said = "none: S3 has the files of products (bands, masks, metadata), and whole products want a log-in"
        log_in = replace(log_in, ok=True, found=f"{said}; {log_in.fix}", fix="")
    yield log_in
    yield from more
    yield keys


def _keys(access: Access) -> tuple[Finding, bool]:
    """Whether there are keys for S3 and they are accepted, and so work."""
    subject = "Copernicus Data Space S3 keys"
    try:
        found = eodata_keys(None).found
    except CredentialsMissing as error:
        # Nobody needs them: the same bytes come by https.
        said = f"none, and none are needed: the log-in is for everything; to use S3 as well: {error.hint}"
        return Finding(subject, True, said), False  # noqa: FBT003
    try:
        access.read(KEYS, auth_scheme=s3.EODATA)
    except SkystageError as error:
        fix = (
            f"the keys are from {found}; make others at https://eodata-s3keysmanager.dataspace.copernicus.eu"
        )
        return Finding(subject, False, error.message, fix), False  # noqa: FBT003
    said = (
        f"keys from {found} are accepted: for files of products (bands, masks, metadata), not for whole ones"
    )
    return Finding(subject, True, said), True  # noqa: FBT003


def _disk(store: Path) -> Iterator[Finding]:
    from skystage.store import Store

    try:
        free = Store(store).free()
    except SkystageError as error:
        yield Finding("store", False, error.message, error.hint)  # noqa: FBT003
    else:
        yield Finding("store", True, f"{store}: locks work, {free / 1e9:,.1f} GB free")  # noqa: FBT003
