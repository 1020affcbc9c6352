"""A benchmark as one page that needs no other file and no network."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from leansight.benchmarks.results.result import Benchmark, BenchmarkResult, Detail, titles
from leansight.benchmarks.results.table import WORK_TITLE, failures, interval, notes, rate, scaled
from leansight.runtime.extras import require
from leansight.runtime.system.whole_files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Tableau's ten: they are told apart on white and on black.
_COLOURS: Final = (
    *("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1"),
    *("#76b7b2", "#edc948", "#9c755f", "#ff9da7", "#8a8a8a"),
)
# Of the first ten models, of the next ten, of the rest: the page's own swatches have these shapes.
_SHAPES: Final = (("o", "-", "round"), ("s", "--", "square"), ("D", "-.", "tilted"))
_LEAST_TICKS: Final = 3
_BETWEEN_TICKS: Final = 0.175  # at least, as a share of the axis: 100,000 has its place
_ONE_DECADE: Final = 10  # sizes that differ less are shown from 0 on
_NAME_LENGTH: Final = 32
_AREA: Final = 500.0  # of the largest file's dot, in square points
_LEAST_AREA: Final = 16.0


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a model is drawn: its colour, its dot and its line, and the shape of its swatch."""

    colour: str
    marker: str
    line: str
    swatch: str


def look_of(number: int) -> Look:
    """Return how the model of this place is drawn; thirty differ."""
    shape = min(number // len(_COLOURS), len(_SHAPES) - 1)
    marker, line, swatch = _SHAPES[shape]
    colour = _COLOURS[number % len(_COLOURS)]
    return Look(colour=colour, marker=marker, line=line, swatch=swatch)


def write_page(found: Benchmark | Sequence[Benchmark], path: Path) -> None:
    """Write the page of one machine, or of several one after the other; matplotlib draws."""
    machines = [found] if isinstance(found, Benchmark) else found
    jinja2 = require("jinja2", package="jinja2", extra="bench")
    page = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        files("leansight.benchmarks.results").joinpath("page.html").read_text()
    )
    sections = [_section(machine) for machine in machines]
    html: str = page.render(
        sections=sections,
        work_title=WORK_TITLE,
        scaled=scaled,
        rate=rate,
        interval=interval,
        layer_times_note=layer_times_note,
        shortened=shortened,
    )
    write_whole(path, html.encode())


def layer_times_note(result: BenchmarkResult, detail: Detail) -> str:
    """Say why there are no times of single operations."""
    if detail.profile_failure:
        return f"No times of single operations: {detail.profile_failure}."
    runtime = result.interpreter.get("runtime", "this runtime")
    if result.format == "onnx" and runtime == "ONNX Runtime":
        return "The times of single operations were not asked for."
    return f"No times of single operations: leansight knows no profiler in {runtime}'s Python."


def shortened(name: str) -> str:
    """Return the end of an operation's name, which tells it from the others.

    Of a converter's own name, in which a number is all that differs, that is nothing.
    """
    if name.rpartition(";")[2].isdigit():
        return ""
    return name if len(name) <= _NAME_LENGTH else "…" + name[1 - _NAME_LENGTH :]


def _section(found: Benchmark) -> dict[str, object]:
    """Return what the page shows of one machine."""
    return {
        "found": found,
        "names": titles(found.results),
        "looks": [look_of(number) for number in range(len(found.results))],
        "notes": notes(found),
        "failures": failures(found),
        "pareto": draw_pareto(found),
        "distributions": draw_distributions(found),
        "memory_over_time": draw_memory_over_time(found),
    }


def draw_pareto(found: Benchmark) -> str:
    """Draw accuracy over the undisturbed time, the file's size as the area; else size over time."""
    figure, axes = _figure(2.9)
    results = found.results
    judged = all(result.accuracy for result in results)
    largest = max(result.size_bytes for result in results)
    heights = list[float]()
    for number, result in enumerate(results):
        share = result.accuracy.accuracy if result.accuracy and judged else None
        heights.append(100 * share.value if share else result.size_bytes / 1000)
        time, look = result.undisturbed_ms, look_of(number)
        area = max(_AREA * result.size_bytes / largest, _LEAST_AREA)
        axes.scatter(
            time.value,
            heights[-1],
            s=area,
            marker=look.marker,
            facecolor=(look.colour, 0.4),  # what lies below is seen
            edgecolor=look.colour,
            zorder=3 - area / _AREA,
        )
        if share and share.low is not None and share.high is not None:
            axes.plot([time.value] * 2, [100 * share.low, 100 * share.high], color=look.colour)
    times = [result.undisturbed_ms.value for result in results]
    make_logarithmic(axes, "x", min(times), max(times))
    axes.set_xlabel("undisturbed inference, ms")
    axes.set_ylabel("accuracy, %" if judged else "size, KB")
    if judged:
        axes.margins(y=0.15)  # room for the largest dots
    elif max(heights) < _ONE_DECADE * min(heights):
        axes.set_ylim(0, 1.2 * max(heights))
    else:
        make_logarithmic(axes, "y", min(heights), max(heights))
    return _svg(figure)


