"""The report of an evaluation: every figure as plain JSON, and one HTML page that shows them."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from jinja2 import Environment

from leansight.exporters.verification.selective import risk_coverage
from leansight.runtime.system.whole_files import whole_folder
from leansight.sdk.evaluation import figures
from leansight.sdk.evaluation.answers import Answers
from leansight.sdk.evaluation.evaluate import parts_of
from leansight.sdk.evaluation.figures import thumbnail
from leansight.sdk.evaluation.metrics import calibration_curve
from leansight.sdk.system.files import write_json, write_text

_RADAR: Final = ("accuracy", "macro_precision", "macro_recall", "macro_f1", "macro_auc")


def write_report(
    report: Mapping[str, Any],
    answers: Answers,
    data: Path,
    out: Path,
    *,
    drawings: Mapping[str, str],
) -> None:
    """Write the new folder `out` with report.json, and report.html, which needs no other file.

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
    with whole_folder(out) as part:
        write_json(part / "report.json", report)
        write_text(part / "report.html", html)


def _draw(report: Mapping[str, Any], answers: Answers) -> dict[str, str]:
    """Return the pictures of the figures, SVG text by their heading."""
    many = answers.task == "multilabel"
    truth, _ = answers.marks
    curves = {n: risk_coverage(p.scores, p.right)[1:] for n, p in parts_of(answers).items()}
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
