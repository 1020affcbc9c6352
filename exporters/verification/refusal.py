"""Decides whether an export is refused: what each file lost against what it may lose."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from leansight.exporters.options import Promise
from leansight.exporters.verification.paired import fewest_that_tell
from leansight.exporters.verification.report import (
    CONFIDENCE,
    ClassLoss,
    ExportReport,
    FormatReport,
)

MIN_AGREEMENT: Final = 0.995  # share of decisions that must be equal in the two formats
_NOISE: Final = 1e-9  # points; of a difference of two shares
_NAMED: Final = 5  # classes in a sentence
_ALL: Final = 100  # points: all that a class can lose


def find_refusal(report: ExportReport, promise: Promise) -> str | None:
    """Return why a shipped format does not keep the promise, or None if all do."""
    torch, *shipped = _torch_and_shipped(report)
    for found in shipped:
        if lost := _lost_too_much(torch, found, promise) or _lost_a_class(report, found, promise):
            return lost
    if report.agreement < MIN_AGREEMENT:
        return (
            f"{' and '.join(report.shipped)} decide differently on "
            f"{1 - report.agreement:.2%} of the {report.decided}, more than "
            f"{1 - MIN_AGREEMENT:.1%}"
        )
    return None


def least_max_drop(report: ExportReport, promise: Promise) -> float:
    """Return the `max_drop`, points, with which the files would keep the promise; inf for none."""
    lost = (
        100 * drop.share
        for found in _torch_and_shipped(report)[1:]
        for drop in (found.accuracy_drop, found.coverage_drop)
    )
    points = math.ceil(10 * max(lost)) / 10
    kept = find_refusal(report, replace(promise, max_drop=points)) is None
    return points if kept else math.inf


def find_warnings(report: ExportReport, promise: Promise) -> tuple[str, ...]:
    """Return what the images cannot tell of the promise on single classes, a sentence each.

    Of each class that lost more than it may and is not refused, why; then the classes of which
    no loss could be told from chance, however large it is.
    """
    fewest = fewest_that_tell(len(report.right_by_class), promise.significance)
    names: dict[ClassLoss, list[str]] = {}
    for found in _torch_and_shipped(report)[1:]:
        for loss in found.class_losses:
            if _is_over(loss, promise) and loss.p_corrected > promise.significance:
                names.setdefault(loss, []).append(found.name)
    return (
        *(_doubt(report, loss, files, fewest) for loss, files in names.items()),
        *(_too_few(report, fewest) if promise.max_class_drop < _ALL else ()),
    )


def _torch_and_shipped(report: ExportReport) -> list[FormatReport]:
    by_name = {found.name: found for found in report.formats}
    return [by_name[name] for name in ("torch float32", *report.shipped)]


def _lost_too_much(torch: FormatReport, found: FormatReport, promise: Promise) -> str | None:
    for what, drop in (("accuracy", found.accuracy_drop), ("coverage", found.coverage_drop)):
        if 100 * drop.share > promise.max_drop + _NOISE:
            before, after = getattr(torch, what), getattr(found, what)
            return (
                f"{found.name} lost {100 * drop.share:.2f} points of {what} ({before:.2%} to "
                f"{after:.2%}; {CONFIDENCE:.0%} interval of the loss: {100 * drop.low:.2f} to "
                f"{100 * drop.high:.2f}), more than max_drop allows ({promise.max_drop:g})"
            )
    return None


def _lost_a_class(report: ExportReport, found: FormatReport, promise: Promise) -> str | None:
    for loss in found.class_losses:
        if _is_over(loss, promise) and loss.p_corrected <= promise.significance:
            return (
                f"{found.name} lost {_describe(report, loss)}, "
                f"more than max_class_drop allows ({promise.max_class_drop:g})"
            )
    return None


def _is_over(loss: ClassLoss, promise: Promise) -> bool:
    return 100 * loss.drop > promise.max_class_drop + _NOISE


def _describe(report: ExportReport, loss: ClassLoss) -> str:
    return (
        f"{100 * loss.drop:.2f} points of the accuracy of {loss.label} ({loss.lost} images lost "
        f"and {loss.gained} gained of {loss.images}; exact one-sided test: "
        f"p = {loss.p_corrected:.2g} after Holm's correction for {_classes(report)})"
    )


def _classes(report: ExportReport) -> str:
    tests = len(report.right_by_class)
    return "1 class" if tests == 1 else f"{tests} classes"


def _doubt(report: ExportReport, loss: ClassLoss, files: list[str], fewest: int) -> str:
    few = report.right_by_class[loss.label] < fewest
    why = "its images are too few to tell" if few else "that may be chance"
    return f"{' and '.join(files)} lost {_describe(report, loss)}: {why}"


def _too_few(report: ExportReport, fewest: int) -> Iterator[str]:
    """Name the classes of which torch has fewer images right than could show a loss."""
    few = [label for label, right in report.right_by_class.items() if right < fewest]
    if few:
        named = ", ".join(few[:_NAMED]) + f" and {len(few) - _NAMED} more" * (len(few) > _NAMED)
        yield (
            f"{len(few)} of {_classes(report)} have too few images to show a loss ({named}): "
            f"torch must have {fewest} of a class right, and max_class_drop protects only those"
        )
