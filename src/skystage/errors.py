"""One tree of errors. Each says whether trying again can help, when, and what the user can do.

::

    SkystageError                 exit 1
    ├── QueryError                exit 2   a query that cannot be asked
    ├── PlanError                 exit 2   a plan file that cannot be read, or not this way
    ├── AreaError                 exit 2   (a QueryError) an area that is no area
    ├── MapError                  exit 2   a map that cannot be drawn
    ├── LabelError                exit 4   a label that is none, or does not say what it is asked for
    │   └── LabelCut                       it ends before its end
    ├── SearchError               exit 1   a catalogue did not answer as it should
    │   ├── CatalogueUnavailable           transient: time-outs, 5xx, gateway pages
    │   └── IncompleteSearch               fewer granules than the archive counted
    ├── CredentialsMissing        exit 5   found before the first byte
    ├── NotEnoughDisk             exit 6   found before the first byte
    ├── StoreError                exit 1   the store cannot be used as it is
    ├── Stopped                   exit 1   transient: the caller asked to stop
    ├── TransferError             exit 4   one asset could not be had
    │   ├── Unauthorized                   401: the credentials were not accepted
    │   ├── Forbidden                      403
    │   │   └── TermsNotAccepted           403: licence terms to accept first
    │   ├── NotFound                       404, 410
    │   ├── RangeNotSatisfiable            416: the file is not what the part file began
    │   ├── Refused                        other 4xx
    │   ├── NotReady                       transient: 202, the archive still prepares it
    │   ├── Throttled                      transient: 429, with Retry-After
    │   ├── ServerFault                    transient: 5xx
    │   ├── Untrusted                      a certificate that this machine does not trust
    │   ├── Interrupted                    transient: the connection broke or stalled
    │   ├── HostDown                       transient: not even asked, because the host does not answer
    │   ├── WrongBody                      a page where data was promised
    │   │   └── WrongRange                 another range than was asked for
    │   ├── ShortBody                      transient: fewer bytes than the server announced
    │   ├── SizeMismatch                   not the size that the plan says
    │   ├── ChecksumMismatch               not the bytes that the plan says
    │   │   └── Drifted                    not the bytes that were staged before their release
    │   ├── StructureError                 not a whole file of its kind
    │   ├── NoSource                       nothing left to try
    │   ├── Offline                        not staged, and no request is allowed
    │   └── Unresolvable                   the plan already says that it cannot be had
    └── FetchFailed               exit 4   a batch in which at least one asset failed

An orchestrator needs one question: ``error.transient``.
"""

from __future__ import annotations

from collections.abc import Mapping


class SkystageError(Exception):
    """The root: everything skystage raises on purpose.

    Parameters
    ----------
    message
        One line: what happened, with the name of what it happened to.
    hint
        One line: what the user can do about it.
    retry_after
        Seconds to wait before trying again, where the archive said so.
    """

    transient = False
    """Whether the same call may succeed later without anybody changing anything."""
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retry_after = retry_after

    def __str__(self) -> str:
        """The message and, behind it, the hint: one line."""
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with the keyword fields, so that errors cross process borders whole."""
        return (_rebuild, (type(self), self.message, self.hint, self.retry_after, self.__dict__))


def _rebuild(
    cls: type[SkystageError], message: str, hint: str, retry_after: float | None, state: dict[str, object]
) -> SkystageError:
    error = cls.__new__(cls)
    SkystageError.__init__(error, message, hint=hint, retry_after=retry_after)
    error.__dict__.update(state)
    return error


class QueryError(SkystageError):
    """A query that names an unknown criterion, or one that cannot be met."""

    exit_code = 2


class AreaError(QueryError):
    """An area that is no area on the body: outside its coordinates, empty, or crossing itself."""


class PlanError(SkystageError):
    """A plan file that cannot be read, was changed by hand, or has no such batch or asset."""

    exit_code = 2


class MapError(SkystageError):
    """A map that cannot be drawn: of an unknown kind, of several bodies, or without its package."""

    exit_code = 2


class LabelError(SkystageError):
    """A label that cannot be read, or that does not say what it is asked for."""

    exit_code = 4


class LabelCut(LabelError):
    """A label that ends before its ``END``."""


class SearchError(SkystageError):
    """A catalogue did not answer as it should."""


class CatalogueUnavailable(SearchError):
    """A catalogue timed out or answered with a server error, through all tries."""

    transient = True


class IncompleteSearch(SearchError):
    """The archive delivered fewer granules than it counted."""


class CredentialsMissing(SkystageError):
    """A source asks for credentials that are nowhere to be found."""

    exit_code = 5


class NotEnoughDisk(SkystageError):
    """The plan needs more than the file system has."""

    exit_code = 6


class StoreError(SkystageError):
    """The store cannot be used as it is: read-only, vanished, or without locks."""


class Stopped(SkystageError):
    """The caller asked to stop; what has arrived is kept, and continued by the next run."""

    transient = True


class TransferError(SkystageError):
    """One asset could not be had."""

    exit_code = 4


class Unauthorized(TransferError):
    """401: the host did not accept the credentials."""


class Forbidden(TransferError):
    """403: the host knows who asks, and says no."""


class TermsNotAccepted(Forbidden):
    """403: the data's licence terms must be accepted once, in a browser."""


