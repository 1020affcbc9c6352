"""Benchmark results as tables that a person reads."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from leansight.benchmarks.results.estimates import Estimate
from leansight.benchmarks.results.result import Benchmark, BenchmarkResult, Work, titles
from leansight.runtime.service.caption import printable

WORK_TITLE: Final = "Instructions a frame in an emulated Pi: work, not time"
_WHOLE_FROM: Final = 100  # frames a second that need no fraction
_PERCENTILES: Final = ("p50", "p90", "p99")


def tables(found: Benchmark) -> Group:
    """Return what each model takes, its latency, who is faster, and a legend.

    Where models differ, the smallest value of a column has a star.
    """
    results = found.results
    several = len(results) > 1
    parts: list[RenderableType] = [
        _costs(results),
        _latency(results),
        _undisturbed(found),
        *([_accuracy(results)] if any(r.accuracy for r in results) else []),
        *(Text(printable(f"{verdict}.")) for verdict in found.verdicts()),
        *([_work(found.work)] if found.work else []),
        *(Text(printable(line), style="red") for line in failures(found)),
        Text("\n".join(["", *map(printable, notes(found)), *["* is the best."] * several])),
    ]
    if found.conditions.throttled:
        parts.append(
            Text(f"INVALID: {found.conditions.throttled}. Cool it and repeat.", style="bold red")
        )
    return Group(*parts)


def failures(found: Benchmark) -> list[str]:
    """Say which models, and which accuracies, could not be measured, and why."""
    return [
        *(f"{f.name} ({f.format}) failed: {f.reason}" for f in found.failures),
        *(
            f"{r.title}, accuracy: {r.accuracy_failure}"
            for r in found.results
            if r.accuracy_failure
        ),
        *(f"{w.name} ({w.format}) on {w.board}: {w.failure}" for w in found.work if w.failure),
    ]


def notes(found: Benchmark) -> list[str]:
    """Return what has to be known to read the figures, as sentences."""
    first, conditions = found.results[0], found.conditions
    frames = f"{many(first.runs, 'frame')} each, {conditions.frames}"
    lines = [
        f"{first.machine}; {many(first.threads, 'thread')}; {frames}.",
        f"Load average {_load(found)}.",
    ]
    ram = "above an empty process" if first.peak_rss_bytes is not None else "known on Linux only"
    if first.latency_ms.capture is not None:
        ram += ", what captures is in it"
    lines.append(f"Peak RAM: {ram}.")
    if first.undisturbed_clock == "wall":
        lines.append("With several threads, other programs slow the undisturbed time as well.")
    elif not conditions.real_time:
        lines.append(
            "Undisturbed times are of ordinary priority: other programs use the caches as well."
        )
    if not conditions.precision_reached:
        lines.append(
            f"The precision of {conditions.precision or 0:.0%} was not reached "
            f"after {conditions.seconds:.0f} s."
        )
    if conditions.counters:
        lines.append(f"Instructions and cycles: {conditions.counters}.")
    lines += _profile_notes(found)
    return [*lines, *_peak_notes(found), *_energy_notes(found), *_work_notes(found)]


def _profile_notes(found: Benchmark) -> list[str]:
    """Say which models failed in the launch that tells their arena and operations' times."""
    return [
        f"Arena and operations' times of {title}: {detail.profile_failure}."
        for title, detail in zip(titles(found.results), found.details, strict=True)
        if detail.profile_failure
    ]


def _peak_notes(found: Benchmark) -> list[str]:
    """Say what "Of\npeak" is of."""
    peaks = found.conditions.peaks
    if peaks is None:
        return []
    runtimes: dict[str, str | int] = {
        r.format: r.interpreter.get("runtime", r.format)
        for r in reversed(found.results)  # the first of a format is our own
    }
    speeds = [
        f"{scaled(macs)}MAC/s in {runtimes.get(chosen, chosen)}"
        for chosen, macs in peaks.int8_macs_per_s.items()
    ]
    lines = [f"int8 peak, a product of matrices: {', '.join(speeds)}."] if speeds else []
    if peaks.copy_bytes_per_s is not None:
        lines.append(f"Copying 64 MiB, one thread: {scaled(peaks.copy_bytes_per_s)}B/s.")
    return [*lines, *([f"Peak not measured: {peaks.failure}."] if peaks.failure else [])]


def _energy_notes(found: Benchmark) -> list[str]:
    """Say what the energy is of, or why there is none."""
    if found.conditions.energy:
        return [f"Energy: {found.conditions.energy}."]
    known = [result.energy for result in found.results if result.energy]
    if not known:
        return []
    return [f"Energy of a frame: all that {known[0].source} took; idle {known[0].idle_w:.2f} W."]


def _work_notes(found: Benchmark) -> list[str]:
    """Say what prepared the pictures whose instructions were counted."""
    used = [row.packages["preprocessing"] for row in found.work if "preprocessing" in row.packages]
    return [f"Preprocessing in the emulated Pi: {', '.join(sorted(set(used)))}."] if used else []


def _load(found: Benchmark) -> str:
    loads = [s.load_average for s in found.conditions.states if s.load_average is not None]
    return f"{min(loads):.1f} to {max(loads):.1f}" if loads else "not told"


