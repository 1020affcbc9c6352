"""Figures equal scikit-learn's, or a hand count on a small table."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics

from leansight.sdk.evaluation.metrics import calibration_curve, measure_metrics

LABELS = ("a", "b", "c")
# Said: a, a, b, c, b, a; shown: a, b, b, c, c, a.
SAID = np.array(
    [
        [0.8, 0.1, 0.1],
        [0.5, 0.3, 0.2],
        [0.2, 0.7, 0.1],
        [0.1, 0.3, 0.6],
        [0.1, 0.6, 0.3],
        [0.9, 0.1, 0.0],
    ]
)
SHOWN = np.array([0, 1, 1, 2, 2, 0])


def random_table(seed: int, labels: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    said = rng.dirichlet(np.full(labels, 0.5), 60)
    shown = np.where(rng.uniform(size=60) < 0.6, said.argmax(axis=1), rng.integers(0, labels, 60))
    shown[:labels] = np.arange(labels)  # scikit-learn leaves absent classes out
    return said, shown


def test_a_small_table_by_hand() -> None:
    found = measure_metrics(SAID, SHOWN, LABELS, "classification")
    assert found.images == 6
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.loss == pytest.approx(-np.log([0.8, 0.3, 0.7, 0.6, 0.3, 0.9]).mean())
    assert found.top_k == {2: 1.0}
    assert found.balanced_accuracy == found.macro_recall == pytest.approx((1 + 0.5 + 0.5) / 3)
    a, b, c = found.classes
    assert (a.true_positives, a.false_positives, a.false_negatives, a.true_negatives) == (
        2,
        1,
        0,
        3,
    )
    assert (b.true_positives, b.false_positives, b.false_negatives, b.true_negatives) == (
        1,
        1,
        1,
        3,
    )
    assert (c.precision, c.recall, c.specificity) == (1, 0.5, 1)
    assert a.f1 == pytest.approx(0.8)
    assert b.images == 2


@settings(max_examples=20)
@given(st.integers(0, 500), st.integers(3, 6))
def test_one_label_figures_are_scikit_learn_s(seed: int, labels: int) -> None:
    said, shown = random_table(seed, labels)
    found = measure_metrics(said, shown, [str(i) for i in range(labels)], "classification")
    best = said.argmax(axis=1)
    report = sklearn_metrics.precision_recall_fscore_support(shown, best, zero_division=np.nan)
    for k, figures in enumerate(found.classes):
        assert figures.recall == pytest.approx(report[1][k])
        if (best == k).any():
            assert figures.precision == pytest.approx(report[0][k])
    assert found.accuracy == sklearn_metrics.accuracy_score(shown, best)
    assert found.micro_f1 == pytest.approx(found.accuracy)
    assert found.balanced_accuracy == pytest.approx(
        sklearn_metrics.balanced_accuracy_score(shown, best)
    )
    assert found.macro_f1 == pytest.approx(
        sklearn_metrics.f1_score(shown, best, average="macro", zero_division=0)
    )
    assert found.loss == pytest.approx(sklearn_metrics.log_loss(shown, said), rel=1e-6)
    assert found.macro_auc == pytest.approx(
        sklearn_metrics.roc_auc_score(shown, said, multi_class="ovr")
    )
    assert found.top_k[2] == sklearn_metrics.top_k_accuracy_score(shown, said, k=2)


@settings(max_examples=20)
@given(st.integers(0, 500))
def test_many_label_figures_are_scikit_learn_s(seed: int) -> None:
    rng = np.random.default_rng(seed)
    said, shown = rng.uniform(size=(40, 3)), rng.integers(0, 2, (40, 3))
    found = measure_metrics(said, shown, LABELS, "multilabel")
    given_labels = said >= 0.5
    assert found.accuracy == (given_labels == shown).mean()
    for average, value in (("micro", found.micro_f1), ("macro", found.macro_f1)):
        assert value == pytest.approx(
            sklearn_metrics.f1_score(shown, given_labels, average=average)
        )
    assert found.macro_auc == pytest.approx(sklearn_metrics.roc_auc_score(shown, said))
    so = np.where(shown, said, 1 - said)
    assert found.loss == pytest.approx(-np.log(so).sum(axis=1).mean())
    assert (found.balanced_accuracy, found.top_k) == (None, {})


def test_a_class_without_images_has_no_figures_instead_of_zeros() -> None:
    found = measure_metrics(SAID[:1], SHOWN[:1], LABELS, "classification")
    empty = found.classes[1]
    assert (empty.images, empty.recall, empty.precision, empty.f1, empty.auc) == (0, *[None] * 4)
    assert empty.specificity == 1
    assert found.macro_recall == found.balanced_accuracy == 1


def test_expected_calibration_error_by_hand() -> None:
    # Two bins hold images: 0.6 said and half right, 0.9 said and all right.
    said = np.array([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1], [0.9, 0.1]])
    found = measure_metrics(said, np.array([0, 1, 0, 0]), ("x", "y"), "classification")
    assert found.calibration_error == pytest.approx(0.5 * 0.1 + 0.5 * 0.1)
    bins = calibration_curve(said.max(axis=1), np.array([True, False, True, True]))
    assert [(b.images, b.confidence, b.accuracy) for b in bins] == [
        (2, pytest.approx(0.6), 0.5),
        (2, pytest.approx(0.9), 1.0),
    ]
    assert [b.low < b.confidence <= b.high for b in bins] == [True, True]
