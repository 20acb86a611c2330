"""skystage stages archive data inside Prefect and Snakemake workflows, byte for byte verified.

The way through: a `Query` is read, searched, filtered and frozen into a `Plan`; the plan is fetched
into a store, where each verified asset has a `Receipt`; receipts become a STAC manifest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skystage.adopt import adopt_folder
    from skystage.batch import fetch_all, fetch_plan
    from skystage.errors import SkystageError
    from skystage.fetch import fetch_asset
    from skystage.frames import geodataframe
    from skystage.model import Asset, Granule, Query, Receipt, Source
    from skystage.plan import Plan
    from skystage.planning import build as build_plan
    from skystage.query import parse as parse_query
    from skystage.query import read as read_query
    from skystage.release import release_plan
    from skystage.searching import SearchFile, search
    from skystage.store import Store
    from skystage.transport import Access

__version__ = "0.1.0"

_PUBLIC = {
    "Access": ("skystage.transport", "Access"),
    "Asset": ("skystage.model", "Asset"),
    "Granule": ("skystage.model", "Granule"),
    "Plan": ("skystage.plan", "Plan"),
    "Query": ("skystage.model", "Query"),
    "Receipt": ("skystage.model", "Receipt"),
    "SearchFile": ("skystage.searching", "SearchFile"),
    "SkystageError": ("skystage.errors", "SkystageError"),
    "Source": ("skystage.model", "Source"),
    "Store": ("skystage.store", "Store"),
    "adopt_folder": ("skystage.adopt", "adopt_folder"),
    "build_plan": ("skystage.planning", "build"),
    "fetch_asset": ("skystage.fetch", "fetch_asset"),
    "fetch_all": ("skystage.batch", "fetch_all"),
    "fetch_plan": ("skystage.batch", "fetch_plan"),
    "geodataframe": ("skystage.frames", "geodataframe"),
    "parse_query": ("skystage.query", "parse"),
    "release_plan": ("skystage.release", "release_plan"),
    "read_query": ("skystage.query", "read"),
    "search": ("skystage.searching", "search"),
}

__all__ = [
    "Access",
    "Asset",
    "Granule",
    "Plan",
    "Query",
    "Receipt",
    "SearchFile",
    "SkystageError",
    "Source",
    "Store",
    "__version__",
    "adopt_folder",
    "build_plan",
    "fetch_all",
    "fetch_asset",
    "fetch_plan",
    "geodataframe",
    "parse_query",
    "read_query",
    "release_plan",
    "search",
]


def __getattr__(name: str) -> object:
    # PEP 562: `import skystage` costs nothing; each name loads its room when it is first used.
    if name not in _PUBLIC:
        raise AttributeError(f"module 'skystage' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