def draw_distributions(found: Benchmark) -> str:
    """Draw which share of frames is done within which time, on the wall's clock."""
    figure, axes = _figure(2.9)
    ends = list[float]()
    for number, detail in enumerate(found.details):
        look, undisturbed = look_of(number), found.results[number].undisturbed_ms.value
        axes.plot(detail.quantiles_ms, range(101), color=look.colour, linestyle=look.line)
        axes.axvline(undisturbed, color=look.colour, linestyle=":")
        ends += [undisturbed, *detail.quantiles_ms]
    make_logarithmic(axes, "x", min(ends), max(ends))
    axes.set_xlabel("inference as it passed, ms (dotted: undisturbed)")
    axes.set_ylabel("frames that are done, %")
    return _svg(figure)


def draw_memory_over_time(found: Benchmark) -> str:
    """Draw a line for each model's resident memory, dotted its PSS; "" where none is told."""
    if not any(sample.rss_bytes for detail in found.details for sample in detail.memory):
        return ""
    figure, axes = _figure(2.4)
    for number, detail in enumerate(found.details):
        look = look_of(number)
        seconds = [sample.seconds for sample in detail.memory]
        resident = [_megabytes(sample.rss_bytes) for sample in detail.memory]
        shared = [_megabytes(sample.pss_bytes) for sample in detail.memory]
        axes.plot(seconds, resident, look.marker, ls=look.line, color=look.colour, markersize=2.5)
        axes.plot(seconds, shared, ":", color=look.colour)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds since its start, the others' turns among them")
    axes.set_ylabel("MB above an empty process")
    return _svg(figure)


def _megabytes(size_bytes: int | None) -> float:
    """Return megabytes; a gap in a line where the system does not tell."""
    return float("nan") if size_bytes is None else size_bytes / 1e6


def _figure(height: float) -> "tuple[Figure, Axes]":
    """Return an empty picture, 5 inches wide: as wide as a phone, with letters to be read there."""
    figures = require("matplotlib.figure", package="matplotlib", extra="bench")
    figure: Figure = figures.Figure((5, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)
    return figure, axes


def make_logarithmic(axes: "Axes", name: Literal["x", "y"], low: float, high: float) -> None:
    """Let an axis go from a little below `low` to a little above `high`, with numbers to read."""
    room = max((high / low) ** 0.1, 1.15)
    low, high = low / room, high * room
    ticks = tick_values(low, high)
    axis = axes.xaxis if name == "x" else axes.yaxis
    axes.set(**{f"{name}scale": "log", f"{name}lim": (low, high)})
    axis.set_ticks(ticks, [f"{tick:,.6g}" for tick in ticks])
    axis.minorticks_off()


def tick_values(low: float, high: float) -> list[float]:
    """Return 3 to 8 round numbers of a logarithmic axis: powers of ten, or more where it is short.

    Numbers that would stand in each other's way are left out.
    """
    ticker = require("matplotlib.ticker", package="matplotlib", extra="bench")
    least = (high / low) ** _BETWEEN_TICKS
    for locator in (
        ticker.LogLocator(numticks=7),
        ticker.LogLocator(subs=(1, 3), numticks=7),
        ticker.LogLocator(subs=(1, 2, 5), numticks=7),
        *(ticker.MaxNLocator(most, steps=(1, 2, 5, 10)) for most in (5, 9, 14)),
    ):
        apart: list[float] = []
        for value in map(float, locator.tick_values(low, high)):
            if low <= value <= high and (not apart or value >= apart[-1] * least):
                apart.append(value)
        if len(apart) >= _LEAST_TICKS:
            break
    return apart


def _svg(figure: "Figure") -> str:
    """Return the picture in the page's own colour of letters, on the page's own ground."""
    text = StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :].replace("#000000", "currentColor")
