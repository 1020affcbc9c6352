"""Whether a newer benchmark is worse than an older one: for a CI that has to stop."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from leansight.benchmarks.results.result import FORMAT_VERSION
from leansight.benchmarks.results.table import scaled
from leansight.runtime.errors import DataError

Row = Mapping[str, Any]
Verdict = Literal["worse", "better", "same"]
_COUNTS: Final = {"size_bytes": "size", "macs": "MACs", "peak_rss_bytes": "peak RAM"}
_MEASURED: Final = "measured"
_PEAK: Final = "int8 peak"
_SHARES: Final = {"accuracy": "accuracy", "balanced": "balanced accuracy", "kept": "share kept"}


@dataclass(frozen=True, kw_only=True)
class Change:
    """A figure of a model in both benchmarks; `verdict` is what the difference shows."""

    model: str
    figure: str
    old: float
    new: float
    verdict: Literal["worse", "better", "same"]

    def __str__(self) -> str:
        """Say it in one line."""
        if self.figure == _MEASURED:
            return f"{self.verdict:<6} {self.model}: was measured, and is not any more"
        old, new = (_written(self.figure, value) for value in (self.old, self.new))
        return f"{self.verdict:<6} {self.model}: {self.figure} {old} -> {new}"


def change_lines(changes: Sequence[Change]) -> list[str]:
    """Return a line for each change that is worse or better, then for each model one of the rest.

    What is written alike in both is written once.
    """
    same: dict[str, list[str]] = {}
    for change in changes:
        if change.verdict == "same":
            old, new = (_written(change.figure, value) for value in (change.old, change.new))
            both = old if old == new else f"{old} -> {new}"
            same.setdefault(change.model, []).append(f"{change.figure} {both}")
    rest = [f"{'same':<6} {model}: {', '.join(figures)}" for model, figures in same.items()]
    return [*(str(change) for change in changes if change.verdict != "same"), *rest]


def _written(figure: str, value: float) -> str:
    """Write a figure with its unit."""
    if figure.startswith(_PEAK):
        return f"{scaled(value)}MAC/s"
    if figure in _SHARES.values():
        return f"{value:.1%}"
    if figure not in _COUNTS.values():
        return f"{value:.4g}"
    return f"{scaled(value)}{'' if figure == _COUNTS['macs'] else 'B'}".strip()


def read_result_file(path: Path) -> Row:
    """Return what `leansight bench --out` wrote.

    Raises:
        DataError: it is no such file, or the machine throttled, which makes its times worthless.

    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {(error.strerror or str(error)).lower()}"
        ) from error
    except ValueError as error:
        raise DataError(
            f"{path} is no result file of `leansight bench`: name a file that it wrote"
        ) from error
    if not isinstance(found, dict) or found.get("format_version") != FORMAT_VERSION:
        raise DataError(
            f"{path} is no result file of `leansight bench` of this version: measure again"
        )
    for machine in _machines(found):
        if machine["throttled"]:
            raise DataError(
                f"{path} is worthless: {machine['throttled']}. Cool the board, measure again"
            )
    return found


def _machines(found: Row) -> Sequence[Row]:
    """Return the benchmark of each machine in a file."""
    machines: Sequence[Row] = found.get("machines", [found])
    return machines


def compare_results(old: Row, new: Row, *, allowed: float) -> list[Change]:
    """Return how each model of the old benchmark has changed.

    A time is worse or better if its ratio is further from 1 than `allowed` (0.05 for 5 %), as it is
    and beside the machine's int8 peak in the same run, and the 95 % intervals do not overlap; a
    share, if the intervals do not overlap; a count of bytes or MACs, if its ratio is. A model or a
    machine that is missing in the new benchmark, or failed there, is worse. Of several machines,
    each is compared with itself.

    Raises:
        DataError: other machines, or other numbers of threads: their times say nothing.

    """
    before, after = _machines(old), _machines(new)
    if len(before) == len(after) == 1:
        return _compared(before[0], after[0], allowed)
    there = {machine["results"][0]["on"]: machine for machine in after}
    changes: list[Change] = []
    for machine in before:
        on = machine["results"][0]["on"]
        if on in there:
            found = _compared(machine, there[on], allowed)
            changes += [replace(change, model=f"{on}: {change.model}") for change in found]
        else:
            changes.append(_gone(on or "this machine"))
    return changes


