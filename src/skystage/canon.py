"""The one JSON text of a value: what plans and receipts are written as, and what digests are taken of."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

Json: TypeAlias = Any
"""A value that JSON can say: objects, arrays, text, numbers, true, false, null."""


def canonical(value: Json) -> str:
    """Sorted keys, no spaces: equal values are equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
