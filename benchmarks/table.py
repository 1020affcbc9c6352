"""Benchmark results as tables that a person reads."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from leansight.benchmarks.measure import BenchmarkResult

_PERCENTILES: Final = ("p50", "p90", "p99")


def tables(results: Sequence[BenchmarkResult]) -> Group:
    """Return what each model takes, its latency, and a legend, for one result or more.

    Where models differ, the smallest value of a column has a star.
    """
    first = results[0]
    legend = f"{first.machine}; {_many(first.threads, 'thread')}; {_many(first.runs, 'run')} each."
    if len(results) > 1:
        legend += " * is the best. Ratio: inference p50 to the first row's."
    ram = "above an empty process" if first.peak_rss_bytes is not None else "known on Linux only"
    return Group(_costs(results), _latency(results), Text(f"{legend} Peak RAM: {ram}."))


def _costs(results: Sequence[BenchmarkResult]) -> Table:
    columns = {
        "Size": _starred(results, "size_bytes", _bytes),
        "Parameters": _starred(results, "parameters", scaled),
        "MACs": _starred(results, "macs", scaled),
        "Peak RAM": _starred(results, "peak_rss_bytes", _bytes),
        "Start ms": _starred(results, "start_ms", "{:.0f}".format),
    }
    return _table(results, columns)


def _latency(results: Sequence[BenchmarkResult]) -> Table:
    base = results[0].latency_ms.inference.p50
    columns = {
        "ms": ["\n".join(_PERCENTILES)] * len(results),
        "Preprocess": _step(results, "preprocess", best=""),
        "Inference": _step(results, "inference"),
        "Decision": _step(results, "decision", best=""),
        "Total": _step(results, "total"),
        "Ratio": [f"{r.latency_ms.inference.p50 / base:.2f}" for r in results],
    }
    return _table(results, columns)


def _table(results: Sequence[BenchmarkResult], columns: dict[str, list[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("Model", overflow="fold")
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for result, cells in zip(results, zip(*columns.values(), strict=True), strict=True):
        model = f"{result.name}\n{result.format} {result.precision}"
        table.add_row(*map(Text, (model, *cells)))  # Text: a name's [brackets] are no markup
    return table


def _step(results: Sequence[BenchmarkResult], step: str, best: str = "*") -> list[str]:
    """Return a cell of three lines for each result: the percentiles of one step."""
    lines = [
        _starred(results, f"latency_ms.{step}.{percentile}", "{:.3f}".format, best)
        for percentile in _PERCENTILES
    ]
    return ["\n".join(cell) for cell in zip(*lines, strict=True)]


def _starred(
    results: Sequence[BenchmarkResult], field: str, text: Callable[[float], str], best: str = "*"
) -> list[str]:
    values = [attrgetter(field)(result) for result in results]
    if None in values:
        return ["-" if value is None else text(value) for value in values]
    differ = len(set(values)) > 1
    return [
        text(value) + (best if differ and value == min(values) else " " * len(best))
        for value in values
    ]


def _bytes(count: float) -> str:
    return f"{scaled(count)}B"


def scaled(count: float) -> str:
    """Write 258500000 as "258.5 M", in steps of 1000."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "K")):
        if abs(count) >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} "


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
