import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from trained_networks import Images

from leansight.exporters.options import Promise
from leansight.exporters.verification.compare import compare
from leansight.exporters.verification.refusal import find_refusal, find_warnings, least_max_drop
from leansight.exporters.verification.report import Drop, ExportReport, FormatReport
from leansight.runtime.decision import DecisionPolicy


def a_report(*, torch_accuracy: float, accuracy: float, agreement: float) -> ExportReport:
    def report(name: str, value: float) -> FormatReport:
        drop = torch_accuracy - value
        return FormatReport(
            name=name,
            size_bytes=1,
            accuracy=value,
            coverage=1,
            agreement=1,
            largest_difference=0,
            mean_difference=0,
            accuracy_drop=Drop(share=drop, low=drop - 0.004, high=drop + 0.004),
            coverage_drop=Drop(share=0, low=0, high=0),
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
        right_by_class={"bars": 900},
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
        (
            0.959,
            1,
            1,
            (
                r"^onnx int8 lost 1\.10 points of accuracy \(97\.00% to 95\.90%; "
                r"95% interval of the loss: 0\.70 to 1\.50\), more than max_drop allows \(1\)$"
            ),
        ),
        # The whole is held to what is measured, however wide its interval is.
        (0.969, 1, 0, r"onnx int8 lost 0\.10 points of accuracy .*: -0\.30 to 0\.50\)"),
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
    ("points", "message"),
    [(1.5, r"^onnx int8 lost 1\.50 points of coverage \(100\.00% to 98\.50%"), (1.0, "^None$")],
)
def test_coverage_is_promised_as_well(points: float, message: str) -> None:
    report = a_report(torch_accuracy=0.97, accuracy=0.97, agreement=1)
    *others, last = report.formats
    drop = Drop(share=points / 100, low=0, high=0.03)
    last = replace(last, coverage=1 - points / 100, coverage_drop=drop)
    found = find_refusal(replace(report, formats=(*others, last)), Promise(max_drop=1))
    assert re.search(message, str(found))


# Of each class its images, and how many were lost and gained.
Outcome = tuple[int, int, int]


def a_comparison(*classes: Outcome) -> ExportReport:
    """Compare a file with torch, which has every image right that the file did not gain."""
    labels = tuple(f"class {i}" for i in range(max(2, len(classes))))
    truth, torch, int8 = [], [], []
    for label, (images, lost, gained) in enumerate(classes):
        other = (label + 1) % len(labels)
        truth += [label] * images
        torch += [other] * gained + [label] * (images - gained)
        int8 += [label] * (images - lost) + [other] * lost
    logits = {
        name: np.eye(len(labels), dtype=np.float32)[said]
        for name, said in (("torch float32", torch), ("tflite int8", int8))
    }
    return compare(
        logits,
        {},
        Images(np.zeros((len(truth), 1, 1, 1), np.uint8), np.array(truth, np.int64)),
        labels=labels,
        policy=DecisionPolicy(threshold=0),
        shipped=("tflite int8",),
    )


ANY_TOTAL = Promise(max_drop=100, max_class_drop=5)


def test_two_images_of_thirty_three_are_no_reason_to_refuse() -> None:
    report = a_comparison((33, 2, 0), *[(60, 0, 0)] * 15)
    assert find_refusal(report, ANY_TOTAL) is None
    (warning,) = find_warnings(report, ANY_TOTAL)
    assert warning == (
        "tflite int8 lost 6.06 points of the accuracy of class 0 (2 images lost and 0 gained of "
        "33; exact one-sided test: p = 1 after Holm's correction for 16 classes): "
        "that may be chance"
    )


def test_a_class_whose_loss_is_no_chance_is_refused_with_its_figures() -> None:
    report = a_comparison((60, 0, 0), (33, 12, 1))
    refusal = find_refusal(report, ANY_TOTAL)
    # 14 of the 2^13 ways to toss 13 coins have 12 heads or more; two classes are tested.
    assert refusal == (
        "tflite int8 lost 33.33 points of the accuracy of class 1 (12 images lost and 1 gained of "
        f"33; exact one-sided test: p = {2 * 14 / 2**13:.2g} after Holm's correction for 2 "
        "classes), more than max_class_drop allows (5)"
    )
    assert find_refusal(report, replace(ANY_TOTAL, max_class_drop=34)) is None
    assert find_refusal(report, replace(ANY_TOTAL, significance=0.003)) is None
    assert find_warnings(report, ANY_TOTAL) == ()


def test_a_class_with_too_few_images_is_not_refused_but_named() -> None:
    report = a_comparison((3, 3, 0), (60, 0, 0), (4, 0, 0))
    assert find_refusal(report, ANY_TOTAL) is None
    lost, protected = find_warnings(report, ANY_TOTAL)
    assert lost.startswith("tflite int8 lost 100.00 points of the accuracy of class 0 (3 images")
    assert lost.endswith(": its images are too few to tell")
    assert protected == (
        "2 of 3 classes have too few images to show a loss (class 0, class 2): torch must have "
        "6 of a class right, and max_class_drop protects only those"
    )
    # It counts in the whole all the same, which is held to what is measured.
    whole = find_refusal(report, Promise(max_drop=1))
    assert str(whole).startswith("tflite int8 lost 4.48 points of accuracy (100.00% to 95.52%")


def test_a_level_of_one_holds_every_class_to_what_is_measured() -> None:
    report = a_comparison((3, 1, 0), (60, 0, 0))
    strict = replace(ANY_TOTAL, significance=1)
    assert "lost 33.33 points of the accuracy of class 0" in str(find_refusal(report, strict))
    assert find_warnings(report, strict) == ()


def test_where_classes_may_lose_everything_nothing_is_said_of_them() -> None:
    report = a_comparison((3, 3, 0), (60, 0, 0))
    assert find_warnings(report, Promise(max_class_drop=100)) == ()


COUNTS = st.integers(0, 40)
OUTCOMES = st.builds(
    lambda others, lost, gained: (1 + others + lost + gained, lost, gained), COUNTS, COUNTS, COUNTS
)


@given(st.lists(OUTCOMES, min_size=2, max_size=8))
def test_a_class_is_refused_if_and_only_if_its_loss_is_large_and_no_chance(
    classes: list[Outcome],
) -> None:
    p_values = sorted(
        (binomtest(lost, lost + gained, alternative="greater").pvalue if lost + gained else 1.0, i)
        for i, (_, lost, gained) in enumerate(classes)
    )
    rejected = set()
    for rank, (p_value, i) in enumerate(p_values):  # Holm: down to the first that is not rejected
        if p_value * (len(classes) - rank) > ANY_TOTAL.significance:
            break
        rejected.add(i)
    large = {i for i, (n, lost, gained) in enumerate(classes) if 100 * (lost - gained) > 5 * n}
    report = a_comparison(*classes)
    refusal = find_refusal(report, ANY_TOTAL)
    assert (refusal is not None) is bool(rejected & large)
    warned = " ".join(find_warnings(report, ANY_TOTAL))
    assert all((f"accuracy of class {i} " in warned) is (i not in rejected) for i in large)


def test_the_max_drop_with_which_files_would_be_written_is_told() -> None:
    lost = a_report(torch_accuracy=0.9, accuracy=0.8777, agreement=1)
    assert least_max_drop(lost, Promise()) == 2.3
    assert find_refusal(lost, Promise(max_drop=2.3)) is None
    assert (
        least_max_drop(a_report(torch_accuracy=0.9, accuracy=0.8, agreement=0.9), Promise())
        == math.inf
    )