def _costs(results: Sequence[BenchmarkResult]) -> Table:
    columns = {
        "Size": _starred(results, "size_bytes", _bytes),
        "Para-\nmeters": _starred(results, "parameters", scaled),
        "MACs": _starred(results, "macs", scaled),
        "Peak\nRAM": _starred(results, "peak_rss_bytes", _bytes),
        "Start\nms": _starred(results, "start_ms", "{:.0f}".format),
        "Frames\n/s": ["-" if r.frames_per_s is None else rate(r.frames_per_s) for r in results],
    }
    return _table(results, columns)


def _latency(results: Sequence[BenchmarkResult]) -> Table:
    columns = {
        "ms": ["\n".join(_PERCENTILES)] * len(results),
        **_capture(results),
        "Preprocess": _step(results, "preprocess", best=""),
        "Inference": _step(results, "inference"),
        "Decision": _step(results, "decision", best=""),
        "Total": _step(results, "total"),
    }
    return _table(results, columns)


def _capture(results: Sequence[BenchmarkResult]) -> dict[str, list[str]]:
    """Return the column of what was captured; none where nothing was."""
    of = [result.latency_ms.capture for result in results]
    if not any(of):
        return {}
    texts = [[f"{getattr(one, p):.3f}" if one else "-" for p in _PERCENTILES] for one in of]
    return {"Capture": ["\n".join(text) for text in texts]}


def _undisturbed(found: Benchmark) -> Table:
    """Show the times that rank the models, each with its interval, and the ratio to the first."""
    results = found.results
    ratios = [found.compared(0, n).ratio for n in range(1, len(results))]
    columns = {
        "Undis-\nturbed ms": _starred(results, "undisturbed_ms.value", _four_digits),
        "95 %": [_interval(r.undisturbed_ms) for r in results],
    }
    if ratios:
        columns["Ratio"] = ["1", *(_four_digits(ratio.value) for ratio in ratios)]
        columns["95 % "] = ["", *map(_interval, ratios)]
    if any(r.int8_peak_share is not None for r in results):
        columns["Of\npeak"] = [_share(r.int8_peak_share) for r in results]
    if any(r.energy for r in results):
        columns["mJ"] = [f"{r.energy.mj_per_frame:.2f}" if r.energy else "-" for r in results]
    if all(r.counts for r in results):
        columns["Instructions"] = [scaled(r.counts["instructions"]) for r in results]
    return _table(results, columns)


def _accuracy(results: Sequence[BenchmarkResult]) -> Table:
    """Show how often each timed file is right, with intervals over videos."""
    thresholds = [r.accuracy and f"{r.accuracy.threshold:g}" for r in results]
    columns = {
        "Accuracy": _shares(results, "accuracy"),
        "Balanced": _shares(results, "balanced"),
        "Thresh-\nold": [threshold or "-" for threshold in thresholds],
        "Kept": _shares(results, "kept"),
        "Right\nof these": _shares(results, "right"),
    }
    return _table(results, columns)


def _work(work: Sequence[Work]) -> Table:
    """Show the instructions of a frame in an emulated Pi."""
    table = Table(title=WORK_TITLE, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("Model", "Board", "Preprocess", "Inference", "Rest"):
        table.add_column(heading, justify="left" if heading == "Model" else "right")
    for row in work:
        steps = [scaled(count).strip() for count in row.instructions.values()]
        title = f"{row.name} ({row.format})"
        table.add_row(*map(Text, (title, row.board, *(steps or ["failed", "", ""]))))
    return table


def _shares(results: Sequence[BenchmarkResult], field: str) -> list[str]:
    return [percent(None if r.accuracy is None else getattr(r.accuracy, field)) for r in results]


def percent(share: Estimate | None) -> str:
    """Write a share as percents, its interval on a line below; "-" where there is none."""
    if share is None or share.low is None or share.high is None:
        return "-"
    return f"{share.value:.1%}\n{100 * share.low:.1f}–{100 * share.high:.1f}"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def interval(estimate: Estimate, digits: str) -> str:
    """Write an interval as "1.20 to 1.31", "-" where there is none."""
    if estimate.low is None or estimate.high is None:
        return "-"
    return f"{estimate.low:{digits}} to {estimate.high:{digits}}"


def _interval(estimate: Estimate) -> str:
    """Write an interval with as many decimals as its estimate has."""
    return interval(estimate, f".{_decimals(estimate.value)}f")


def _four_digits(value: float) -> str:
    """Write "0.123", "1.234", "12.34", "123.4" and "1234.5": no narrower an interval is known."""
    return f"{value:.{_decimals(value)}f}"


def _decimals(value: float) -> int:
    return 3 if value < 10 else 2 if value < 100 else 1  # noqa: PLR2004 -- powers of ten


def _table(results: Sequence[BenchmarkResult], columns: dict[str, list[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("Model", overflow="fold")
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for result, cells in zip(results, zip(*columns.values(), strict=True), strict=True):
        model = f"{printable(result.name)}\n{result.format} {printable(result.precision)}"
        # Text: a name's [brackets] are no markup.
        table.add_row(*map(Text, (model, *cells)))
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


def rate(per_s: float) -> str:
    """Write 14560.4 as "14,560", and 9.871 as "9.87"."""
    return f"{per_s:,.0f}" if per_s >= _WHOLE_FROM else f"{per_s:.3g}"


def many(count: int, noun: str) -> str:
    """Write "1 frame" and "2 frames"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
