"""What a study found: the scores of its cells, the candidate they choose, a table, a picture."""

import json
import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from leansight.runtime.errors import DataError
from leansight.runtime.system.whole_files import whole_file
from leansight.sdk.studies.grid import Candidate, Cell
from leansight.sdk.system.text import no_formula, printable

if TYPE_CHECKING:
    from rich.table import Table

_MOST_COLUMNS: Final = 6  # folds that fit side by side in a terminal


@dataclass(frozen=True, kw_only=True)
class CandidateResult:
    """The scores (0 to 1, more is better) of a candidate's finished cells.

    `missing` cells failed or have not run.
    """

    candidate: Candidate
    scores: Mapping[Cell, float]
    missing: int = 0

    @property
    def mean(self) -> float:
        """Return the mean over folds and seeds; NaN without a score."""
        return _mean(self.scores.values())

    @property
    def deviation(self) -> float:
        """Return the standard deviation of a sample (n - 1) over the cells; NaN for one cell."""
        return statistics.stdev(self.scores.values()) if len(self.scores) > 1 else math.nan

    @property
    def by_fold(self) -> dict[int, float]:
        """Return the mean over the seeds of each fold."""
        folds = sorted({cell.fold for cell in self.scores})
        return {
            fold: _mean([score for cell, score in self.scores.items() if cell.fold == fold])
            for fold in folds
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; null where there is no number."""
        return {
            "candidate": self.candidate.name,
            "settings": dict(self.candidate.settings),
            "mean": _number(self.mean),
            "deviation": _number(self.deviation),
            "by_fold": {str(fold): score for fold, score in self.by_fold.items()},
            "missing": self.missing,
            "cells": [
                {"run": cell.name, "fold": cell.fold, "seed": cell.seed, "score": score}
                for cell, score in self.scores.items()
            ],
        }


@dataclass(frozen=True, kw_only=True)
class StudyResults:
    """All candidates in the order of the grid, with the metric `choose_by` they are compared by.

    `winner` is None as long as cells are missing; `metrics` are those of the test of its run on
    everything, once that has finished (none without test images). `failed` says for each failed
    training why.
    """

    choose_by: str
    candidates: tuple[CandidateResult, ...]
    winner: Candidate | None = None
    metrics: Mapping[str, Any] | None = None
    failed: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values: what `results.json` holds."""
        return {
            "choose_by": self.choose_by,
            "candidates": [result.to_dict() for result in self.candidates],
            "winner": self.winner and self.winner.name,
            "metrics": None if self.metrics is None else dict(self.metrics),
            "failed": dict(self.failed),
        }


def read_metrics(run: Path) -> dict[str, Any]:
    """Return what a finished run scored; DataError if its file is damaged."""
    file = run / "run.json"
    try:
        metrics = json.loads(file.read_text())["metrics"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f"{file} is damaged ({error}): delete {run} to train it again") from error
    if not isinstance(metrics, dict):
        raise DataError(f"{file} is damaged (no metrics): delete {run} to train it again")
    return metrics


def read_score(run: Path, metric: str) -> float:
    """Return one metric of a finished run; DataError if it has none, or no finite number."""
    score = read_metrics(run).get(metric)
    if not isinstance(score, int | float) or not math.isfinite(score):
        raise DataError(f"{run} cannot be compared: its {metric} is {score}")
    return float(score)


def summarise(cells: Sequence[Cell], scores: Mapping[Cell, float]) -> tuple[CandidateResult, ...]:
    """Gather the scores of each candidate of all the `cells`."""
    candidates = dict.fromkeys(cell.candidate for cell in cells)
    results = []
    for candidate in candidates:
        own = [cell for cell in cells if cell.candidate == candidate]
        found = {cell: scores[cell] for cell in own if cell in scores}
        missing = len(own) - len(found)
        results.append(CandidateResult(candidate=candidate, scores=found, missing=missing))
    return tuple(results)


def choose(results: Sequence[CandidateResult]) -> Candidate | None:
    """Return the candidate with the best mean among the whole ones; of equals the first."""
    whole = [result for result in results if not result.missing]
    return max(whole, key=lambda result: result.mean).candidate if whole else None


def table(results: StudyResults) -> "Table":
    """Return the candidates as a table that a person reads; the winner has a star."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("Candidate", overflow="fold")
    made.add_column(f"{results.choose_by.capitalize()} % (± s.d.)", justify="right")
    folds = sorted({fold for result in results.candidates for fold in result.by_fold})
    folds = folds if 1 < len(folds) <= _MOST_COLUMNS else []
    for fold in folds:
        made.add_column(f"Fold {fold}", justify="right", no_wrap=True)
    some_missing = any(result.missing for result in results.candidates)
    if some_missing:
        made.add_column("Missing", justify="right")
    for result in results.candidates:
        star = " *" if result.candidate == results.winner else ""
        spread = f" ± {100 * result.deviation:.2f}" if len(result.scores) > 1 else ""
        each = (_percent(result.by_fold.get(fold, math.nan)) for fold in folds)
        missing = [str(result.missing or "")] if some_missing else []
        mean = f"{_percent(result.mean)}{spread}{star or '  '}"
        made.add_row(escape(printable(result.candidate.name)), mean, *each, *missing)
    return made


def write_picture(results: StudyResults, file: Path) -> None:
    """Draw each candidate's cells as dots and their mean as a bar, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [result for result in results.candidates if result.scores]
    figure = Figure(figsize=(8, 1.5 + 0.4 * len(shown)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(
        xlabel=f"{results.choose_by} (%)", title="Each dot is one fold and seed, the bar their mean"
    )
    for row, result in enumerate(shown):
        colour = "tab:orange" if result.candidate == results.winner else "tab:blue"
        percent = [100 * score for score in result.scores.values()]
        axes.plot(percent, [row] * len(percent), "o", color=colour, alpha=0.5)
        axes.plot([100 * result.mean], [row], "|", color=colour, markersize=22, markeredgewidth=3)
    names = [no_formula(r.candidate.name) + " *" * (r.candidate == results.winner) for r in shown]
    axes.set_yticks(range(len(shown)), names)
    axes.set_ylim(len(shown) - 0.5, -0.5)  # the first on top, as in the table
    axes.grid(axis="x", alpha=0.3)
    with whole_file(file) as part:
        figure.savefig(part, dpi=120, format="png")


def _mean(scores: Collection[float]) -> float:
    return statistics.fmean(scores) if scores else math.nan


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _percent(share: float) -> str:
    return f"{100 * share:.2f}" if math.isfinite(share) else "-"
