"""Light curves as files: a table that says its units, and a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from skystage.derive.curves import RELATIVE, Curve
from skystage.model import Json
from skystage.whole import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS: Mapping[str, str] = {"parquet": "parquet", "ecsv": "ascii.ecsv"}
"""What tables are written as, and what astropy calls that; each is its files' suffix, too."""
TOOLS: Mapping[str, tuple[str, ...]] = {
    "parquet": ("astropy", "pyarrow"),
    "ecsv": ("astropy",),
    "picture": ("matplotlib",),
}
"""Packages whose version can change the bytes."""
SIZE, DPI = (11.0, 4.2), 110
PLACE = (0.1, 0.19, 0.88, 0.72)
"""Left, bottom, width and height of the curve, as parts of the picture."""
INK, MUTED, GRID, GOOD, FLAGGED = "#1b2733", "#5c6b7a", "#dde3e9", "#1f5fa8", "#d9622b"
MARGIN = 0.08
"""Of the range of good fluxes, below and above."""
COMMON = ("time", "cadence", "flux", "flux_err", "quality", "good")
"""The columns that each table has."""


def write_table(curve: Curve, path: Path, kind: str, source: Mapping[str, str]) -> None:
    """Write a table.

    Parameters
    ----------
    kind
        One of `FORMATS`.
    source
        The file's name and sha256: they become metadata, as all that the curve says of itself.
    """
    from astropy.table import Column, Table

    made = [
        Column(one.values, name=one.name, unit=one.unit or None, description=one.about or None)
        for one in curve.columns
    ]
    said = {
        "target": curve.target,
        "mission": curve.mission,
        "segment": curve.segment,
        "mode": curve.mode,
        "ra_deg": curve.ra,
        "dec_deg": curve.dec,
        "time_zero_jd": curve.time_zero,
        "time_scale": curve.time_scale,
        "time_reference": curve.time_reference,
        "flux_column": curve.flux_column,
        "flux_err_column": curve.flux_err_column,
        "quality_column": curve.quality_column,
        "quality_mask": curve.mask,
        **source,
    }
    meta = {name: value for name, value in said.items() if value not in {"", None}}
    Table(made, meta=meta).write(path, format=FORMATS[kind])


def draw(curve: Curve, path: Path) -> None:
    """Draw time against flux, with the bad cadences marked; a PNG.

    The range is that of the good fluxes. What lies outside of it, or has no flux at all, is marked at the
    edge.
    """
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=DPI, facecolor="white")
    # A place of its own: to find the best one draws everything twice.
    axes = figure.add_axes(PLACE)
    time, flux, good = (curve[name].values for name in ("time", "flux", "good"))
    bad = ~good & np.isfinite(time)
    numbers = flux[good] if good.any() else flux[bad & np.isfinite(flux)]
    low, high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (0.0, 1.0)
    margin = (high - low or abs(high) or 1.0) * MARGIN
    low, high = low - margin, high + margin
    axes.set_ylim(low, high)
    axes.plot(time[good], flux[good], ".", color=GOOD, markersize=2, label=f"good ({good.sum():,})")
    shown = np.clip(np.nan_to_num(flux[bad], nan=low), low, high)
    axes.plot(
        *(time[bad], shown, "x"),
        color=FLAGGED,
        markersize=4,
        markeredgewidth=0.8,
        clip_on=False,
        label=f"flagged, or without flux ({len(good) - good.sum():,})",
    )
    unit = "relative" if curve.flux_column in RELATIVE else curve["flux"].unit
    axes.set_xlabel(_time(curve), color=INK, parse_math=False)
    axes.set_ylabel(
        f"{curve.flux_column} ({unit})" if unit else curve.flux_column, color=INK, parse_math=False
    )
    axes.set_title(
        curve.target or path.stem, loc="left", color=INK, fontsize=12, fontweight="bold", parse_math=False
    )
    about = ", ".join(filter(None, (curve.mission, curve.segment, curve.mode)))
    axes.set_title(about, loc="right", color=MUTED, fontsize=9, parse_math=False)
    _style(axes)
    figure.legend(loc="lower left", ncols=2, frameon=False, fontsize=8, labelcolor=INK, markerscale=2)
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", metadata={"Software": None})


def _time(curve: Curve) -> str:
    return f"time (BJD - {curve.time_zero:.10g}, {' '.join(filter(None, (curve.time_scale, 'days')))})"


def _style(axes: Axes) -> None:
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=6, labelsize=8, labelcolor=MUTED)
    axes.ticklabel_format(useOffset=False)
    for spine in axes.spines.values():
        spine.set_color(GRID)


@dataclass(frozen=True, slots=True)
class Part:
    """A table that is to be joined, and what its rows have in common."""

    path: Path
    summary: Mapping[str, Json]


def join(parts: Iterable[Part], path: Path) -> int:
    """Write the common columns of tables into one, one after the other; how many rows it has.

    Each row also has ``target``, ``mission``, ``segment``, ``source``, ``time_zero`` and ``flux_unit``. No
    more than one table is in memory.

    Parameters
    ----------
    parts
        Tables in Parquet.
    path
        What is written: Parquet, one row group a table.
    """
    import pyarrow as pa
    from pyarrow import parquet

    types = {
        **dict.fromkeys(("target", "mission", "segment", "source"), pa.string()),
        "time": pa.float64(),
        "time_zero": pa.float64(),
        "cadence": pa.int32(),
        "flux": pa.float64(),
        "flux_err": pa.float64(),
        "flux_unit": pa.string(),
        "quality": pa.int32(),
        "good": pa.bool_(),
    }
    schema = pa.schema(types, metadata={"time": "days since time_zero, a barycentric Julian date in TDB"})
    rows = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part, parquet.ParquetWriter(part, schema) as writer:
        for one in parts:
            table = parquet.read_table(one.path, columns=list(COMMON))
            columns = [
                table[name].cast(kind)
                if name in COMMON
                else pa.repeat(pa.scalar(one.summary[name], kind), table.num_rows)
                for name, kind in types.items()
            ]
            writer.write_table(pa.table(columns, schema=schema))
            rows += table.num_rows
    return rows
