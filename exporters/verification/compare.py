"""Parity of a file with its torch network: accuracy, coverage and agreement on held-out images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leansight.exporters.verification.report import ExportReport, FormatReport, LabelledImages
from leansight.runtime.decision import DecisionPolicy, Task, are_sure, probabilities_of
from leansight.runtime.interpreter import Interpreter
from leansight.runtime.preprocessing import Image

MORE_LIKELY_THAN_NOT = 0.5
REJECTED = -1  # the decision "not sure", beside the indices of classes


def run_all(
    interpreter: Interpreter, pixels: Image, progress: Callable[[int, int], None]
) -> NDArray[np.float32]:
    """Return the logits (N, K) float32 of images (N, S, S, C) uint8."""
    logits = []
    for done, image in enumerate(pixels, start=1):
        logits.append(interpreter(image[None]))
        progress(done, len(pixels))
    return np.stack(logits)


def compare(
    logits: Mapping[str, NDArray[np.float32]],
    sizes: Mapping[str, int],
    images: LabelledImages,
    *,
    labels: tuple[str, ...],
    policy: DecisionPolicy,
    shipped: tuple[str, ...],
    task: Task = "classification",
) -> ExportReport:
    """Compare formats by their logits (N, K); the first is torch's, which the others follow.

    Raises:
        ValueError: there is no image, or the classes are not those of the task.

    """
    if not len(images.classes):
        raise ValueError("verification needs at least one image")
    shape = (len(images.classes), *((len(labels),) if task == "multilabel" else ()))
    if images.classes.shape != shape:
        raise ValueError(f"classes for {task} have shape {shape}, not {images.classes.shape}")
    judged = {
        name: judge(values, images.classes, policy, labels, task) for name, values in logits.items()
    }
    torch = next(iter(judged.values()))
    reports = [
        _compare_one(name, result, torch, sizes.get(name, 0), images.classes, labels)
        for name, result in judged.items()
    ]
    decisions = [judged[name].decisions for name in shipped]
    equal = np.all([chosen == decisions[0] for chosen in decisions], axis=0)
    numbers = [logits[name] for name in shipped]
    same = np.all([found == numbers[0] for found in numbers], axis=(0, 2))
    return ExportReport(
        images=len(images.classes),
        formats=tuple(reports),
        shipped=shipped,
        agreement=float(equal.mean()),
        identical=float(same.mean()),
        task=task,
    )


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What one file said: `right` and `decisions` (N,), with many labels (N, K); `sure` (N,).

    `probabilities` are (N, K); a decision is the position of a label, or `REJECTED`; with many
    labels 1 or 0 for each.
    """

    probabilities: NDArray[np.float64]
    right: NDArray[np.bool_]
    decisions: NDArray[np.int64]
    sure: NDArray[np.bool_]


def judge(
    logits: NDArray[np.float32],
    classes: NDArray[np.int64],
    policy: DecisionPolicy,
    labels: tuple[str, ...],
    task: Task,
) -> Decisions:
    """Decide as `leansight.runtime.decision.decide` does, for all images (N, K) at once."""
    probabilities = probabilities_of(logits, task, policy.temperature)
    thresholds = policy.thresholds_of(labels)
    sure = are_sure(probabilities, task, thresholds)
    if task == "classification":
        best = logits.argmax(axis=1)
        right, decisions = best == classes, np.where(sure, best, REJECTED)
    else:
        right = (probabilities >= MORE_LIKELY_THAN_NOT) == classes
        decisions = (probabilities >= thresholds).astype(np.int64)
    return Decisions(probabilities=probabilities, right=right, decisions=decisions, sure=sure)


def _compare_one(
    name: str,
    result: Decisions,
    torch: Decisions,
    size_bytes: int,
    classes: NDArray[np.int64],
    labels: tuple[str, ...],
) -> FormatReport:
    lost = torch.right.astype(int) - result.right
    if classes.ndim == 1:
        by_class = {i: lost[classes == i] for i in np.unique(classes)}
    else:
        by_class = dict(enumerate(lost.T))
    # Of small classes one image is many points: those that lost more come first.
    worst = max(by_class, key=lambda i: (by_class[i].sum() > 1, by_class[i].mean()))
    differences = np.abs(result.probabilities - torch.probabilities)
    return FormatReport(
        name=name,
        size_bytes=size_bytes,
        accuracy=float(result.right.mean()),
        coverage=float(result.sure.mean()),
        agreement=float((result.decisions == torch.decisions).mean()),
        largest_difference=float(differences.max()),
        mean_difference=float(differences.mean()),
        worst_class=labels[worst],
        worst_class_drop=float(by_class[worst].mean()),
        worst_class_lost=int(by_class[worst].sum()),
    )
