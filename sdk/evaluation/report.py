"""The report of an evaluation: every figure as plain JSON, and one HTML page that shows them."""

from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from jinja2 import Environment

from leansight.sdk.evaluation import figures
from leansight.sdk.evaluation.answers import Answers
from leansight.sdk.evaluation.figures import thumbnail
from leansight.sdk.evaluation.intervals import compare_models, mean_interval
from leansight.sdk.evaluation.label_errors import likely_label_errors, surest_mistakes
from leansight.sdk.evaluation.metrics import calibration_curve, measure_metrics
from leansight.sdk.evaluation.selective import kept_at, risk_coverage
from leansight.sdk.system.files import write_json, write_text

_RADAR: Final = ("accuracy", "macro_precision", "macro_recall", "macro_f1", "macro_auc")


def measure_report(answers: Answers, other: Answers | None = None) -> dict[str, Any]:
    """Return all figures of one model, and of another on the same images, as plain JSON values.

    `answers`, `other`: of the same samples in the same order.
    """
    parts = _parts(answers)
    report = _figures_of(answers) | {
        "selective": {name: _selective(part) for name, part in parts.items()},
        "selective_by_class": _selective_by_class(answers),
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
        report["other"] = _figures_of(other) | {"selective": {"all": _selective(other)}}
        report["comparison"] = found.to_dict()
    return report


def write_report(
    report: Mapping[str, Any],
    answers: Answers,
    data: Path,
    out: Path,
    *,
    drawings: Mapping[str, str],
) -> None:
    """Write `out`/report.json and `out`/report.html, which needs no other file.

    `drawings`: more pictures, SVG text by their heading.
    """
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        files("leansight.sdk.evaluation").joinpath("report.html").read_text()
    )
    thumbnails = {
        mistake["index"]: thumbnail(data, answers.samples[mistake["index"]])
        for kind in ("mistakes", "label_errors")
        for mistake in report[kind]
    }
    html = page.render(
        report=report,
        pictures=_draw(report, answers) | dict(drawings),
        thumbnails=thumbnails,
    )
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "report.json", report)
    write_text(out / "report.html", html)


def _parts(answers: Answers) -> dict[str, Answers]:
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
    return [asdict(kept) for kept in kept_at(answers.scores, answers.right)]


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


def _draw(report: Mapping[str, Any], answers: Answers) -> dict[str, str]:
    """Return the pictures of the figures, SVG text by their heading."""
    many = answers.task == "multilabel"
    truth, _ = answers.marks
    curves = {n: risk_coverage(p.scores, p.right)[1:] for n, p in _parts(answers).items()}
    models = [report, *([report["other"]] if "other" in report else [])]
    radar = {m["model"]: [m["metrics"][name] or 0.0 for name in _RADAR] for m in models}
    axes = [n.replace("_", " ") for n in (f"{'label ' * many}accuracy", *_RADAR[1:])]
    bins = calibration_curve(answers.scores, answers.right)
    pictures = {
        f"{'Image accuracy' if many else 'Accuracy'} of what is kept": figures.draw_selective(
            curves
        ),
        "Calibration": figures.draw_calibration(bins),
        "ROC curves, each class against all others": figures.draw_roc(
            truth, answers.probabilities, answers.labels
        ),
        "At a glance": figures.draw_radar(radar, axes),
    }
    if report["confusion"]:
        counts = np.array(report["confusion"])
        pictures["Confusion matrix"] = figures.draw_confusion(counts, answers.labels)
    return pictures
