"""What an evaluation measures: every number of report.json and report.html."""

from dataclasses import asdict
from typing import Any

import numpy as np

from leansight.exporters.verification.intervals import mean_interval
from leansight.exporters.verification.score_calibration import judge_thresholds
from leansight.exporters.verification.selective import coverage_at
from leansight.exporters.verification.skill import measure_skill
from leansight.sdk.evaluation.answers import Answers
from leansight.sdk.evaluation.intervals import compare_models
from leansight.sdk.evaluation.label_errors import likely_label_errors, surest_mistakes
from leansight.sdk.evaluation.metrics import calibration_curve, measure_metrics


def measure_report(answers: Answers, other: Answers | None = None) -> dict[str, Any]:
    """Return all figures of one model, and of another on the same images, as plain JSON values.

    `answers`, `other`: of the same samples in the same order.
    """
    parts = parts_of(answers)
    report = _figures_of(answers) | {
        "selective": {name: _with_intervals(part) for name, part in parts.items()},
        "selective_by_class": _selective_by_class(answers),
        "skill": measure_skill(
            answers.logits, answers.classes, answers.labels, answers.task
        ).to_dict(),
        "accuracy_interval": {
            name: asdict(mean_interval(part.right, part.videos)) for name, part in parts.items()
        },
        "calibration": [asdict(b) for b in calibration_curve(answers.scores, answers.right)],
        "confusion": _confusion(answers),
        "mistakes": [asdict(m) for m in surest_mistakes(answers)],
        "label_errors": [asdict(m) for m in likely_label_errors(answers)],
    }
    if other is not None:
        found = compare_models(answers.right, other.right, answers.videos)
        report["other"] = _figures_of(other) | {"selective": {"all": _with_intervals(other)}}
        report["comparison"] = found.to_dict()
    return report


def parts_of(answers: Answers) -> dict[str, Answers]:
    """Return the answers to all images, and where there are several countries, to each one's."""
    countries = sorted({s.country for s in answers.samples} - {""})
    return {"all": answers} | {
        country: answers.only(np.array([s.country == country for s in answers.samples]))
        for country in countries
        if len(countries) > 1
    }


def _figures_of(answers: Answers) -> dict[str, Any]:
    measured = measure_metrics(answers.probabilities, answers.classes, answers.labels, answers.task)
    return {
        "model": answers.name,
        "task": answers.task,
        "images": len(answers.samples),
        "videos": len(set(answers.videos)),
        "threshold": answers.policy.threshold,
        "temperature": answers.policy.temperature,
        "sure": float(answers.sure.mean()),
        "metrics": asdict(measured),
    }


def _selective(answers: Answers) -> list[dict[str, Any]]:
    return [asdict(kept) for kept in coverage_at(answers.scores, answers.right)]


def _with_intervals(answers: Answers) -> list[dict[str, Any]]:
    """Return what thresholds keep, with the intervals of both shares over videos."""
    judged = judge_thresholds(answers.scores, answers.right, answers.videos)
    return [
        kept
        | {
            "share_interval": asdict(of.kept),
            "accuracy_interval": None if of.right is None else asdict(of.right),
        }
        for kept, of in zip(_selective(answers), judged, strict=True)
    ]


def _selective_by_class(answers: Answers) -> dict[str, list[dict[str, Any]]]:
    truth, _ = answers.marks
    return {label: _selective(answers.only(truth[:, k])) for k, label in enumerate(answers.labels)}


def _confusion(answers: Answers) -> list[list[int]]:
    """Count (true, predicted); with many labels there is no such table."""
    if answers.task == "multilabel":
        return []
    size = len(answers.labels)
    pairs = answers.classes * size + answers.probabilities.argmax(axis=1)
    return np.bincount(pairs, minlength=size**2).reshape(size, size).tolist()
