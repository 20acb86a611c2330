"""The one JSON text of a value: what plans and receipts are written as, and what digests are taken of."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

Json: TypeAlias = Any
"""A value that JSON can say: objects, arrays, text, numbers, true, false, null."""


# Made once: `json.dumps` would make it anew for each line of a plan.
_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical(value: Json) -> str:
    """Sorted keys, no spaces: equal values are equal texts."""
    return _encoder.encode(value)
