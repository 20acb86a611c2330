"""S3 direct access: an archive's own buckets, for those who compute in the region where they lie.

The archive's log-in gives keys that live for an hour and are good for nothing outside of that region:
there the buckets answer 403, and the bytes come by https. So a plan names both ways, and this one is only
taken where ``AWS_REGION`` (or ``AWS_DEFAULT_REGION``) says that we are there.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from skystage.auth import Secret
from skystage.errors import CredentialsMissing, Interrupted, NoSource, TransferError
from skystage.model import from_iso


@dataclass(frozen=True, slots=True)
class Direct:
    """Where an archive gives keys for its buckets, and where these lie."""

    address: str
    auth: str
    """The log-in that `address` asks for."""
    region: str


DIRECT: Mapping[str, Direct] = {
    "asf-s3": Direct("https://sentinel1.asf.alaska.edu/s3credentials", "earthdata", "us-west-2")
}
"""By the word that a source's `auth` says."""
LIFE = 0.8
"""The share of their life after which keys are asked for anew."""


class Keys:
    """The temporary keys of one archive, asked for once for all threads.

    Parameters
    ----------
    read
        ``read(address, auth)``: the document at an address, logged in.
    """

    def __init__(self, name: str, read: Callable[[str, str], bytes]) -> None:
        self._direct = DIRECT[name]
        self._read = read
        self._secret = Secret()
        self._due = 0.0
        self._problem = ""
        self._mutex = threading.Lock()

    def useless(self) -> NoSource | None:
        """Why there is no point in trying, if there is none."""
        if (os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")) != self._direct.region:
            return NoSource(
                f"S3 direct access works in {self._direct.region} only, and AWS_REGION is another"
            )
        return NoSource(f"S3 direct access: {self._problem}") if self._problem else None

    def give_up(self, problem: str) -> None:
        """There is no way in, whatever AWS_REGION says: no other asset shall try it again."""
        self._problem = problem

    def secret(self) -> Secret:
        """Keys that are still good.

        Raises
        ------
        NoSource
            If the archive does not give any: then nobody asks again.
        """
        with self._mutex:
            if not self._problem and time.monotonic() >= self._due:
                try:
                    self._secret = self._ask()
                except (TransferError, CredentialsMissing) as error:
                    self.give_up(error.message)
            if (useless := self.useless()) is not None:
                raise useless
            return self._secret

    def _ask(self) -> Secret:
        said = self._read(self._direct.address, self._direct.auth)
        try:
            keys = json.loads(said)
            life = (from_iso(keys["expiration"]) - datetime.now(UTC)).total_seconds()
            secret = Secret(
                username=keys["accessKeyId"], password=keys["secretAccessKey"], token=keys["sessionToken"]
            )
        except (ValueError, KeyError, TypeError):
            life = 0.0
        if life <= 0:
            raise Interrupted(f"{self._direct.address}: gave no keys that are good")
        self._due = time.monotonic() + LIFE * life
        return secret
