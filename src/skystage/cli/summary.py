"""``skystage summary``: the stacks of a plan or a search, and the dates on which the area is covered."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from skystage.cli.output import DONE, out, out_json, say, size_text, sizes_text, table
from skystage.errors import QueryError

if TYPE_CHECKING:
    from skystage.plan import Plan
    from skystage.report import Pass, Stack, Track
    from skystage.searching import SearchFile


def declare(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("plan", type=Path, help="a plan, or the granules of `skystage search -o`")
    parser.add_argument(
        "--scenes", action="store_true", help="list the scenes of each stack, with their times"
    )
    parser.add_argument(
        "--dates",
        action="store_true",
        help="for each track, the dates whose frames cover the area, and the rest",
    )
    parser.add_argument(
        "--min-coverage", type=_fraction, metavar="PART", help="with --dates: what is enough; default 1.0"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print a row for each stack, or for each date."""
    from skystage.report import UNKNOWN, stacks
    from skystage.searching import opened

    found = opened(arguments.plan)
    if arguments.dates:
        return _dates(found, 1.0 if arguments.min_coverage is None else arguments.min_coverage, arguments)
    if arguments.min_coverage is not None:
        raise QueryError("--min-coverage: is for --dates", hint="add --dates")
    groups = stacks(found.granules())
    if arguments.json:
        out_json(stacks=[stack.to_json(scenes=arguments.scenes) for stack in groups])
        return DONE
    # What no satellite on a track saw, such as the stars, is told by the stack's own name.
    tracks = not groups or any({one.direction, one.path, one.frame} != {UNKNOWN} for one in groups)
    table(
        (
            *(("direction", "path", "frame") if tracks else ("stack",)),
            *("granules", "dates", "first", "last", "gap", "platforms", "size"),
        ),
        [_stack_row(stack, tracks=tracks) for stack in groups],
    )
    paid, unsized = sum(one.paid_bytes for one in groups), sum(one.paid_unsized for one in groups)
    if paid or unsized:
        say(f"the requester pays for {sizes_text(paid, unsized)} of it")
    if arguments.scenes:
        for stack in groups:
            out(f"\n{stack.key}")
            for scene in stack.scenes:
                out(f"  {'' if scene.start is None else f'{scene.start:%Y-%m-%d %H:%M:%S}':<19}  {scene.id}")
    return DONE


def _dates(found: Plan | SearchFile, least: float, arguments: argparse.Namespace) -> int:
    from skystage import archives
    from skystage.report import coverage_by_date

    area = found.query.get("area")
    if area is None:
        raise QueryError(
            f"{found.path}: its query has no area", hint="coverage is a part of the query's area"
        )
    properties = archives.get(found.query["archive"]).properties
    tracks = coverage_by_date(found.granules(), area, properties=properties, least=least)
    if arguments.json:
        out_json(min_coverage=least, tracks=[track.to_json() for track in tracks])
        return DONE
    table(
        ("direction", "path", "date", "platform", "frames", "coverage", "why not"),
        [_date_row(track, one, least) for track in tracks for one in track.passes],
    )
    for track in tracks:
        count = f"{len(track.covered)} of {len(track.passes)} dates"
        say(f"{track.direction} {track.path}: {count} cover the area")
    return DONE


def _date_row(track: Track, one: Pass, least: float) -> tuple[str, ...]:
    why = ""
    if one.coverage < least:
        why = f"missing {', '.join(one.missing)}" if one.missing else "no frame of the track covers more"
    return (
        track.direction,
        track.path,
        one.date or "",
        one.platform,
        str(len(one.granules)),
        # Cut, not rounded: 1.0000 is all of it.
        f"{int(one.coverage * 10_000) / 10_000:.4f}",
        why,
    )


def _stack_row(stack: Stack, *, tracks: bool) -> tuple[str, ...]:
    return (
        *((stack.direction, stack.path, stack.frame) if tracks else (stack.key,)),
        str(len(stack.scenes)),
        str(len(stack.dates)),
        stack.dates[0] if stack.dates else "",
        stack.dates[-1] if stack.dates else "",
        f"{stack.longest_gap} d",
        ", ".join(stack.platforms),
        size_text(stack.bytes),
    )


def _fraction(text: str) -> float:
    from skystage.criteria import number_of

    number = number_of(text)
    if number is None or not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a part of the area, 0 to 1")
    return float(number)