class NotFound(TransferError):
    """404 or 410: the file is not, or no longer, there."""


class RangeNotSatisfiable(TransferError):
    """416: the server's file ends before the part that we hold."""


class Refused(TransferError):
    """Another 4xx."""


class NotReady(TransferError):
    """202: the archive extracts or restores the file first; ask again a little later."""

    transient = True


class Throttled(TransferError):
    """429: too many requests; `retry_after` says when to come back."""

    transient = True


class ServerFault(TransferError):
    """5xx."""

    transient = True


class Untrusted(TransferError):
    """The host's certificate is not one that this machine trusts."""


class Interrupted(TransferError):
    """The connection could not be made, broke, or stalled."""

    transient = True


class HostDown(TransferError):
    """No request was made: the host did not answer others, and is tried again in `retry_after` seconds.

    Attributes
    ----------
    lasting
        Seconds for which it has been down.
    """

    transient = True

    def __init__(
        self, message: str, *, hint: str = "", retry_after: float | None = None, lasting: float = 0.0
    ) -> None:
        super().__init__(message, hint=hint, retry_after=retry_after)
        self.lasting = lasting


class WrongBody(TransferError):
    """A log-in, error or quota page where data was promised, whatever the status says."""


class WrongRange(WrongBody):
    """A partial answer that is not the range that was asked for."""


class ShortBody(TransferError):
    """The body ended before the length that the server announced."""

    transient = True


class SizeMismatch(TransferError):
    """The file is whole, and not of the size that the plan says."""


class ChecksumMismatch(TransferError):
    """The file is whole, and not the bytes that the plan says."""


class Drifted(ChecksumMismatch):
    """The file is whole, and not the bytes that were staged before it was released."""


class StructureError(TransferError):
    """The file is not a whole file of its kind."""


class NoSource(TransferError):
    """None of the asset's sources can be used."""


class Offline(TransferError):
    """The asset is not staged, and the caller allows no request."""


class Unresolvable(TransferError):
    """The plan already says that this asset cannot be had."""


class FetchFailed(SkystageError):
    """At least one asset of a batch failed; all others are staged.

    Attributes
    ----------
    failures
        Asset path to the error that ended it.
    """

    exit_code = 4

    def __init__(self, failures: Mapping[str, SkystageError], planned: int) -> None:
        first = next(iter(failures.items()))
        super().__init__(
            f"{len(failures)} of {planned} assets failed, the first: {first[0]}: {first[1].message}",
            hint=first[1].hint,
        )
        self.failures = dict(failures)
        self.planned = planned

    @property
    def transient(self) -> bool:  # type: ignore[override]
        """Whether a second run can help: if at least one of the failures is transient."""
        return any(error.transient for error in self.failures.values())
