"""Whether what was made decides as the trained network does, on images it has not seen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.decision import DecisionPolicy, softmax
from leansight.runtime.errors import LeansightError
from leansight.runtime.interpreter import Interpreter
from leansight.runtime.preprocessing import Image

MIN_AGREEMENT = 0.995  # of decisions that must be equal in the two formats
REJECTED = -1  # the decision "not sure", beside the indices of classes


class ExportRefusedError(LeansightError):
    """The exported network decides too differently from the trained one; nothing was written."""


class LabelledImages(Protocol):
    """Preprocessed images with their classes."""

    @property
    def pixels(self) -> Image:
        """(N, S, S, C) uint8."""

    @property
    def classes(self) -> NDArray[np.int64]:
        """(N,) int64, positions in the labels."""


@dataclass(frozen=True, kw_only=True)
class FormatReport:
    """How one file does on the verification images; every figure but the size from 0 to 1.

    `coverage` is the share that is not rejected; `agreement` the share of decisions (label or
    rejection) equal to torch's; `largest_difference` of a probability from torch's;
    `worst_class` the class that lost most accuracy against torch, and how much.
    """

    name: str
    size_bytes: int
    accuracy: float
    coverage: float
    agreement: float
    largest_difference: float
    worst_class: str
    worst_class_drop: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, rounded to 1e-6."""
        return {k: round(v, 6) if isinstance(v, float) else v for k, v in vars(self).items()}


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What was verified: `formats` starts with torch; `agreement` is between the two shipped."""

    images: int
    formats: tuple[FormatReport, ...]
    shipped: tuple[str, ...]
    agreement: float

    def require(self, *, max_drop: float) -> None:
        """Raise ExportRefusedError unless every shipped format keeps the promise.

        `max_drop` is the accuracy that may be lost against torch, in points (hundredths).
        """
        by_name = {report.name: report for report in self.formats}
        torch = by_name["torch float32"]
        for name in self.shipped:
            drop = 100 * (torch.accuracy - by_name[name].accuracy)
            if drop > max_drop + 1e-9:
                raise ExportRefusedError(
                    f"{name} lost {drop:.2f} points of accuracy ({torch.accuracy:.2%} to "
                    f"{by_name[name].accuracy:.2%}), more than --max-drop {max_drop:g}. "
                    "Nothing was written"
                )
        if self.agreement < MIN_AGREEMENT:
            raise ExportRefusedError(
                f"{' and '.join(self.shipped)} decide differently on "
                f"{1 - self.agreement:.2%} of the images, more than {1 - MIN_AGREEMENT:.1%}. "
                "Nothing was written"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "images": self.images,
            "agreement": round(self.agreement, 6),
            "formats": [report.to_dict() for report in self.formats],
        }


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
) -> ExportReport:
    """Compare formats by their logits (N, K); the first is torch's, which the others follow.

    Raises:
        ValueError: there is no image.

    """
    if not len(images.classes):
        raise ValueError("verification needs at least one image")
    reference = next(iter(logits.values()))
    reports = [
        _compare_one(name, values, reference, sizes.get(name, 0), images.classes, labels, policy)
        for name, values in logits.items()
    ]
    decisions = [_decisions(logits[name], policy) for name in shipped]
    equal = np.all([chosen == decisions[0] for chosen in decisions], axis=0)
    return ExportReport(
        images=len(images.classes),
        formats=tuple(reports),
        shipped=shipped,
        agreement=float(equal.mean()),
    )


def _compare_one(
    name: str,
    logits: NDArray[np.float32],
    reference: NDArray[np.float32],
    size_bytes: int,
    classes: NDArray[np.int64],
    labels: tuple[str, ...],
    policy: DecisionPolicy,
) -> FormatReport:
    right = logits.argmax(axis=1) == classes
    lost = (reference.argmax(axis=1) == classes).astype(float) - right
    drops = {i: float(lost[classes == i].mean()) for i in np.unique(classes)}
    worst = max(drops, key=drops.__getitem__)
    decisions = _decisions(logits, policy)
    difference = np.abs(_probabilities(logits, policy) - _probabilities(reference, policy)).max()
    return FormatReport(
        name=name,
        size_bytes=size_bytes,
        accuracy=float(right.mean()),
        coverage=float((decisions != REJECTED).mean()),
        agreement=float((decisions == _decisions(reference, policy)).mean()),
        largest_difference=float(difference),
        worst_class=labels[worst],
        worst_class_drop=drops[worst],
    )


def _probabilities(logits: NDArray[np.float32], policy: DecisionPolicy) -> NDArray[np.float64]:
    return softmax(logits, policy.temperature)


def _decisions(logits: NDArray[np.float32], policy: DecisionPolicy) -> NDArray[np.int64]:
    """Return each image's class, or REJECTED, as `leansight.runtime.decision.decide` says it."""
    scores = _probabilities(logits, policy).max(axis=1)
    return np.where(scores >= policy.threshold, logits.argmax(axis=1), REJECTED)
