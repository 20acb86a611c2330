"""Prefect Blocks: credentials that are kept by Prefect's server, and loaded where a task runs.

A Block is named, never handed over: its name is a flow's parameter, and no secret stands in a run's record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from skystage.auth import Secret
from skystage.errors import CredentialsMissing
from skystage.transport import Access

_NONE = SecretStr("")


@runtime_checkable
class Credentials(Protocol):
    """What a Block must give in order to be one of an archive's."""

    def secrets(self) -> Mapping[str, Secret]:
        """The credentials by scheme, as `Access` takes them."""
        ...


class CdseCredentials(Block):
    """Log-in at the Copernicus Data Space, and the keys for its S3; each may be left out.

    Example
    -------
    ::

        from skystage.prefect import CdseCredentials

        CdseCredentials(username="ada", password="...").save("mine")
        credentials = CdseCredentials.load("mine")
    """

    _block_type_name = "CDSE Credentials"
    _block_type_slug = "cdse-credentials"

    username: str = Field(default="", description="The user's name: mostly an e-mail address.")
    password: SecretStr = Field(default=_NONE, description="The user's password.")
    totp_secret: SecretStr = Field(
        default=_NONE, description="Of an account with two factors: what its codes are made from (base32)."
    )
    client_id: str = Field(default="", description="A client of your own, used without user and password.")
    client_secret: SecretStr = Field(default=_NONE, description="The client's secret.")
    s3_access_key: str = Field(default="", description="The access key for eodata.")
    s3_secret_key: SecretStr = Field(default=_NONE, description="The secret key for eodata.")

    def secrets(self) -> Mapping[str, Secret]:
        """The credentials by scheme, as `Access` takes them."""
        return {
            "cdse": Secret(
                username=self.username,
                password=self.password.get_secret_value(),
                totp_secret=self.totp_secret.get_secret_value(),
                client_id=self.client_id,
                client_secret=self.client_secret.get_secret_value(),
                found="Block",
            ),
            "cdse-s3": Secret(
                username=self.s3_access_key, password=self.s3_secret_key.get_secret_value(), found="Block"
            ),
        }


class MastCredentials(Block):
    """A token of MAST's, for data under exclusive access.

    Example
    -------
    ::

        from skystage.prefect import MastCredentials

        MastCredentials(token="...").save("mine")
        credentials = MastCredentials.load("mine")
    """

    _block_type_name = "MAST Credentials"
    _block_type_slug = "mast-credentials"

    token: SecretStr = Field(description="It ends after 10 days without use, or 60 in all.")

    def secrets(self) -> Mapping[str, Secret]:
        """The credentials by scheme, as `Access` takes them."""
        return {"mast": Secret(token=self.token.get_secret_value(), found="Block")}


def open_access(credentials: str | None) -> Access:
    """What a task may reach: with the credentials of a Block, else with those of environment and netrc.

    Parameters
    ----------
    credentials
        The Block, as Prefect writes it: ``TYPE/NAME``, for example ``cdse-credentials/mine``.

    Raises
    ------
    CredentialsMissing
        If the Block is of another kind.
    """
    if credentials is None:
        return Access()
    block = Block.load(credentials)
    if not isinstance(block, Credentials):
        raise CredentialsMissing(
            f"{credentials}: a Block without credentials of an archive",
            hint="for example cdse-credentials/NAME",
        )
    return Access(secrets=block.secrets())
