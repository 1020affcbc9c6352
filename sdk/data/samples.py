"""Labelled images: what a sample is, their pixels in memory, and lists of them on disk."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.decision import Task
from leansight.runtime.errors import DataError

T = TypeVar("T")
Box = tuple[int, int, int, int]
Part = Literal["", "train", "validation", "test"]
MIN_CLASSES: Final = 2  # that a classifier tells apart


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image: `path` is relative to the data's root, `country` "" without countries.

    `labels`: one for classification, any number for many labels. Images with the same `video`,
    unique over the data set, belong together; "" is no video's. `box` is the region of the image
    that is meant: x1, y1, x2, y2 in pixels, x2 and y2 exclusive. `part` is the split that the
    data set itself gives, "" if it gives none; it is no part of what a sample is compared by.
    """

    path: Path
    labels: tuple[str, ...]
    country: str = ""
    video: str = ""
    box: Box | None = None
    part: Part = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.box is not None:
            x1, y1, x2, y2 = self.box
            if not (0 <= x1 < x2 and 0 <= y1 < y2):
                raise ValueError(f"a box is x1 y1 x2 y2 with x1 < x2 and y1 < y2, not {self.box}")

    @property
    def label(self) -> str:
        """The one label; "" unless there is exactly one."""
        return self.labels[0] if len(self.labels) == 1 else ""

    @property
    def group(self) -> str:
        """What it is drawn with: its video, or the path of an image that is no video's."""
        return self.video or str(self.path)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Samples to learn from, to choose by, and to look at once at the end."""

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    test: tuple[Sample, ...] = ()


def classes_of(samples: Sequence[Sample], labels: Sequence[str], task: Task) -> NDArray[np.int64]:
    """Return what samples show as positions in the labels: (N,) int64; many labels (N, K).

    Raises:
        DataError: a label that is not among them, or other than one label for classification.

    """
    # A model of an older version, or from elsewhere, may have its labels in another Unicode form.
    position = {unicodedata.normalize("NFC", label): i for i, label in enumerate(labels)}
    marks = np.zeros((len(samples), len(labels)), np.int64)
    for row, sample in enumerate(samples):
        if task == "classification" and len(sample.labels) != 1:
            raise DataError(
                f"{sample.path} has {len(sample.labels)} labels: one is needed to tell classes "
                "apart (or learn many labels: set task=multilabel)",
                parameter="overrides",
            )
        for label in sample.labels:
            if label not in position:
                known = ", ".join(labels)
                raise DataError(f"{sample.path} has the label {label}, which is not of: {known}")
            marks[row, position[label]] = 1
    if task == "multilabel":
        return marks
    shown: NDArray[np.int64] = marks.argmax(axis=1) if len(samples) else np.zeros(0, np.int64)
    return shown


def draw(samples: Sequence[T], count: int) -> list[T]:
    """Draw `count` samples, the same ones every time."""
    chosen = np.random.default_rng(0).permutation(len(samples))[:count]
    return [samples[i] for i in sorted(chosen)]
