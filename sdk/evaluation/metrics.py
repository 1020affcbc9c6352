"""What a model scored on labelled images, counted by scikit-learn and torchmetrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)

from leansight.exporters.verification.compare import MORE_LIKELY_THAN_NOT
from leansight.runtime.decision import Task

BINS: Final = 15  # of the calibration curve (Guo et al., arXiv 1706.04599)
_TOP: Final = 5


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """One class against all others; a ratio whose divisor is 0 is None, not a number.

    `images` show it; `auc` is the area under the ROC curve of its probability.
    """

    label: str
    images: int
    true_positives: int
    true_negatives: int
    false_positives: int
    false_negatives: int
    precision: float | None
    recall: float | None
    specificity: float | None
    f1: float | None
    auc: float | None


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Figures over all images, from 0 to 1 but for `loss`; `classes` in the model's order.

    `loss` is the cross-entropy in nats; with many labels the mean over images of the sum over
    labels. `accuracy`: the share of images that are right; with many labels the label
    accuracy, the share of single labels that are right (1 - Hamming loss). `top_k`: how often the
    right class is among the best 2, 3, … `balanced_accuracy`: the mean recall of the classes
    that are there. `macro_…` is the mean over the classes for which it is a number, `micro_…`
    counts all together. `calibration_error` is the expected one (`BINS` bins of equal width).
    """

    images: int
    accuracy: float
    loss: float
    calibration_error: float
    top_k: dict[int, float]
    balanced_accuracy: float | None
    macro_precision: float | None
    macro_recall: float | None
    macro_f1: float | None
    macro_auc: float | None
    micro_precision: float | None
    micro_recall: float | None
    micro_f1: float | None
    classes: tuple[ClassMetrics, ...]


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """Images whose probability lies between `low` and `high`: what was said, and what was so."""

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


def measure_metrics(
    probabilities: NDArray[np.float64],
    classes: NDArray[np.int64],
    labels: Sequence[str],
    task: Task,
) -> Metrics:
    """Return the figures of probabilities (N, K), N at least 1.

    `classes` is (N,), with many labels (N, K) of 0 and 1, which are given from a half on.
    """
    truth, given = marks(probabilities, classes, task)
    by_class = tuple(
        class_metrics(label, truth[:, k], given[:, k], probabilities[:, k])
        for k, label in enumerate(labels)
    )
    one = task == "classification"
    positives, false, missed = (
        sum(getattr(c, name) for c in by_class)
        for name in ("true_positives", "false_positives", "false_negatives")
    )
    recalls = [c.recall for c in by_class]
    return Metrics(
        images=len(classes),
        accuracy=float((probabilities.argmax(axis=1) == classes).mean())
        if one
        else float((truth == given).mean()),
        loss=_loss(probabilities, truth, task),
        calibration_error=_calibration_error(probabilities, classes, task),
        top_k=_top_k(probabilities, classes, len(labels)) if one else {},
        balanced_accuracy=_mean(recalls) if one else None,
        macro_precision=_mean([c.precision for c in by_class]),
        macro_recall=_mean(recalls),
        macro_f1=_mean([c.f1 for c in by_class]),
        macro_auc=_mean([c.auc for c in by_class]),
        micro_precision=_ratio(positives, positives + false),
        micro_recall=_ratio(positives, positives + missed),
        micro_f1=_ratio(2 * positives, 2 * positives + false + missed),
        classes=by_class,
    )


def marks(
    probabilities: NDArray[np.float64], classes: NDArray[np.int64], task: Task
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which labels are there and which are given, (N, K) each."""
    if task == "multilabel":
        return classes.astype(bool), probabilities >= MORE_LIKELY_THAN_NOT
    every = np.arange(probabilities.shape[1])
    return classes[:, None] == every, probabilities.argmax(axis=1)[:, None] == every


def class_metrics(
    label: str,
    truth: NDArray[np.bool_],
    given: NDArray[np.bool_],
    probabilities: NDArray[np.float64],
) -> ClassMetrics:
    """Count one class, (N,) each."""
    table = sklearn_metrics.confusion_matrix(truth, given, labels=[False, True])
    (tn, fp), (fn, tp) = table.tolist()
    both = truth.any() and not truth.all()
    return ClassMetrics(
        label=label,
        images=int(truth.sum()),
        true_positives=tp,
        true_negatives=tn,
        false_positives=fp,
        false_negatives=fn,
        precision=_ratio(tp, tp + fp),
        recall=_ratio(tp, tp + fn),
        specificity=_ratio(tn, tn + fp),
        f1=_ratio(2 * tp, 2 * tp + fp + fn) if truth.any() else None,
        auc=float(sklearn_metrics.roc_auc_score(truth, probabilities)) if both else None,
    )


def calibration_curve(
    scores: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[CalibrationBin, ...]:
    """Return the bins that hold images, of scores (N,) that were right or wrong (N,)."""
    edges = np.linspace(0, 1, BINS + 1)
    places = np.clip(np.digitize(scores, edges, right=True) - 1, 0, BINS - 1)
    return tuple(
        CalibrationBin(
            low=float(edges[place]),
            high=float(edges[place + 1]),
            images=int(inside.sum()),
            confidence=float(scores[inside].mean()),
            accuracy=float(right[inside].mean()),
        )
        for place in range(BINS)
        if (inside := places == place).any()
    )


def _loss(probabilities: NDArray[np.float64], truth: NDArray[np.bool_], task: Task) -> float:
    least = np.finfo(np.float64).tiny
    if task == "classification":
        return float(-np.log(np.maximum(probabilities[truth], least)).mean())
    so = np.where(truth, probabilities, 1 - probabilities)
    return float(-np.log(np.maximum(so, least)).sum(axis=1).mean())


def _calibration_error(
    probabilities: NDArray[np.float64], classes: NDArray[np.int64], task: Task
) -> float:
    said, so = torch.from_numpy(probabilities), torch.from_numpy(classes)
    if task == "multilabel":
        return float(binary_calibration_error(said.flatten(), so.flatten(), n_bins=BINS))
    return float(multiclass_calibration_error(said, so, probabilities.shape[1], n_bins=BINS))


def _top_k(
    probabilities: NDArray[np.float64], classes: NDArray[np.int64], labels: int
) -> dict[int, float]:
    every = np.arange(labels)
    # Of two classes there is nothing between the best and all of them.
    return {
        k: float(sklearn_metrics.top_k_accuracy_score(classes, probabilities, k=k, labels=every))
        for k in range(2, min(_TOP, labels - 1) + 1)
    }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _mean(values: Sequence[float | None]) -> float | None:
    numbers: list[Any] = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers else None
