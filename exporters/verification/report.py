"""Export report: each format beside the float network, on labelled images."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.decision import Task
from leansight.runtime.preprocessing import Image


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
class Verification:
    """What every format said of the same images, and what that comes to.

    `logits` (N, K) float32 by format, torch's first; `classes` as in `LabelledImages`.
    """

    report: ExportReport
    logits: Mapping[str, NDArray[np.float32]]
    classes: NDArray[np.int64]
