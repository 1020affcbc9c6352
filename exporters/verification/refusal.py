"""Decides whether an export is refused: what each file lost against what it may lose."""

from typing import Final

from leansight.exporters.options import Promise
from leansight.exporters.verification.report import ExportReport, FormatReport

MIN_AGREEMENT: Final = 0.995  # share of decisions that must be equal in the two formats
_NOISE: Final = 1e-9  # points; of a difference of two shares


def find_refusal(report: ExportReport, promise: Promise) -> str | None:
    """Return why a shipped format does not keep the promise, or None if all do."""
    by_name = {found.name: found for found in report.formats}
    for name in report.shipped:
        if lost := _lost_too_much(by_name["torch float32"], by_name[name], promise):
            return lost
    if report.agreement < MIN_AGREEMENT:
        return (
            f"{' and '.join(report.shipped)} decide differently on "
            f"{1 - report.agreement:.2%} of the {report.decided}, more than "
            f"{1 - MIN_AGREEMENT:.1%}"
        )
    return None


def _lost_too_much(torch: FormatReport, found: FormatReport, promise: Promise) -> str | None:
    for what in ("accuracy", "coverage"):
        before, after = getattr(torch, what), getattr(found, what)
        if (drop := 100 * (before - after)) > promise.max_drop + _NOISE:
            return (
                f"{found.name} lost {drop:.2f} points of {what} ({before:.2%} to {after:.2%}), "
                f"more than max_drop allows ({promise.max_drop:g})"
            )
    drop = 100 * found.worst_class_drop
    # One image of a small class is no evidence.
    if drop > promise.max_class_drop + _NOISE and found.worst_class_lost > 1:
        return (
            f"{found.name} lost {drop:.2f} points of the accuracy of {found.worst_class}, "
            f"more than max_class_drop allows ({promise.max_class_drop:g})"
        )
    return None
