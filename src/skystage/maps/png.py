"""A footprint map as an image, by matplotlib: without its global state, and without a display."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from skystage.errors import MapError
from skystage.maps.graticule import ticks
from skystage.maps.scene import Part, Scene

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path as Outline

INK, MUTED, GRID = "#1b2733", "#5c6b7a", "#dde3e9"
LEGEND = 12
"""Stacks that the legend names; more would hide the map."""
MARGIN = 0.06
"""Of the larger extent, around what is shown."""
SMALLEST = 1e-4
"""Degrees: the extent of a map of one point."""
SHAPES = (0.45, 1.1)
"""Height by width of the map, at least and at most."""
DASHED = (0, (5, 3))
WIDTH, HEAD, ROW, DPI = 9.0, 0.6, 0.2, 160
"""Inches: of the image, its title, a row of the legend; and pixels in one."""


def write(scene: Scene, path: Path, title: str) -> None:
    """Draw a scene.

    Raises
    ------
    MapError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MapError("a map as .png needs matplotlib", hint="pip install 'skystage[plot]'") from None
    wide = 1 / math.cos(math.radians(scene.bounds.parallel))
    west, south, east, north = _window(scene, wide)
    height = WIDTH * (north - south) * wide / (east - west)
    rows = (min(len(scene.stacks), LEGEND + 1) + bool(scene.area) + 3) // 4
    size = (WIDTH, height + HEAD + ROW * rows)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.set_xlim((east, west) if scene.body == "sky" else (west, east))
    axes.set_ylim(south, north)
    axes.set_aspect(wide)
    _graticule(axes, scene, (west, south, east, north))
    _stacks(axes, scene)
    _outline(axes, scene.area, colour=INK, opacity=0, width=1.4, style=DASHED)
    if scene.area:
        axes.plot([], [], color=INK, linewidth=1.4, linestyle=DASHED, label="area of interest")
    if (named := axes.get_legend_handles_labels())[0]:
        legend = figure.legend(
            *named, loc="outside lower left", ncols=4, frameon=False, fontsize=8, labelcolor=INK
        )
        for text in legend.get_texts():
            text.set_parse_math(False)  # an archive's dollar signs are dollar signs
    count = len(scene.features)
    said = f"{count:,} footprint{'' if count == 1 else 's'}"
    if scene.without:
        said += f", {scene.without:,} more without a place"
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=INK, parse_math=False)
    axes.set_title(said, loc="right", fontsize=9, color=MUTED)
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", metadata={"Software": None})


def _window(scene: Scene, wide: float) -> tuple[float, float, float, float]:
    """West, south, east and north of the image: what must be seen, a margin, and no sliver of a map."""
    bounds = scene.bounds
    width = max(bounds.east - bounds.west, SMALLEST * wide)
    height = max(bounds.north - bounds.south, SMALLEST)
    margin = MARGIN * max(width / wide, height)
    width, height = width + 2 * margin * wide, height + 2 * margin
    height = max(height, width / wide * SHAPES[0])
    width = max(width, height * wide / SHAPES[1])
    lon, lat = bounds.middle
    south, north = max(lat - height / 2, -90.0), min(lat + height / 2, 90.0)
    return lon - width / 2, south, lon + width / 2, north


def _graticule(axes: Axes, scene: Scene, window: tuple[float, float, float, float]) -> None:
    west, south, east, north = window
    sky = scene.body == "sky"
    axes.set_xticks(*_places(ticks(west, east, meridians=True, sky=sky)))
    axes.set_yticks(*_places(ticks(south, north, meridians=False, sky=sky)))
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=6, labelsize=8, labelcolor=MUTED)
    for spine in axes.spines.values():
        spine.set_color(GRID)


def _places(found: list[tuple[float, str]]) -> tuple[list[float], list[str]]:
    return [place for place, _ in found], [label for _, label in found]


def _stacks(axes: Axes, scene: Scene) -> None:
    """Each stack as one shape: where a thousand scenes overlap, one colour is still seen through."""
    drawn: list[list[Part]] = [[] for _ in scene.stacks]
    for feature in scene.features:
        drawn[feature.stack] += feature.parts
    for number, (layer, members) in enumerate(zip(scene.stacks, drawn, strict=True)):
        _outline(axes, members, colour=layer.colour, opacity=0.2, width=0.7)
        if number < LEGEND:
            # matplotlib leaves out labels that begin with an underscore.
            label = f"{layer.key or 'no stack'}  ({layer.count:,})".lstrip("_")
            axes.plot([], [], color=layer.colour, linewidth=5, label=label)
    if (more := len(scene.stacks) - LEGEND) > 0:
        axes.plot([], [], linestyle="none", label=f"and {more:,} more stacks")


def _outline(
    axes: Axes,
    members: Iterable[Part],
    *,
    colour: str,
    opacity: float,
    width: float,
    style: tuple[int, tuple[int, int]] | str = "solid",
) -> None:
    """Draw parts as one compound shape; points as marks, since they have no size of their own."""
    from matplotlib.collections import PathCollection

    members = list(members)
    for kind, fill in (("polygon", opacity), ("line", 0)):
        if shapes := [part for part in members if part.kind == kind]:
            drawn = PathCollection(
                [_compound(shapes)],
                edgecolor=(colour, 0.8),
                facecolor=(colour, fill),
                linewidth=width,
                linestyle=style,
            )
            axes.add_collection(drawn, autolim=False)
    if points := [part.rings[0][0] for part in members if part.kind == "point"]:
        lon, lat = zip(*points, strict=True)
        axes.scatter(lon, lat, s=22, color=colour, linewidth=0, zorder=5)


def _compound(members: Iterable[Part]) -> Outline:
    """Parts as one path; all shells turn the same way, so what lies over each other stays filled."""
    from matplotlib.path import Path as Outline

    vertices: list[tuple[float, float]] = []
    codes: list[int] = []
    for part in members:
        for ring in part.rings:
            vertices += ring
            codes += [int(Outline.MOVETO), *[int(Outline.LINETO)] * (len(ring) - 1)]
    return Outline(vertices, codes)
