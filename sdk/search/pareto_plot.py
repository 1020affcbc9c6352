"""The picture of a Pareto front: a panel for every two objectives, and what its numbers are."""

import itertools
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.system.whole_files import whole_file
from leansight.sdk.search.objectives import OBJECTIVES, Objective, pareto_front

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.transforms import Bbox

# Okabe and Ito's colours, which differ for the colour-blind too; the marks differ besides.
_STYLES: Final = (("o", "#0072B2"), ("^", "#D55E00"), ("s", "#009E73"), ("D", "#CC79A7"))
_GREY: Final = "#9a9a9a"
_FAINT: Final = "#d9d9d9"
_ROOM: Final = 0.12  # of what an axis shows, beside its outermost points
_LOG_FROM: Final = 5  # times the smallest value: then an axis is logarithmic
_DARK: Final = "#555555"
_PANEL_INCHES: Final = 5.8
_ALONE_INCHES: Final = 7.5  # of one panel in a row
_TITLE_INCHES: Final = 0.65
_LINE_INCHES: Final = 0.19
_VALUE_INCHES: Final = 0.6
_LETTERS_PER_INCH: Final = 19
_LABEL_POINTS: Final = 8
_DISTANCES: Final = (9, 14, 20, 27, 35, 44, 54, 66)  # of a label from its point, in points
# Of a label from where better points would be: nothing is in its way there.
_ANGLES: Final = np.deg2rad([0, 25, -25, 50, -50, 75, -75, 100, -100, 130, -130, 155, -155, 180])
_SAME_PLACE: Final = 2.0  # pixels


@dataclass(frozen=True, kw_only=True)
class PlotPoint:
    """A bundle in the picture: its measured values by field, and its number on the front.

    `number` is None for what is beaten; `group` decides mark and colour.
    """

    values: Mapping[str, float]
    group: str
    text: str
    number: int | None = None


def write_pareto_picture(
    shown: Sequence[PlotPoint],
    objectives: Sequence[Objective],
    file: Path,
    *,
    title: str,
    note: str,
) -> None:
    """Draw what was found as a PNG."""
    figure = draw(shown, objectives, title=title, note=note)
    with whole_file(file) as part:
        figure.savefig(part, format="png", dpi=160)


