"""Write the tables of docs/results/traffic-signs.md from the records, or check that they agree.

python page.py
python page.py --check

A table stands between `<!-- NAME -->` and `<!-- end -->`; what is around it is written by hand.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from records import RESULTS, read_record
from scipy.stats import binomtest

PAGE = Path(__file__).parents[2] / "docs" / "results" / "traffic-signs.md"
SHIPPED = "signs"  # the network of which every threshold is shown
STRICTEST = 0.99
TABLE = re.compile(r"(<!-- ([a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)

WORTH = ("kept", "right of these")
WORTH_BY_COUNTRY = [f"{country}: {what}" for country in ("Germany", "Belgium") for what in WORTH]
# Their report's second split, as its authors give it; "–" is what it does not say.
PUBLISHED = (
    ("ResNet-50, ImageNet weights (published)", "26.22 M", "205 MB", "94 %", "–"),
    ("ResNet-custom (published)", "0.556 M", "4.7 MB", "92 %", "99 %"),
)

Row = dict[str, Any]


def percent(share: float, digits: int = 1) -> str:
    """Write a share in percent."""
    return f"{100 * share:.{digits}f} %"


def interval(found: Row | None) -> str:
    """Write a mean with its interval at 95 %."""
    if found is None:
        return "–"
    low, high = (f"{100 * found[end]:.1f}" for end in ("low", "high"))
    return f"{100 * found['mean']:.2f} % ({low} to {high})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table; without rows, that nothing was measured."""
    if not rows:
        return "*Not measured yet.*\n"
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


class Line(NamedTuple):
    """A network's rows of both countries; `files` are those that score alike."""

    network: str
    files: str
    germany: Row
    belgium: Row


def lines(results: Path) -> list[Line]:
    """Return what accuracy.py recorded, a line for files that score alike."""
    pairs: dict[tuple[str, str], dict[str, Row]] = {}
    for row in read_record("accuracy", results):
        pairs.setdefault((row["network"], row["kind"]), {})[row["country"]] = row
    found: dict[str, Line] = {}
    for (network, kind), pair in pairs.items():
        scores = json.dumps([row | {"kind": ""} for row in pair.values()])
        files = f"{found[scores].files}, {kind}" if scores in found else kind
        found[scores] = Line(network, files, pair["Germany"], pair["Belgium"])
    return list(found.values())


def accuracy(results: Path) -> str:
    """Return a line a network: both countries, and Belgium's other figures."""
    head = ["network", "files", "Germany", "Belgium", "macro precision, recall, F1 in Belgium"]
    rows = []
    for line in lines(results):
        shares = [interval(row["accuracy"]) for row in (line.germany, line.belgium)]
        figures = (line.belgium[f"macro_{name}"] for name in ("precision", "recall", "f1"))
        rows.append([line.network, line.files, *shares, ", ".join(percent(f) for f in figures)])
    return table(head, rows)


def worth(at: Row) -> tuple[str, str]:
    """Write what a threshold keeps, and how much of that is right."""
    return interval(at["share_interval"]), interval(at["accuracy_interval"])


def at_strictest(row: Row) -> tuple[str, str]:
    """Write what the strictest threshold keeps, and how much of that is right."""
    return worth(next(at for at in row["thresholds"] if at["threshold"] == STRICTEST))


def strictest(results: Path) -> str:
    """Return a line a network: what a threshold of 0.99 keeps, and what is right of it."""
    rows = [
        [line.network, line.files, *at_strictest(line.germany), *at_strictest(line.belgium)]
        for line in lines(results)
    ]
    return table(["network", "files", *WORTH_BY_COUNTRY], rows)


def shipped(results: Path) -> list[Line]:
    """Return the line of the bundle that is shipped, if it was measured."""
    return [line for line in lines(results) if line.network == SHIPPED][:1]


def thresholds(results: Path) -> str:
    """Return a line a threshold, of the bundle that is shipped."""
    rows = [
        [f"{home['threshold']:g}", *worth(home), *worth(away)]
        for line in shipped(results)
        for home, away in zip(line.germany["thresholds"], line.belgium["thresholds"], strict=True)
    ]
    return table(["threshold", *WORTH_BY_COUNTRY], rows)


def published(results: Path) -> str:
    """Return the published networks, and below them the bundle that is shipped."""
    head = ["network", "parameters", "file", "kept at 0.99 in Belgium", "right of these"]
    ours = [
        [
            f"`signs.bundle`, {bench['format']} {bench['precision']}",
            f"{bench['parameters'] / 1e6:.3f} M",
            f"{bench['size_bytes'] / 1e3:.0f} KB",
            *at_strictest(line.belgium),
        ]
        for line in shipped(results)
        for bench in read_record("bench", results)
        if bench["name"] == f"{SHIPPED}.bundle"
    ]
    return table(head, [*map(list, PUBLISHED), *ours])


