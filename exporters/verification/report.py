"""Export report: each format beside the float network, on labelled images."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from leansight.exporters.options import Promise
from leansight.exporters.verification.score_calibration import ScoreCalibration
from leansight.runtime.decision import DecisionPolicy, Task
from leansight.runtime.preprocessing import Image

CONFIDENCE: Final = 0.95  # of a `Drop`'s interval


class LabelledImages(Protocol):
    """Preprocessed images with their classes."""

    @property
    def pixels(self) -> Image:
        """(N, S, S, C) uint8."""

    @property
    def classes(self) -> NDArray[np.int64]:
        """(N,) int64, positions in the labels; with many labels an image (N, K) of 0 and 1."""


@dataclass(frozen=True, kw_only=True)
class Drop:
    """A share that was lost against torch, from -1 (all gained) to 1, and its interval.

    `low` and `high` are its ends at `CONFIDENCE`, from the same images in both.
    """

    share: float
    low: float
    high: float

    def __str__(self) -> str:
        """Write it in points: "1.10 (0.42 to 1.78)"."""
        return f"{100 * self.share:.2f} ({100 * self.low:.2f} to {100 * self.high:.2f})"

    def to_dict(self) -> dict[str, float]:
        """Return plain JSON values, rounded to 1e-6."""
        return {name: round(value, 6) for name, value in vars(self).items()}


@dataclass(frozen=True, kw_only=True)
class ClassLoss:
    """What a file lost of one class, against torch on the same images.

    `images` of the class, with many labels an image all of them; `lost` are right in torch only,
    `gained` in the file only. `p_value` is that of McNemar's exact test, one-sided;
    `p_corrected` the same after Holm's correction for all classes.
    """

    label: str
    images: int
    lost: int
    gained: int
    p_value: float
    p_corrected: float

    @property
    def drop(self) -> float:
        """The accuracy of the class that was lost, above 0 to 1."""
        return (self.lost - self.gained) / self.images

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; p-values with three digits."""
        p_values = {k: float(f"{getattr(self, k):.3g}") for k in ("p_value", "p_corrected")}
        return {**vars(self), **p_values, "drop": round(self.drop, 6)}


@dataclass(frozen=True, kw_only=True)
class FormatReport:
    """How one file does on the verification images; every figure but the size from 0 to 1.

    `accuracy` is the share of images whose best class is right; `coverage` the share that is
    not rejected; `agreement` the share of decisions (label or rejection) equal to torch's;
    `largest_difference` of a probability from torch's, and the mean of all; `accuracy_drop` and
    `coverage_drop` what was lost against torch. `class_losses` are the classes that lost more
    images than they gained, first those of which that is surest.

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
    accuracy_drop: Drop
    coverage_drop: Drop
    class_losses: tuple[ClassLoss, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, rounded to 1e-6."""
        plain = {k: round(v, 6) if isinstance(v, float) else v for k, v in vars(self).items()}
        return {
            **plain,
            "accuracy_drop": self.accuracy_drop.to_dict(),
            "coverage_drop": self.coverage_drop.to_dict(),
            "class_losses": [loss.to_dict() for loss in self.class_losses],
        }


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What was verified: `formats` starts with torch; `agreement` is between the two shipped.

    `identical` is the share of images on which these give the same logits, bit for bit.

    `effort` made the int8 files that keep the `promise`; `refusals` says why less did not, and
    `warnings` what the images cannot tell. `right_by_class` counts the images that torch has
    right, of each class that has images: those are the classes that are tested. `float_layers`
    names the layers of int8 files that compute in float. `answers` describes what the first shipped
    file says (`leansight.runtime.stream.reference`); `scores` say what its probabilities are worth,
    of the validation images.
    """

    images: int
    formats: tuple[FormatReport, ...]
    shipped: tuple[str, ...]
    agreement: float
    identical: float
    right_by_class: Mapping[str, int]
    task: Task = "classification"
    promise: Promise = field(default_factory=Promise)
    effort: str = ""
    float_layers: tuple[str, ...] = ()
    refusals: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    answers: Mapping[str, Any] = field(default_factory=dict)
    scores: ScoreCalibration | None = None

    @property
    def tested(self) -> str:
        """What each file is held to, and how, in a sentence."""
        promise, classes = self.promise, len(self.right_by_class)
        return (
            f"Each file may lose {promise.max_drop:g} points of accuracy and of coverage as they "
            f"are measured, and {promise.max_class_drop:g} points of the accuracy of a class where "
            "McNemar's exact one-sided test on the images lost and gained shows that it is worse "
            f"(p at most {promise.significance:g} after Holm's correction for the number of "
            f"classes, {classes})."
        )

    @property
    def decided(self) -> str:
        """What is decided on, in the plural: images, or each label of each image."""
        return "images" if self.task == "classification" else "labels of all images"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "images": self.images,
            "agreement": round(self.agreement, 6),
            "identical": round(self.identical, 6),
            "effort": self.effort,
            "float_layers": list(self.float_layers),
            "promise": vars(self.promise),
            "refusals": dict(self.refusals),
            "warnings": list(self.warnings),
            "right_by_class": dict(self.right_by_class),
            "formats": [report.to_dict() for report in self.formats],
            "scores": self.scores and self.scores.to_dict(),
        }


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What every format said of the same images, and what that comes to.

    `decision` turned `logits` (N, K) float32, by format and torch's first, into decisions;
    `classes` as in `LabelledImages`.
    """

    report: ExportReport
    decision: DecisionPolicy
    logits: Mapping[str, NDArray[np.float32]]
    classes: NDArray[np.int64]