def draw(
    shown: Sequence[PlotPoint], objectives: Sequence[Objective], *, title: str, note: str
) -> "Figure":
    """Draw a panel for every pair of what is gained and what is paid, and name the front below.

    The line of a panel is the front of its two objectives alone.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    front = sorted((s for s in shown if s.number is not None), key=lambda s: s.number or 0)
    styles = _styles(shown)
    pairs = _panels(objectives)
    columns = min(2, len(pairs))
    rows, lines = -(-len(pairs) // columns), -(-len(front) // columns)
    width = _PANEL_INCHES * columns if columns > 1 else _ALONE_INCHES
    note = textwrap.fill(note, int(width * _LETTERS_PER_INCH))
    below = lines + 1 + max(2, note.count("\n") + 1)
    heights = (_TITLE_INCHES, 3.4 * rows, _LINE_INCHES * below)
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(3, 1, height_ratios=heights)  # an array, as matplotlib has it
    top, middle, bottom = parts
    _write_title(top, title, styles)
    panels = middle.subplots(rows, columns, squeeze=False).flatten()
    for (across, up), axes in zip(pairs, panels, strict=False):
        _draw_panel(axes, shown, across, up, styles)
    for axes in panels[len(pairs) :]:
        axes.set_axis_off()
    _write_list(bottom, front, objectives, styles, columns, (width, below), note)
    # The labels are put where there is room, so the panels must have their places first.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for (across, up), axes in zip(pairs, panels, strict=False):
        _label(axes, front, across, up)
    return figure


def _panels(objectives: Sequence[Objective]) -> list[tuple[Objective, Objective]]:
    """Return which two (across, up) each panel shows; one alone is shown with another figure."""
    paid = [o for o in objectives if o.direction == "minimize"]
    gained = [o for o in objectives if o.direction == "maximize"]
    if paid and gained:
        return [(across, up) for up in gained for across in paid]
    if len(objectives) > 1:
        return list(itertools.combinations(objectives, 2))
    return [(OBJECTIVES["size"], gained[0])] if gained else [(paid[0], OBJECTIVES["accuracy"])]


def _draw_panel(
    axes: "Axes",
    shown: Sequence[PlotPoint],
    across: Objective,
    up: Objective,
    styles: Mapping[str, tuple[str, str]],
) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=_FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set(xlabel=f"{across.what} ({across.unit})", ylabel=f"{up.what} ({up.unit})")
    axes.margins(_ROOM)
    for objective, axis in ((across, axes.xaxis), (up, axes.yaxis)):
        _scale(axes, axis, objective, [s.values[objective.field] * objective.scale for s in shown])
    x, y = _stairs(shown, across, up)
    axes.plot(x, y, color=_GREY, linewidth=0.9, zorder=1)
    for s in shown:
        mark, colour = styles[s.group]
        beaten = s.number is None
        axes.plot(
            *_place(s, across, up),
            mark,
            color=_GREY if beaten else colour,
            alpha=0.55 if beaten else 1,
            markersize=4 if beaten else 7,
            markeredgecolor="none" if beaten else "white",
            zorder=2 if beaten else 3,
        )


def _scale(axes: "Axes", axis: "Axis", objective: Objective, values: Sequence[float]) -> None:
    """Make an axis logarithmic where its values are far apart, with plain numbers all the same.

    Shares get at least a point of room, and none above the whole.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if objective.unit == "%":
        room = _ROOM * max(1.0, max(values) - min(values))
        ends = min(values) - room, min(max(values), 100 - room / 2) + room
        (axes.set_xlim if axis is axes.xaxis else axes.set_ylim)(*ends)
        return
    if min(values) <= 0 or max(values) < _LOG_FROM * min(values):
        return
    (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _place(s: PlotPoint, across: Objective, up: Objective) -> tuple[float, float]:
    return s.values[across.field] * across.scale, s.values[up.field] * up.scale


def _stairs(
    shown: Sequence[PlotPoint], across: Objective, up: Objective
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the corners of the line that bounds what was reached in two objectives alone."""
    costs = [[o.cost(s.values[o.field]) for o in (across, up)] for s in shown]
    places = sorted({_place(shown[i], across, up) for i in pareto_front(costs)})
    corners = [places[0]]
    for x, y in places[1:]:
        # Up to the next one nothing better was found: the worse of the two on the way.
        before = corners[-1]
        corners += [(x, before[1]) if across.direction == "minimize" else (before[0], y), (x, y)]
    x, y = np.array(corners).T
    return x, y


def _styles(shown: Sequence[PlotPoint]) -> dict[str, tuple[str, str]]:
    """Give every group a mark and a colour, always in the same order."""
    groups = sorted({s.group for s in shown}, reverse=True)  # int8 first
    return {group: _STYLES[i % len(_STYLES)] for i, group in enumerate(groups)}


def _write_title(part: "SubFigure", title: str, styles: Mapping[str, tuple[str, str]]) -> None:
    from matplotlib.lines import Line2D

    part.text(0.012, 0.75, title, fontsize=12, fontweight="bold", va="center")
    marks = [
        Line2D([], [], marker=mark, color=colour, linestyle="", markersize=7, label=group)
        for group, (mark, colour) in styles.items()
    ]
    marks += [
        Line2D([], [], marker="o", color=_GREY, linestyle="", markersize=4, label="beaten"),
        Line2D([], [], color=_GREY, linewidth=0.9, label="nothing better was found beyond"),
    ]
    part.legend(
        handles=marks,
        loc="center left",
        bbox_to_anchor=(0, 0.22),
        ncols=len(marks),
        frameon=False,
        fontsize=8,
        handletextpad=0.3,
    )


def _write_list(
    part: "SubFigure",
    front: Sequence[PlotPoint],
    objectives: Sequence[Objective],
    styles: Mapping[str, tuple[str, str]],
    columns: int,
    extent: tuple[float, float],
    note: str,
) -> None:
    """Write what the numbers stand for; places are in inches across, in lines from the top."""
    width, below = extent
    lines = -(-len(front) // columns)
    axes = part.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(below, 0))
    axes.set_axis_off()
    values_end = [0.45 + _VALUE_INCHES * (n + 1) for n in range(len(objectives))]
    for column in range(columns):
        left = 0.12 + column * width / columns
        for end, objective in zip(values_end, objectives, strict=True):
            axes.text(left + end, 0.5, objective.name, fontsize=7, color=_DARK, ha="right")
        for line, s in enumerate(front[column * lines : (column + 1) * lines], start=1):
            mark, colour = styles[s.group]
            axes.plot(left + 0.1, line + 0.5, mark, color=colour, markersize=6)
            written: dict[str, Any] = {"va": "center_baseline", "fontsize": 7.5}
            axes.text(left + 0.42, line + 0.5, str(s.number), ha="right", weight="bold", **written)
            for end, objective in zip(values_end, objectives, strict=True):
                said = objective.say(s.values[objective.field])
                axes.text(left + end, line + 0.5, said, ha="right", **written)
            axes.text(left + values_end[-1] + 0.15, line + 0.5, s.text, **written)
    axes.text(0.12, below - 0.2, note, fontsize=7, color=_DARK, va="bottom")


def _label(axes: "Axes", front: Sequence[PlotPoint], across: Objective, up: Objective) -> None:
    """Write the numbers of the front beside their points, where neither text nor mark is hit."""
    from matplotlib.text import Text

    figure: Any = axes.figure.figure
    renderer = figure.canvas.get_renderer()
    places = axes.transData.transform([_place(s, across, up) for s in front])
    marks = [_around(place, 0.06 * figure.dpi) for place in places]
    taken: list[Bbox] = []
    for place, numbers in _at_the_same_place(places, front):
        text = axes.annotate(
            ", ".join(map(str, numbers)),
            tuple(axes.transData.inverted().transform(place)),
            (0, 0),
            textcoords="offset points",
            fontsize=_LABEL_POINTS,
            ha="center",
            va="center",
            arrowprops={"arrowstyle": "-", "color": _GREY, "linewidth": 0.5, "shrinkB": 4},
            annotation_clip=False,
            zorder=2.5,  # the line to a point goes under it
        )
        for offset in _offsets(across, up):
            text.set_position(offset)
            text.update_positions(renderer)
            box = Text.get_window_extent(text, renderer).padded(1)  # without the line to its point
            if not box.count_overlaps([*taken, *marks]) and _inside(box, axes):
                break
        taken.append(box)


def _at_the_same_place(
    places: NDArray[np.float64], front: Sequence[PlotPoint]
) -> Iterable[tuple[NDArray[np.float64], list[int]]]:
    """Gather the numbers of points that cannot be told apart in this panel."""
    gathered: list[tuple[NDArray[np.float64], list[int]]] = []
    for place, s in zip(places, front, strict=True):
        near = (n for at, n in gathered if np.hypot(*(at - place)) < _SAME_PLACE)
        numbers = next(near, None)
        if numbers is None:
            gathered.append((place, numbers := []))
        numbers.append(s.number or 0)
    return gathered


def _offsets(across: Objective, up: Objective) -> Iterable[tuple[float, float]]:
    """Yield where a label may be from its point, in points: the nearest places first."""
    better = math.atan2(-up.cost(1), -across.cost(1))
    for distance in _DISTANCES:
        for angle in better + _ANGLES:
            yield distance * math.cos(angle), distance * math.sin(angle)


def _around(place: NDArray[np.float64], reach: float) -> "Bbox":
    """Return the square of a mark, in pixels."""
    from matplotlib.transforms import Bbox

    return Bbox([place - reach, place + reach])


def _inside(box: "Bbox", axes: "Axes") -> bool:
    """Whether a text is within its panel."""
    panel = axes.get_window_extent()
    return bool(
        panel.x0 <= box.x0 and box.x1 <= panel.x1 and panel.y0 <= box.y0 and box.y1 <= panel.y1
    )
