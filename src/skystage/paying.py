"""What the requester pays for: asked for only by who has agreed to it, and only where it is not free."""

from __future__ import annotations

from dataclasses import replace

from skystage.model import Asset, Query, Unresolved

PAID = "only where the requester pays: `requester_pays: true` agrees to it"


def affordable(asset: Asset, query: Query) -> Asset | Unresolved:
    """An asset with the sources that a query has agreed to, or the reason why it has none.

    One that is free somewhere loses the sources that are not, agreed or not: so it is known before for how
    much there is to pay.
    """
    if asset.paid:
        return asset if query.requester_pays else Unresolved(key=asset.key, reason=PAID)
    return replace(asset, sources=tuple(one for one in asset.sources if not one.requester_pays))
