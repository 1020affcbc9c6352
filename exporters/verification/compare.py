"""Whether what was made decides as the trained network does, on images it has not seen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.decision import DecisionPolicy, Task, are_sure, probabilities_of
from leansight.runtime.errors import LeansightError
from leansight.runtime.interpreter import Interpreter
from leansight.runtime.preprocessing import Image

# What is tried, in this order, until the int8 files keep their promise.
Effort = Literal["calibration", "ranges", "training", "float layers"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)
Target = Literal["pi4", "pi5", "x86"]  # where they are to run fastest

MIN_AGREEMENT = 0.995  # of decisions that must be equal in the two formats
MORE_LIKELY_THAN_NOT = 0.5
REJECTED = -1  # the decision "not sure", beside the indices of classes


class ExportRefusedError(LeansightError):
    """The exported network decides too differently from the trained one; nothing was written."""


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What a file may lose against torch, in points (hundredths).

    `max_drop` of accuracy and of coverage; `max_class_drop` of a single class's accuracy, where
    one image may always be lost.
    """

    max_drop: float = 1.0
    max_class_drop: float = 5.0


class LabelledImages(Protocol):
    """Preprocessed images with their classes."""

    @property
    def pixels(self) -> Image:
        """(N, S, S, C) uint8."""

    @property
    def classes(self) -> NDArray[np.int64]:
        """(N,) int64, positions in the labels; with many labels an image (N, K) of 0 and 1."""


@dataclass(frozen=True, kw_only=True)
class FormatReport:
    """How one file does on the verification images; every figure but the size from 0 to 1.

    `accuracy` is the share of images whose best class is right; `coverage` the share that is
    not rejected; `agreement` the share of decisions (label or rejection) equal to torch's;
    `largest_difference` of a probability from torch's, and the mean of all; `worst_class` the
    class that lost most accuracy against torch, how much, and how many images.

    With many labels an image every label of every image is a decision: `accuracy` is the share
    that is right (given where it is more probable than not), `agreement` the share given at the
    policy's threshold as torch gives it; `coverage` the share of images with none undecided.
    """

    name: str
    size_bytes: int
    accuracy: float
    coverage: float
    agreement: float
    largest_difference: float
    mean_difference: float
    worst_class: str
    worst_class_drop: float
    worst_class_lost: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, rounded to 1e-6."""
        return {k: round(v, 6) if isinstance(v, float) else v for k, v in vars(self).items()}


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What was verified: `formats` starts with torch; `agreement` is between the two shipped.

    `identical` is the share of images on which these give the same logits, bit for bit.

    `effort` made the int8 files that keep the promise; `refusals` says why less did not.
    """

    images: int
    formats: tuple[FormatReport, ...]
    shipped: tuple[str, ...]
    agreement: float
    identical: float
    task: Task = "classification"
    effort: str = ""
    refusals: Mapping[str, str] = field(default_factory=dict)

    @property
    def decided(self) -> str:
        """What is decided on, in the plural: images, or each label of each image."""
        return "images" if self.task == "classification" else "labels of all images"

    def refusal(self, promise: Promise) -> str | None:
        """Return why a shipped format does not keep the promise, or None if all do."""
        by_name = {report.name: report for report in self.formats}
        torch = by_name["torch float32"]
        for name in self.shipped:
            found = by_name[name]
            for what in ("accuracy", "coverage"):
                before, after = getattr(torch, what), getattr(found, what)
                if (drop := 100 * (before - after)) > promise.max_drop + 1e-9:
                    return (
                        f"{name} lost {drop:.2f} points of {what} ({before:.2%} to {after:.2%}), "
                        f"more than --max-drop {promise.max_drop:g}"
                    )
            drop = 100 * found.worst_class_drop
            if drop > promise.max_class_drop + 1e-9 and found.worst_class_lost > 1:
                return (
                    f"{name} lost {drop:.2f} points of the accuracy of {found.worst_class}, "
                    f"more than --max-class-drop {promise.max_class_drop:g}"
                )
        if self.agreement < MIN_AGREEMENT:
            return (
                f"{' and '.join(self.shipped)} decide differently on "
                f"{1 - self.agreement:.2%} of the {self.decided}, more than "
                f"{1 - MIN_AGREEMENT:.1%}"
            )
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "images": self.images,
            "agreement": round(self.agreement, 6),
            "identical": round(self.identical, 6),
            "effort": self.effort,
            "refusals": dict(self.refusals),
            "formats": [report.to_dict() for report in self.formats],
        }


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What every format said of the same images, and what that comes to.

    `logits` (N, K) float32 by format, torch's first; `classes` as in `LabelledImages`.
    """

    report: ExportReport
    logits: Mapping[str, NDArray[np.float32]]
    classes: NDArray[np.int64]


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
class Judged:
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
) -> Judged:
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
    return Judged(probabilities=probabilities, right=right, decisions=decisions, sure=sure)


def _compare_one(
    name: str,
    result: Judged,
    torch: Judged,
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
