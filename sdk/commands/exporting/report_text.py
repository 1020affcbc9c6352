"""What an export says on the screen at its end: scores, losses, and what thresholds keep."""

from typing import TYPE_CHECKING

import click

from leansight.runtime.bundle import describe_precision

if TYPE_CHECKING:
    from leansight.exporters.verification.report import ExportReport
    from leansight.exporters.verification.score_calibration import ScoreCalibration


def table(what: str, report: "ExportReport") -> str:
    """Say what each file scores, what it lost against torch, and how alike both files are."""
    accuracy = "label accuracy" if report.task == "multilabel" else "accuracy"
    width = max(9, len(accuracy))
    lines = [
        *(f"{effort}: {refusal}" for effort, refusal in report.refusals.items()),
        f"{report.images} {what} images" + _made(report),
        f"  {'':16} {accuracy:>{width}} {'coverage':>9} {'as torch':>9} {'largest difference':>19}",
    ]
    lines += [
        f"  {f.name:16} {f.accuracy:{width}.2%} {f.coverage:9.2%} {f.agreement:9.2%} "
        f"{f.largest_difference:19.4f}"
        for f in report.formats
    ]
    lost = f"  {'points lost':16} {f'of {accuracy}':>27} {'of coverage':>27}"
    lines += [
        lost,
        *(
            f"  {f.name:16} {f.accuracy_drop!s:>27} {f.coverage_drop!s:>27}"
            for f in report.formats
            if f.name in report.shipped
        ),
        *(click.wrap_text(warning, 80, "  ", "  ") for warning in report.warnings),
    ]
    formats = " and ".join(report.shipped)
    same = f", same numbers on {report.identical:.2%}" * ("int8" in formats)
    lines.append(f"  {formats} decide alike on {report.agreement:.2%}{same}")
    return "\n".join(lines)


def scores_text(scores: "ScoreCalibration") -> str:
    """Say what the temperature is, and what thresholds keep of the validation images."""
    rows = ((f"{report.threshold:g}", *report.shares) for report in scores.thresholds)
    return "\n".join(
        [
            click.wrap_text(f"scores: {scores}", 80),
            f"  {'threshold':16} {'kept':>27} {'right of these':>27}",
            *(f"  {threshold:16} {kept:>27} {right:>27}" for threshold, kept, right in rows),
            click.wrap_text(scores.scored, 80, "  ", "  "),
        ]
    )


def _made(report: "ExportReport") -> str:
    """Say what the files compute in and what made them, where that is not plain int8."""
    effort = f" by {report.effort}" * bool(report.refusals)
    text = describe_precision("int8", len(report.float_layers))
    return f", {text}{effort}" if effort or report.float_layers else ""
