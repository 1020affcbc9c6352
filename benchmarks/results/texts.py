"""Benchmark results as CSV, for a spreadsheet, and as Markdown, for a page or a pull request."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from leansight.benchmarks.results.estimates import Estimate
from leansight.benchmarks.results.result import Benchmark, BenchmarkResult, titles
from leansight.benchmarks.results.table import WORK_TITLE, failures, interval, notes, scaled


def csv_text(found: Benchmark) -> str:
    """Return a line for each result; columns are called as in the JSON, with dots between."""
    return csv_of(found.results)


def csv_of(results: Sequence[BenchmarkResult]) -> str:
    """Return a line for each of the results, as `csv_text` does."""
    rows = [dict(_flat(result.to_dict())) for result in results]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _flat(values: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    """Yield what a nested mapping holds by its path; the two ends of an interval as low, high."""
    for name, value in values.items():
        match value:
            case Mapping():
                yield from _flat(value, f"{before}{name}.")
            case (low, high):
                yield from ((f"{before}{name}.low", low), (f"{before}{name}.high", high))
            case _:
                yield f"{before}{name}", value


def markdown_text(found: Benchmark) -> str:
    """Return a table of the main figures, who is faster, and what has to be known."""
    columns = ["model", "size", "MACs", "peak RAM", "undisturbed ms (95 %)", "p50 ms", "p99 ms"]
    judged = any(result.accuracy for result in found.results)
    columns += ["accuracy", "kept", "right of these"] * judged
    lines = [_line(columns), _line(["---", *["---:"] * (len(columns) - 1)])]
    for title, result in zip(titles(found.results), found.results, strict=True):
        peak = result.peak_rss_bytes
        cells = [
            f"{title}, {result.precision}",
            f"{scaled(result.size_bytes)}B",
            scaled(result.macs),
            "-" if peak is None else f"{scaled(peak)}B",
            f"{result.undisturbed_ms.value:.3f} ({interval(result.undisturbed_ms, '.3f')})",
            f"{result.latency_ms.total.p50:.3f}",
            f"{result.latency_ms.total.p99:.3f}",
        ]
        if judged:
            of = result.accuracy
            shares = [None] * 3 if of is None else [of.accuracy, of.kept, of.right]
            cells += [_percent(share) for share in shares]
        lines.append(_line(cells))
    lines += _work_lines(found)
    said = [*found.verdicts(), *failures(found), *notes(found)]
    if found.conditions.throttled:
        said.insert(0, f"**INVALID: {found.conditions.throttled}.**")
    return "\n".join([*lines, "", *(f"- {line.removesuffix('.')}." for line in said), ""])


def _work_lines(found: Benchmark) -> list[str]:
    """Return a table of the instructions in an emulated Pi, under its title."""
    rows = [row for row in found.work if row.instructions]
    if not rows:
        return []
    steps = list(rows[0].instructions)
    cells = (
        [f"{r.name} ({r.format})", r.board, *map(scaled, r.instructions.values())] for r in rows
    )
    head = [_line(["model", "board", *steps]), _line(["---", "---", *["---:"] * len(steps)])]
    return ["", f"{WORK_TITLE}:", "", *head, *map(_line, cells)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _percent(share: Estimate | None) -> str:
    if share is None or share.low is None or share.high is None:
        return "-"
    return f"{share.value:.1%} ({100 * share.low:.1f} to {100 * share.high:.1f})"
