import re
from dataclasses import replace

import pytest

from leansight.exporters.options import Promise
from leansight.exporters.verification.refusal import find_refusal
from leansight.exporters.verification.report import ExportReport, FormatReport


def a_report(*, torch_accuracy: float, accuracy: float, agreement: float) -> ExportReport:
    def report(name: str, value: float) -> FormatReport:
        return FormatReport(
            name=name,
            size_bytes=1,
            accuracy=value,
            coverage=1,
            agreement=1,
            largest_difference=0,
            mean_difference=0,
            worst_class="bars",
            worst_class_drop=0,
            worst_class_lost=0,
        )

    return ExportReport(
        images=1000,
        formats=(
            report("torch float32", torch_accuracy),
            report("tflite float32", 0.0),  # not shipped: of no consequence
            report("tflite int8", torch_accuracy),
            report("onnx int8", accuracy),
        ),
        shipped=("tflite int8", "onnx int8"),
        agreement=agreement,
        identical=agreement,
    )


@pytest.mark.parametrize(
    ("accuracy", "agreement", "max_drop"),
    [(0.96, 1, 1), (0.97, 0.995, 0), (0.99, 1, 0), (0.9, 1, 7), (0.967, 1, 0.3)],
)
def test_a_promise_that_is_kept_to_the_point(
    accuracy: float, agreement: float, max_drop: float
) -> None:
    report = a_report(torch_accuracy=0.97, accuracy=accuracy, agreement=agreement)
    assert find_refusal(report, Promise(max_drop=max_drop, max_class_drop=0)) is None


@pytest.mark.parametrize(
    ("accuracy", "agreement", "max_drop", "message"),
    [
        (0.959, 1, 1, r"^onnx int8 lost 1\.10 points .*97\.00% to 95\.90%.*max_drop allows \(1\)$"),
        (0.969, 1, 0, r"onnx int8 lost 0\.10 points"),
        (0.97, 0.994, 1, r"^tflite int8 and onnx int8 decide differently on 0\.60% .*0\.5%"),
    ],
)
def test_a_promise_that_is_broken(
    accuracy: float, agreement: float, max_drop: float, message: str
) -> None:
    report = a_report(torch_accuracy=0.97, accuracy=accuracy, agreement=agreement)
    refusal = find_refusal(report, Promise(max_drop=max_drop, max_class_drop=100))
    assert refusal
    assert re.search(message, refusal)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coverage": 0.985}, r"^onnx int8 lost 1\.50 points of coverage .*max_drop allows \(1\)$"),
        ({"coverage": 0.99}, None),
        (
            {"worst_class_drop": 0.06, "worst_class_lost": 3},
            r"^onnx int8 lost 6\.00 points of the accuracy of bars, .*max_class_drop allows \(5\)$",
        ),
        ({"worst_class_drop": 0.05, "worst_class_lost": 3}, None),
        ({"worst_class_drop": 0.5, "worst_class_lost": 1}, None),  # one image of two
    ],
)
def test_what_is_kept_and_the_worst_class_are_promised_as_well(
    changes: dict[str, float], message: str | None
) -> None:
    report = a_report(torch_accuracy=0.97, accuracy=0.97, agreement=1)
    *others, last = report.formats
    changed = replace(report, formats=(*others, replace(last, **changes)))
    refusal = find_refusal(changed, Promise(max_drop=1, max_class_drop=5))
    assert (refusal and message and re.search(message, refusal)) or refusal is message is None
