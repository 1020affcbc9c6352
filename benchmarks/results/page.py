"""A benchmark as one page that needs no other file and no network."""

from collections.abc import Callable, Sequence
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from leansight.benchmarks.results.result import Benchmark, BenchmarkResult, Detail, titles
from leansight.benchmarks.results.table import WORK_TITLE, failures, interval, notes, scaled
from leansight.runtime.extras import require
from leansight.runtime.system.whole_files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS: Final = ("#2f6690", "#e08e45", "#5b8e7d", "#a4508b", "#c44536", "#6b705c")
_FLOAT_COLOUR: Final = "#e08e45"
_ONE_DECADE: Final = 10  # of a logarithmic axis: without more numbers it would have one or none
_AREA: Final = 900.0  # of the largest file's dot, in square points


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
        interval=interval,
        layer_times_note=layer_times_note,
    )
    write_whole(path, html.encode())


def layer_times_note(result: BenchmarkResult) -> str:
    """Say why there are no times of single operations."""
    runtime = result.interpreter.get("runtime", "this runtime")
    if result.format == "onnx" and runtime == "ONNX Runtime":
        return "The times of single operations were not asked for."
    return f"No times of single operations: leansight knows no profiler in {runtime}'s Python."


def _section(found: Benchmark) -> dict[str, object]:
    """Return what the page shows of one machine."""
    return {
        "found": found,
        "names": titles(found.results),
        "notes": notes(found),
        "failures": failures(found),
        "pareto": draw_pareto(found),
        "distributions": draw_distributions(found),
        "memory": draw_memory(found),
        "memory_over_time": draw_memory_over_time(found),
        "layers": [draw_layers(detail) for detail in found.details],
    }


def draw_pareto(found: Benchmark) -> str:
    """Draw accuracy over the undisturbed time, the file's size as the area; else size over time."""
    figure, axes = _figure(7, 4.2)
    results = found.results
    judged = all(result.accuracy for result in results)
    largest = max(result.size_bytes for result in results)
    for number, (name, result) in enumerate(zip(titles(results), results, strict=True)):
        share = result.accuracy.accuracy if result.accuracy and judged else None
        height = 100 * share.value if share else result.size_bytes / 1000
        time, colour = result.undisturbed_ms, _colour(number)
        axes.scatter(
            time.value, height, s=max(_AREA * result.size_bytes / largest, 12), color=colour,
            alpha=0.6, label=_plain(f"{name}, {scaled(result.size_bytes)}B"),
        )  # fmt: skip
        if share and share.low is not None and share.high is not None:
            axes.plot([time.value] * 2, [100 * share.low, 100 * share.high], color=colour)
    _time_axis(axes, "undisturbed inference, ms")
    axes.set_ylabel("accuracy, %" if judged else "size, KB")
    axes.margins(0.15)  # room for the largest dots
    if not judged and largest < _ONE_DECADE * min(result.size_bytes for result in results):
        axes.set_ylim(0, 1.2 * largest / 1000)
    elif not judged:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    _legend(axes)
    return _svg(figure)


def draw_distributions(found: Benchmark) -> str:
    """Draw which share of frames is done within which time, on the wall's clock."""
    figure, axes = _figure(7, 4.2)
    for number, (name, detail) in enumerate(zip(titles(found.results), found.details, strict=True)):
        axes.plot(detail.quantiles_ms, range(101), color=_colour(number), label=_plain(name))
        axes.axvline(
            found.results[number].undisturbed_ms.value, color=_colour(number), linestyle=":"
        )
    _time_axis(axes, "inference as it passed, ms (dotted: undisturbed)")
    axes.set_ylabel("frames that are done, %")
    _legend(axes)
    return _svg(figure)


def draw_memory(found: Benchmark) -> str:
    """Draw the peak memory above an empty process; "" where the system does not tell it."""
    peaks = [result.peak_rss_bytes for result in found.results]
    known = [peak / 1e6 for peak in peaks if peak is not None]
    if len(known) < len(peaks):
        return ""
    names = [_plain(name) for name in titles(found.results)]
    return _bars(
        list(range(len(names))), known, [_colour(n) for n in range(len(names))],
        "peak memory above an empty process, MB", lambda axes: axes.set_yticks(
            range(len(names)), names
        ),
    )  # fmt: skip


def draw_memory_over_time(found: Benchmark) -> str:
    """Draw a line for each model's resident memory, dotted its PSS; "" where none is told."""
    if not any(sample.rss_bytes for detail in found.details for sample in detail.memory):
        return ""
    figure, axes = _figure(7, 3.2)
    for number, (name, detail) in enumerate(zip(titles(found.results), found.details, strict=True)):
        seconds = [sample.seconds for sample in detail.memory]
        resident = [_megabytes(sample.rss_bytes) for sample in detail.memory]
        shared = [_megabytes(sample.pss_bytes) for sample in detail.memory]
        axes.plot(seconds, resident, ".-", color=_colour(number), label=_plain(name))
        axes.plot(seconds, shared, ":", color=_colour(number))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds since the start of the process, other models' turns among them")
    axes.set_ylabel("MB above an empty process")
    _legend(axes, below=0.24)
    return _svg(figure)


def _megabytes(size_bytes: int | None) -> float:
    """Return megabytes; a gap in a line where the system does not tell."""
    return float("nan") if size_bytes is None else size_bytes / 1e6


def draw_layers(detail: Detail) -> str:
    """Draw the MACs of each operation in the order of the graph; float ones in another colour."""
    if not detail.layers:
        return ""
    return _bars(
        list(range(1, len(detail.layers) + 1)),
        [layer.macs / 1e6 for layer in detail.layers],
        [_COLOURS[0] if layer.is_int8 else _FLOAT_COLOUR for layer in detail.layers],
        "million MACs (blue: int8, orange: float)",
        lambda axes: axes.set_ylabel("operation"),
    )


def _bars(
    places: Sequence[int],
    widths: Sequence[float],
    colours: Sequence[str],
    xlabel: str,
    finish: "Callable[[Axes], object]",
) -> str:
    figure, axes = _figure(7, min(0.9 + 0.22 * len(places), 9))
    axes.barh(places, widths, color=colours)
    axes.invert_yaxis()
    axes.set_xlabel(xlabel)
    finish(axes)
    return _svg(figure)


def _figure(width: float, height: float) -> "tuple[Figure, Axes]":
    figures = require("matplotlib.figure", package="matplotlib", extra="bench")
    figure: Figure = figures.Figure((width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _time_axis(axes: "Axes", label: str) -> None:
    """Make the axis logarithmic, with numbers as people write them."""
    axes.set(xscale="log", xlabel=label)
    axes.xaxis.set_major_formatter("{x:g}")
    low, high = axes.get_xlim()
    if high / low < _ONE_DECADE:
        axes.xaxis.set_minor_formatter("{x:g}")


def _legend(axes: "Axes", below: float = 0.16) -> None:
    """Write the names below the picture, by that share of its height: those of models are long."""
    legend = axes.legend(
        loc="upper left", bbox_to_anchor=(0, -below), frameon=False, fontsize="small", ncols=1
    )
    for handle in legend.legend_handles:
        if handle is not None and hasattr(handle, "set_sizes"):
            handle.set_sizes([40])


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _plain(name: str) -> str:
    """Keep matplotlib from reading a formula in a name."""
    return name.replace("$", r"\$")


def _svg(figure: "Figure") -> str:
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
