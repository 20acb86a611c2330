"""Light curves of Kepler, K2 and TESS: staged FITS files in, tables and pictures out, no request.

Each table has a receipt beside it, ``NAME.parquet.json``: what it was made of, what it says, and the sha256
of table and picture. While all that agrees there is nothing to do. One file is in memory at a time.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from skystage import fitsfile
from skystage.canon import canonical
from skystage.derive import curvefiles, curves
from skystage.derive.curvefiles import FORMATS, TOOLS
from skystage.derive.outcome import Outcome
from skystage.derive.scratch import scratch
from skystage.errors import Offline, QueryError, SkystageError, TransferError
from skystage.model import Asset, Json
from skystage.plan import Plan
from skystage.planfile import Batch
from skystage.store import Store
from skystage.verify import digest_file
from skystage.whole import publish


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to make of light curves.

    Attributes
    ----------
    format
        One of `skystage.derive.curvefiles.FORMATS`.
    picture
        Whether there is a PNG beside each table.
    flux
        ``corrected``, ``raw``, or a column: ``pdcsap`` is PDCSAP_FLUX.
    quality
        Which flags make a cadence bad: ``default``, ``hard``, ``none``, or a sum of flags.

    Raises
    ------
    QueryError
        If an option cannot be.
    """

    format: str = "parquet"
    picture: bool = True
    flux: str = curves.CORRECTED
    quality: str = curves.DEFAULT

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            near = difflib.get_close_matches(self.format, FORMATS, 1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise QueryError(f"--format: got {self.format!r}", hint=f"allowed: {', '.join(FORMATS)}{meant}")
        if not re.fullmatch(r"\w+", self.flux, re.ASCII):
            raise QueryError(
                f"--flux: got {self.flux!r}", hint="allowed: corrected, raw, or a column's name: pdcsap"
            )
        curves.parse_mask(self.quality)

    @property
    def suffix(self) -> str:
        """What a file's name says of them: whatever changes its numbers."""
        flux = "" if self.flux.lower() == curves.CORRECTED else f"_{self.flux.lower()}"
        return f"{flux}{'' if self.quality == curves.DEFAULT else f'_q-{self.quality}'}"

    def to_json(self) -> dict[str, Json]:
        """As receipts have them."""
        return {"format": self.format, "picture": self.picture, "flux": self.flux, "quality": self.quality}


def read(given: Mapping[str, Json]) -> Options:
    """Read what a configuration says of light curves: some of the options.

    Raises
    ------
    QueryError
        If there is no such option, or its value cannot be.
    """
    known = [one.name for one in fields(Options)]
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise QueryError(f"lightcurves: no key {key!r}", hint=f"allowed: {', '.join(known)}{meant}")
    picture = given.get("picture", True)
    if not isinstance(picture, bool):
        raise QueryError(f"lightcurves.picture: got {picture!r}", hint="allowed: true, false")
    # YAML may well take a sum of flags for a number.
    texts = {key: str(value) for key, value in given.items() if key != "picture"}
    return Options(**texts, picture=picture)


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one file.

    Attributes
    ----------
    source
        The asset's path below its store, or the file's name.
    table, picture
        Where they lie; None where there is none.
    already
        Whether they lay there already, made of the same.
    summary
        What the light curve says of itself, and how many cadences it has, good ones, and of each flag.
    skipped
        Why there is none: the file is no light curve. No failure.
    """

    source: str
    table: Path | None = None
    picture: Path | None = None
    already: bool = False
    summary: Mapping[str, Json] = field(default_factory=dict)
    skipped: str = ""


@dataclass(slots=True)
class Curves(Outcome[Made]):
    """What became of every file that was asked for.

    Attributes
    ----------
    rows
        Of the table of all, if one was asked for.
    """

    rows: int | None = None


def names(path: str, options: Options) -> tuple[str, str | None]:
    """The table and the picture that are made of an asset of that path, below the folder of what is made."""
    packed = ".gz" if path.lower().endswith(".gz") else ""
    # Both packings of one file may be in a plan.
    stem = re.sub(r"\.fits(\.gz)?$", "", path, flags=re.IGNORECASE) + packed + options.suffix
    return f"{stem}.{options.format}", f"{stem}.png" if options.picture else None


def extract(path: Path, out: Path, options: Options | None = None) -> Made:
    """Make a table, and a picture, of one file that lies anywhere.

    Raises
    ------
    Unresolvable
        If it has no flux of that name.
    StructureError
        If it is broken.
    """
    return _Work(path.name, path, digest_file(path, {})["sha256"], options or Options()).run(out)


def extract_all(
    plan: Plan,
    store: Store,
    out: Path,
    options: Options | None = None,
    *,
    batch: Batch | None = None,
    keys: Collection[str] = (),
    together: Path | None = None,
) -> Curves:
    """Make tables and pictures of the staged light curves of a plan, below `out` under the assets' own paths.

    Parameters
    ----------
    batch
        A part of the plan, or the id of one of its granules.
    keys
        Only assets of these keys.
    together
        A Parquet file for the common columns of all of them.

    Raises
    ------
    PlanError
        If there is no such batch or key.
    QueryError
        If `together` is asked of tables that are no Parquet.
    """
    options = options or Options()
    if together is not None and options.format != "parquet":
        raise QueryError(f"--together: with --format {options.format}", hint="it joins tables in parquet")
    outcome = Curves(failures=dict(plan.lacking(batch, keys)))
    for asset in plan.chosen(batch, keys):
        if not fitsfile.is_fits(asset.name):
            outcome.skipped.append(Made(asset.path, skipped="no FITS"))
            continue
        try:
            done = _staged(asset, plan, store, options).run(out)
        except TransferError as error:
            outcome.failures[asset.path] = error
        except (SkystageError, OSError):  # of the disk, or a package: of no file
            raise
        except Exception as error:  # noqa: BLE001 - what one file does to the tools must not cost the others
            message = f"{asset.path}: {type(error).__name__}: {error}"
            outcome.failures[asset.path] = TransferError(message, hint="please report this")
        else:
            (outcome.skipped if done.skipped else outcome.made).append(done)
    if together is not None:
        outcome.rows = curvefiles.join(_parts(outcome.made), together)
    return outcome


def _parts(made: list[Made]) -> Iterator[curvefiles.Part]:
    for one in made:
        assert one.table is not None  # noqa: S101 - what was made is there
        yield curvefiles.Part(one.table, {**one.summary, "source": one.source})


def _staged(asset: Asset, plan: Plan, store: Store, options: Options) -> _Work:
    receipt = store.receipt(asset)
    there = receipt is not None
    if receipt is None and (gone := store.released(asset)) is not None:
        receipt = gone.receipt
    if receipt is None:
        raise Offline(
            f"{asset.path}: not staged",
            hint=f"skystage fetch {plan.path} --store {store.root} --asset {asset.key}",
        )
    return _Work(asset.path, store.path(asset), receipt.digests["sha256"], options, there=there)


class _Work:
    """The way of one file: from what is staged to a table, a picture and their receipt."""

    def __init__(self, source: str, path: Path, sha256: str, options: Options, *, there: bool = True) -> None:
        self._source, self._path, self._sha256, self._there = source, path, sha256, there
        self._options = options
        table, picture = names(source, options)
        self._files = [table] if picture is None else [table, picture]
        self._recipe = {
            "source": source,
            "sha256": sha256,
            "options": options.to_json(),
            "tools": _versions(options),
        }

    def run(self, out: Path) -> Made:
        """Make them, unless they are there; one process at a time."""
        with scratch(out, hashlib.sha256(self._files[0].encode()).hexdigest()[:32]) as work:
            if (found := self._found(out)) is not None:
                return self._made(out, found, already=True)
            if not self._there:
                raise Offline(
                    f"{self._source}: was released", hint="skystage fetch --released brings it back"
                )
            try:
                curve = curves.read(self._path, self._options.flux, curves.parse_mask(self._options.quality))
            except curves.NoLightCurve as other:
                return Made(self._source, skipped=str(other))
            return self._made(out, self._write(curve, out, work), already=False)

    def _made(self, out: Path, summary: Mapping[str, Json], *, already: bool) -> Made:
        table, *picture = (out / name for name in self._files)
        return Made(self._source, table, picture[0] if picture else None, already, summary)

    def _receipt(self, out: Path) -> Path:
        return out / f"{self._files[0]}.json"

    def _found(self, out: Path) -> Mapping[str, Json] | None:
        """What a receipt says, if its files were made of the same and are still what was made."""
        try:
            receipt = json.loads(self._receipt(out).read_bytes())
            same = receipt["recipe"] == self._recipe
            whole = same and all(
                digest_file(out / name, {})["sha256"] == receipt["files"][Path(name).name]
                for name in self._files
            )
            summary: Mapping[str, Json] = receipt["summary"]
        except (OSError, ValueError, LookupError, TypeError):
            return None
        return summary if whole else None

    def _write(self, curve: curves.Curve, out: Path, work: Path) -> Mapping[str, Json]:
        parts = [work / Path(name).name for name in self._files]
        source = {"source": self._source, "source_sha256": self._sha256}
        curvefiles.write_table(curve, parts[0], self._options.format, source)
        if len(parts) > 1:
            curvefiles.draw(curve, parts[1])
        summary = _summary(curve)
        receipt = {
            "recipe": self._recipe,
            "files": {part.name: digest_file(part, {})["sha256"] for part in parts},
            "summary": summary,
        }
        final = self._receipt(out)
        final.parent.mkdir(parents=True, exist_ok=True)
        # Last the receipt: while it is not there, what lies there counts as not made.
        final.unlink(missing_ok=True)
        for part, name in zip(parts, self._files, strict=True):
            publish(part, out / name)
        (work / final.name).write_text(f"{canonical(receipt)}\n")
        publish(work / final.name, final)
        return summary


def _versions(options: Options) -> dict[str, str]:
    wanted = [*TOOLS[options.format], *(TOOLS["picture"] if options.picture else ())]
    try:
        return {name: version(name) for name in wanted}
    except PackageNotFoundError as error:
        extra = {"matplotlib": "plot", "pyarrow": "parquet"}.get(str(error.name), "all")
        other = "; or --no-picture" if extra == "plot" else "; or --format ecsv" if extra == "parquet" else ""
        raise SkystageError(
            f"derive lightcurves: {error.name} is not installed",
            hint=f"pip install 'skystage[{extra}]'{other}",
        ) from None


def _summary(curve: curves.Curve) -> dict[str, Json]:
    good = curve["good"].values
    time = curve["time"].values[good]
    return {
        "target": curve.target,
        "mission": curve.mission,
        "segment": curve.segment,
        "mode": curve.mode,
        "time_zero": curve.time_zero,
        "first": float(time.min()) if len(time) else None,
        "last": float(time.max()) if len(time) else None,
        "flux_column": curve.flux_column,
        "flux_unit": curve["flux"].unit,
        "cadences": len(good),
        "good": int(good.sum()),
        "flags": dict(curve.flags),
    }
