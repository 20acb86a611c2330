"""``skystage`` with digests that cost nothing: what is left is what moving the bytes costs."""

from __future__ import annotations

from skystage import cli, verify


def _nothing(self: verify.Digester, data: verify.Buffer) -> None:
    """Take no bytes."""


verify.Digester.update = _nothing  # type: ignore[method-assign]
cli.main()
