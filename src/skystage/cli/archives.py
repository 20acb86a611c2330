"""``skystage archives``: what can be queried, with its keys."""

from __future__ import annotations

import argparse

from skystage.cli.output import DONE, out, out_json


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    del parser


def run(arguments: argparse.Namespace) -> int:
    """Print the archives and their keys."""
    from skystage import archives, query

    presets = sorted(query.presets())
    known = [archives.get(name) for name in archives.names()]
    if arguments.json:
        rows = [
            {
                "name": one.name,
                "title": one.title,
                "criteria": sorted(one.criteria.model_fields),
                "filters": sorted(one.properties),
                "assets": one.asset_keys,
                "with": sorted(one.companions),
            }
            for one in known
        ]
        out_json(archives=rows, presets=presets)
        return DONE
    for one in known:
        out(f"{one.name}  {one.title}")
        for word, keys in (
            ("criteria", sorted(one.criteria.model_fields)),
            ("filters", sorted(one.properties)),
            ("assets", ("open",) if one.asset_keys is None else one.asset_keys),
            ("with", sorted(one.companions)),
        ):
            out(f"  {word}: {', '.join(keys)}")
    out(f"presets: {', '.join(presets)}")
    return DONE
