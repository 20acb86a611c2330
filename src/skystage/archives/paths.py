"""Names that catalogues give, as components of paths."""

from __future__ import annotations

import hashlib
import re

_LONGEST = 180
"""Characters of a name that a catalogue gives: file systems take 255 bytes."""


def component(name: str) -> str:
    """A name that a catalogue gives as one component of a path."""
    return re.sub(r"[^\w.+=@-]", "_", name).lstrip(".")[-_LONGEST:] or "_"


def directory(name: str) -> str:
    """The same for what has to stay apart from others of its kind: ``a:b`` and ``a/b`` are two items."""
    clean = component(name)
    return clean if clean == name else f"{clean}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
