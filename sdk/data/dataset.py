"""What a folder was taken for: its samples, the layout and why, and what was left out."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from leansight.runtime.image_files import HIDDEN
from leansight.sdk.data.samples import Sample
from leansight.sdk.recipes.schema import Layout
from leansight.sdk.system.console import tell
from leansight.sdk.system.text import first_five, printable

_NAMED: Final = 5  # classes that a split lacks
_PARTS: Final = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """The labelled images at `root`, and how they were found.

    `why`: what the layout was recognised by. `videos_from`: what tells the videos, "" if nothing
    does. `special` and `left_out`: paths that are read in a way that should be said, and those
    that are not read, by what they are.
    """

    root: Path
    layout: Layout
    why: str
    samples: tuple[Sample, ...]
    videos_from: str = ""
    special: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    left_out: Mapping[str, Sequence[Path]] = field(default_factory=dict)


def show(data: DataSet) -> None:
    """Print to standard error what the folder was taken for, before any work on it."""
    show_lines([f"{data.root}:", *(f"  {line}" for line in describe(data))])


def show_lines(lines: Iterable[str]) -> None:
    """Print lines to standard error as they are; what cannot be printed is escaped."""
    for line in lines:
        tell(printable(line))


def describe(data: DataSet) -> list[str]:
    """Return what a data set was taken for, in a few lines."""
    lines = [f"layout: {data.layout}, {data.why}", *describe_samples(data.samples)]
    if data.videos_from:
        lines[-1] += f" ({data.videos_from})"
    lines += [f"images {_counted(what, paths)}" for what, paths in data.special.items()]
    # Of hidden names no example: they are nobody's images, and their reason names some.
    left_out = [
        f"{reason}: {len(paths):,}" if reason == HIDDEN else _counted(reason, paths)
        for reason, paths in data.left_out.items()
    ]
    return [*lines, *(f"left out: {line}" for line in left_out or ["nothing"])]


def describe_samples(samples: Sequence[Sample]) -> list[str]:
    """Return how many images, classes, countries, splits and videos there are, a line each."""
    classes = Counter(sorted(label for s in samples for label in s.labels))
    countries = Counter(sorted(s.country for s in samples if s.country))
    parts = Counter(s.part for s in samples if s.part)
    given = {part: parts[part] for part in _PARTS if parts[part]}
    videos = len({s.video for s in samples if s.video})
    kinds = "class" if len(classes) == 1 else "classes"
    lines = [
        f"images: {len(samples):,} in {len(classes)} {kinds}: {_shares(classes)}",
        f"countries: {_shares(countries) or 'none'}{_doubt(samples)}",
        f"splits: {_shares(given) or 'none given, they are drawn'}{_absent(samples, given)}",
        f"videos: {f'{videos:,}' if videos else 'none recognised'}",
    ]
    if single := sorted(label for label, count in classes.items() if count == 1):
        lines.insert(1, f"classes of one image: {first_five(single)}")
    return lines


def _doubt(samples: Sequence[Sample]) -> str:
    """Say that countries may be classes of classes: no class is in two of them."""
    homes: dict[str, set[str]] = {}
    for sample in samples:
        for label in sample.labels:
            homes.setdefault(label, set()).add(sample.country)
    several = len({s.country for s in samples}) > 1
    apart = several and all(len(countries) == 1 for countries in homes.values())
    return " (no class is in two of them: are these groups of classes?)" if apart else ""


def _absent(samples: Sequence[Sample], parts: Iterable[str]) -> str:
    """Name the classes that a split of the data set lacks."""
    labels = {label for s in samples for label in s.labels}
    lacking = []
    for part in parts:
        shown = {label for s in samples if s.part == part for label in s.labels}
        if absent := sorted(labels - shown):
            lacking.append(
                f"no {', '.join(absent[:_NAMED])}{' …' * (len(absent) > _NAMED)} in {part}"
            )
    return f" ({'; '.join(lacking)})" if lacking else ""


def _shares(counts: Mapping[str, int]) -> str:
    return first_five(f"{name} {count:,}" for name, count in counts.items())


def _counted(what: str, paths: Sequence[Path]) -> str:
    return f"{what}: {len(paths):,} ({paths[0]})"
