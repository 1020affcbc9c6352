"""Parity of a file with its torch network: accuracy, coverage and agreement on held-out images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leansight.exporters.verification.paired import holm, loss_p_values, mean_drop
from leansight.exporters.verification.report import (
    ClassLoss,
    ExportReport,
    FormatReport,
    LabelledImages,
)
from leansight.runtime.decision import DecisionPolicy, Task, are_sure, probabilities_of
from leansight.runtime.interpreter import Interpreter
from leansight.runtime.preprocessing import Image
from leansight.runtime.stream.reference import describe_answers

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
        right_by_class={
            label: int(torch.right[chosen].sum())
            for label, chosen in _classes(images.classes, labels).items()
        },
        task=task,
        answers=describe_answers(judged[shipped[0]].probabilities, labels, policy, task),
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
    lost = torch.right.astype(np.int64) - result.right
    differences = np.abs(result.probabilities - torch.probabilities)
    return FormatReport(
        name=name,
        size_bytes=size_bytes,
        accuracy=float(result.right.mean()),
        coverage=float(result.sure.mean()),
        agreement=float((result.decisions == torch.decisions).mean()),
        largest_difference=float(differences.max()),
        mean_difference=float(differences.mean()),
        accuracy_drop=mean_drop(lost.reshape(len(lost), -1).mean(axis=1)),
        coverage_drop=mean_drop(torch.sure.astype(float) - result.sure),
        class_losses=_class_losses(lost, _classes(classes, labels)),
    )


def _classes(classes: NDArray[np.int64], labels: tuple[str, ...]) -> Mapping[str, Any]:
    """Return where the images of each class are that has some; of many labels, its column."""
    if classes.ndim == 1:
        return {labels[i]: classes == i for i in np.unique(classes)}
    return {label: (slice(None), i) for i, label in enumerate(labels)}


def _class_losses(lost: NDArray[np.int64], classes: Mapping[str, Any]) -> tuple[ClassLoss, ...]:
    """Test each class; `lost` is 1 where torch alone is right, -1 where the file alone is."""
    by_class = [lost[chosen] for chosen in classes.values()]
    fewer, more = (np.array([(one == sign).sum() for one in by_class]) for sign in (1, -1))
    p_values = loss_p_values(fewer, more)
    corrected = holm(p_values)
    found = [
        ClassLoss(
            label=label,
            images=len(by_class[i]),
            lost=int(fewer[i]),
            gained=int(more[i]),
            p_value=float(p_values[i]),
            p_corrected=float(corrected[i]),
        )
        for i, label in enumerate(classes)
        if fewer[i] > more[i]
    ]
    return tuple(sorted(found, key=lambda loss: (loss.p_value, -loss.drop)))