def _compared(old: Row, new: Row, allowed: float) -> list[Change]:
    """Compare what one machine found."""
    _require_same_machine(old, new)
    peaks = [found["conditions"]["peaks"] or {} for found in (old, new)]
    before, after = (found.get("int8_macs_per_s", {}) for found in peaks)
    now = {(row["name"], row["format"]): row for row in new["results"]}
    changes: list[Change] = []
    for row in old["results"]:
        kind = row["format"]
        model, later = f"{row['name']} ({kind})", now.get((row["name"], kind))
        speed = after[kind] / before[kind] if kind in before and kind in after else 1.0
        changes += [_gone(model)] if later is None else _changes(model, row, later, allowed, speed)
    return [*changes, *_of_machine(before, after)]


def _of_machine(before: Mapping[str, float], after: Mapping[str, float]) -> list[Change]:
    """Return how fast the machine itself was, which is neither better nor worse."""
    return [
        Change(
            model="the machine",
            figure=f"{_PEAK} ({kind})",
            old=before[kind],
            new=after[kind],
            verdict="same",
        )
        for kind in before
        if kind in after
    ]


def _gone(what: str) -> Change:
    return Change(model=what, figure=_MEASURED, old=1, new=0, verdict="worse")


def _require_same_machine(old: Row, new: Row) -> None:
    places = [
        (found["conditions"]["facts"]["name"], {row["threads"] for row in found["results"]})
        for found in (old, new)
    ]
    if places[0] != places[1]:
        before, after = (
            f"{name} with {', '.join(map(str, sorted(threads)))} threads"
            for name, threads in places
        )
        raise DataError(f"one was measured on {before}, the other on {after}: measure on one")


def _changes(model: str, old: Row, new: Row, allowed: float, speed: float) -> Iterator[Change]:
    """Yield the change of each figure; the machine itself was `speed` times as fast as before."""
    time, later = old["undisturbed_ms"], new["undisturbed_ms"]
    yield Change(
        model=model,
        figure="undisturbed ms",
        old=time["value"],
        new=later["value"],
        verdict=_of_time(time, later, allowed, speed),
    )
    for field, figure in _COUNTS.items():
        before, after = old[field], new[field]
        if before and after is not None:
            verdict = _of_ratio(after / before, allowed)
            yield Change(model=model, figure=figure, old=before, new=after, verdict=verdict)
    if old["accuracy"] and new["accuracy"]:
        for field, figure in _SHARES.items():
            share, then = old["accuracy"][field], new["accuracy"][field]
            if share and then:
                yield _of_share(model, figure, share, then)


def _of_share(model: str, figure: str, old: Row, new: Row) -> Change:
    before, after = old["value"], new["value"]
    verdict: Verdict = "worse" if after < before else "better"
    return Change(
        model=model,
        figure=figure,
        old=before,
        new=after,
        verdict=verdict if _apart(old, new) else "same",
    )


def _of_time(old: Row, new: Row, allowed: float, speed: float) -> Verdict:
    """Judge a time as it is and as the machine would have taken it at its speed of before."""
    ratio = new["value"] / old["value"]
    as_it_is, at_old_speed = (_of_ratio(each, allowed) for each in (ratio, ratio * speed))
    return as_it_is if _apart(old, new) and as_it_is == at_old_speed else "same"


def _of_ratio(ratio: float, allowed: float) -> Verdict:
    if ratio > 1 + allowed:
        return "worse"
    return "better" if ratio < 1 / (1 + allowed) else "same"


def _apart(old: Row, new: Row) -> bool:
    """Say whether two intervals do not overlap; without an interval nothing is known."""
    if None in (old["low"], new["low"]):
        return False
    return bool(old["high"] < new["low"] or new["high"] < old["low"])