def cost(results: Path) -> str:
    """Return a line a file: size, memory, time on one core, and instructions."""
    head = ["network", "file", "size", "MACs", "memory", "start-up", "inference", "a frame"]
    head += ["inference, Pi 4 / Pi 5 core", "a frame, Pi 4 / Pi 5 core"]
    file, rows = results / "instructions.json", []
    counted = json.loads(file.read_text()) if file.is_file() else {}
    for bench in read_record("bench", results):
        name, latency = bench["name"].removesuffix(".bundle"), bench["latency_ms"]
        memory = bench["peak_rss_bytes"]
        cells = [name, f"{bench['format']} {bench['precision']}"]
        cells += [f"{bench['size_bytes'] / 1e3:,.0f} KB", f"{bench['macs'] / 1e6:.1f} M"]
        cells += ["–" if memory is None else f"{memory / 2**20:.0f} MiB"]
        cells += [f"{bench['start_ms']:.0f} ms"]
        cells += [f"{latency[step]['p50']:.2f} ms" for step in ("inference", "total")]
        cells += instructions(counted, name) if bench["format"] == "tflite" else ["–", "–"]
        rows.append(cells)
    return table(head, rows)


def instructions(counted: Row, name: str) -> list[str]:
    """Write the millions of instructions of an inference and of a whole frame on both cores."""
    steps = [counted.get(f"{name}, {pi}", {}).get("steps") for pi in ("Pi 4", "Pi 5")]
    if None in steps:
        return ["–", "–"]
    inference = " / ".join(f"{one['inference'] / 1e6:.2f}" for one in steps)
    return [f"{inference} M", " / ".join(f"{sum(one.values()) / 1e6:.2f}" for one in steps) + " M"]


def points(above: Row) -> str:
    """Write a difference with its interval at 95 %, in points."""
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(
        *(100 * above[end] for end in ("mean", "low", "high"))
    )


def questions(results: Path) -> str:
    """Return a line a run: what it has right where no Belgian sign is looked at."""
    tests = ("Germany", "shifted", "southland")
    rows = []
    for row in read_record("questions", results):
        first = row["network"] == row["first"]
        cells = [
            interval(row[test]["accuracy"]) if first else points(row[test]["above_first"])
            for test in tests
        ]
        rows.append([row["network"], *cells])
    return table(["run", "Germany", "shifted copy of Germany", "southland"], rows)


def light(results: Path) -> str:
    """Return a line a network, country and part: accuracy, and how far it is above the first."""
    head = ["network", "country", "tenth of each class", "right", "above the first, in points"]
    rows = []
    for row in read_record("light", results):
        same = row["network"] == row["first"]
        about = [row["network"], row["country"], f"{row['part']} ({row['images']})"]
        above = "–" if same else points(row["above_first"])
        rows.append([*about, interval(row["accuracy"]), above])
    return table(head, rows)


def stream(results: Path) -> str:
    """Return a line a network, country and way of playing: events found, missed and false."""
    head = ["network", "country", "signs", "shown", "found", "missed", "false", "delay"]
    rows = []
    for row in read_record("stream", results):
        events = row["events"]
        found, shown, false = (events[name] for name in ("found", "shown", "false"))
        sure = binomtest(found, shown).proportion_ci()
        share = f"{found} = {percent(found / shown)} ({percent(sure.low)} to {percent(sure.high)})"
        delay = "–" if events["delay_frames"] is None else f"{events['delay_frames']:g} frames"
        about = [row["network"], row["country"], row["way"], str(shown)]
        rows.append([*about, share, str(events["missed"]), str(false), delay])
    return table(head, rows)


TABLES: dict[str, Callable[[Path], str]] = {
    "published": published,
    "accuracy": accuracy,
    "strictest": strictest,
    "thresholds": thresholds,
    "cost": cost,
    "questions": questions,
    "light": light,
    "stream": stream,
}


def with_tables(text: str, results: Path) -> str:
    """Return the page's text with each table as the records have it."""
    return TABLE.sub(lambda found: found[1] + TABLES[found[2]](results) + found[3], text)


def main() -> None:
    """Write the page, or say that it does not agree."""
    text = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=text)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 if wrong")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    args = parser.parse_args()
    before = args.page.read_text()
    after = with_tables(before, args.results)
    if args.check and after != before:
        sys.exit(f"{args.page} has other figures than {args.results}: run page.py")
    if not args.check:
        args.page.write_text(after)


if __name__ == "__main__":
    main()
