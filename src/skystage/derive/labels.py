"""Values of staged labels as a table, for whoever plots or sorts by them: no request is made."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from skystage.errors import FetchFailed, LabelError, PlanError, QueryError, SkystageError
from skystage.model import Json
from skystage.plan import Plan
from skystage.pvl import Label
from skystage.store import Store
from skystage.whole import whole

COLUMNS = ("id", "name", "value", "unit")
SUFFIXES = (".csv", ".json", ".parquet")
_FIRST = 1 << 16
"""Bytes to begin with: ISIS keeps as much for the label of a cube, and the image lies behind it."""
_MOST = 1 << 24
"""Bytes that a label may have."""


class Row(NamedTuple):
    """One value of one label."""

    id: str
    """The granule's."""
    name: str
    """What the value was called by whoever asked."""
    value: Json
    unit: Json
    """As the label spells it; None where it says none."""


@dataclass(slots=True)
class Table:
    """The values of the labels of a plan, in the plan's order.

    Attributes
    ----------
    labels
        How many labels were read.
    failures
        What could not be read, one error a label or value, each with the granule's name.
    """

    rows: list[Row] = field(default_factory=list)
    labels: int = 0
    failures: list[SkystageError] = field(default_factory=list)

    def raise_for_failures(self) -> None:
        """Raise one summary error if anything could not be read.

        Raises
        ------
        FetchFailed
            With every failure.
        """
        if self.failures:
            failures = {error.message: error for error in self.failures}
            raise FetchFailed(failures, self.labels + len(failures))


def asked(query: Mapping[str, Json]) -> tuple[str, Mapping[str, str]]:
    """The key of the labels that a query names, and the values in them, if it stages them.

    Raises
    ------
    QueryError
        If it does not.
    """
    if not (labels := query.get("labels")):
        raise QueryError("labels: the query names none", hint="say which asset is the label, and what of it")
    if (wanted := query.get("assets")) and labels["asset"] not in wanted:
        raise QueryError(f"labels: {labels['asset']!r} is not staged", hint="name it under assets: as well")
    return labels["asset"], labels["values"]


def table(plan: Plan, store: Store, key: str, values: Mapping[str, str]) -> Table:
    """Read values of the staged labels of a plan.

    Parameters
    ----------
    key
        Of the asset that is the label.
    values
        Names to paths in it (`skystage.pvl.Label.value`).

    Raises
    ------
    PlanError
        If no granule of the plan has such an asset.
    """
    found = Table()
    keys: set[str] = set()
    for granule in plan.granules():
        keys.update(asset.key for asset in granule.assets)
        found.failures += [
            LabelError(f"{granule.id}: {key}: {one.reason}") for one in granule.unresolved if one.key == key
        ]
        if (asset := granule.asset(key)) is None:
            continue
        if store.receipt(asset) is None:
            hint = f"skystage fetch --asset {key}"
            found.failures.append(LabelError(f"{granule.id}: {asset.name} is not staged", hint=hint))
            continue
        try:
            label = of_file(store.path(asset))
        except LabelError as error:
            found.failures.append(LabelError(f"{granule.id}: {error.message}"))
            continue
        found.labels += 1
        for name, path in values.items():
            try:
                found.rows.append(Row(granule.id, name, *label.value(path)))
            except LabelError as error:
                found.failures.append(LabelError(f"{granule.id}: {error.message}", hint=error.hint))
    if keys and key not in keys and not found.failures:
        raise PlanError(
            f"{plan.path}: has no asset {key!r}: it has {', '.join(sorted(keys))}",
            hint="name it under assets: of the query, and plan again",
        )
    return found


def of_file(path: Path) -> Label:
    """The label that a file is, or begins with: of an image no more is read than its label.

    Raises
    ------
    LabelError
        If it is none, or is cut.
    """
    count = _FIRST
    with path.open("rb") as file:
        content = file.read(count)
        while True:
            whole_file = len(content) < count
            try:
                label = Label(content, path.name)
                if label.end < len(content) or whole_file:
                    return label
            except LabelError:
                # What is cut anywhere looks broken there.
                if whole_file or count >= _MOST:
                    raise
            content += file.read(15 * count)
            count *= 16


def write(found: Table, path: Path) -> None:
    """Write the table as CSV, JSON or Parquet, by the suffix of `path`.

    In Parquet values are numbers if all are, else texts; in CSV and there, lists are JSON.

    Raises
    ------
    SkystageError
        For another suffix, or Parquet without the package that writes it.
    """
    if path.suffix not in SUFFIXES:
        raise SkystageError(
            f"{path}: cannot write a table as {path.suffix!r}", hint=f"allowed: {', '.join(SUFFIXES)}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        if path.suffix == ".json":
            rows = [row._asdict() for row in found.rows]
            part.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        elif path.suffix == ".csv":
            with part.open("w", encoding="utf-8", newline="") as file:
                lines = csv.writer(file)
                lines.writerow(COLUMNS)
                lines.writerows((one.id, one.name, _text(one.value), _text(one.unit)) for one in found.rows)
        else:
            _write_parquet(found, part)


def _text(value: Json) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _write_parquet(found: Table, part: Path) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise SkystageError(
            "Parquet needs the package pyarrow", hint="pip install 'skystage[parquet]'"
        ) from error
    numbers = all(
        isinstance(row.value, int | float) and not isinstance(row.value, bool) for row in found.rows
    )
    kind = pa.float64() if numbers and found.rows else pa.string()
    values = [
        float(row.value) if kind == pa.float64() else None if row.value is None else _text(row.value)
        for row in found.rows
    ]
    columns = [
        pa.array([row.id for row in found.rows], pa.string()),
        pa.array([row.name for row in found.rows], pa.string()),
        pa.array(values, kind),
        pa.array([_text(row.unit) or None for row in found.rows], pa.string()),
    ]
    parquet.write_table(pa.table(columns, names=list(COLUMNS)), part)
