"""Accuracy beside what a network would reach without looking: chance, the commonest class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from leansight.runtime.decision import Task

LEVEL: Final = 0.95
# An answer for nearly everything is a fault, unless most of the images show just that.
NEARLY_ALL: Final = 0.95
MOST: Final = 0.8
_NOTHING: Final = "the network seems to have learnt nothing"
_UNKNOWN: Final = "whether the network has learnt anything cannot be told"


@dataclass(frozen=True, kw_only=True)
class Skill:
    """How much better a network is than one that does not look; every share from 0 to 1.

    `accuracy` (with many labels the label accuracy) has the interval from `low` to `high`
    (Wilson 1927, at `LEVEL`; with many labels for the number of independent labels that Kish's
    design effect leaves). Without looking, right are: `chance`, with answers drawn evenly;
    `commonest`, with the commonest class for every image, or the commoner answer for each label;
    `shuffled`, with the network's own answers given to other images at random.

    `answer` is what the network says most often, of a share `answered` of the images; a share
    `shown` of them shows just that. `classes` is the number of different truths in the images.
    """

    task: Task
    images: int
    classes: int
    accuracy: float
    low: float
    high: float
    chance: float
    commonest: float
    shuffled: float
    answer: str
    answered: float
    shown: float

    @property
    def guessed(self) -> float:
        """Return the accuracy of guesses: drawn evenly, or as often as the network's answers."""
        return max(self.chance, self.shuffled)

    @property
    def doubt(self) -> str:
        """Return why the network may have learnt nothing, "" where it has learnt something."""
        if self.classes == 1:
            return f"{_UNKNOWN}: the images show one class only"
        if self.answered >= NEARLY_ALL and self.shown < MOST:
            return (
                f"{_NOTHING}: it says {self.answer} of {self.answered:.1%} of the images, and "
                f"{self.shown:.1%} show that"
            )
        if self.low > self.guessed:
            return ""
        if self.accuracy > self.guessed:
            return (
                f"{_UNKNOWN}: {self.images} images are too few, guessing gives {self.guessed:.1%}"
            )
        return f"{_NOTHING}: guessing gives {self.guessed:.1%}"

    def __str__(self) -> str:
        """Return one line of accuracy, interval, chance and the commonest class."""
        what, most = ("accuracy", "always the commonest class")
        if self.task == "multilabel":
            what, most = ("label accuracy", "always the commoner answer")
        return (
            f"{what} {self.accuracy:.1%} ({self.low:.1%} to {self.high:.1%}, {self.images} "
            f"images); chance {self.chance:.1%}, {most} {self.commonest:.1%}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return vars(self) | {"doubt": self.doubt}


def measure_skill(
    logits: NDArray[np.float32], classes: NDArray[np.int64], labels: Sequence[str], task: Task
) -> Skill:
    """Return the skill that logits (N, K) show on images of `classes`, whatever the threshold.

    `classes` is (N,), with many labels (N, K) of 0 and 1, which are given from a half on.

    Raises:
        ValueError: there is no image.

    """
    if not len(classes):
        raise ValueError("skill is measured on one image or more")
    one = task == "classification"
    truth, given = marks(logits, classes, task)
    right = (truth == given).all(axis=1, keepdims=True) if one else truth == given
    low, high = _interval(right)
    there, said = truth.mean(axis=0), given.mean(axis=0)
    by_label = there * said + (1 - there) * (1 - said)
    answers, counts = np.unique(given, axis=0, return_counts=True)
    answer = answers[counts.argmax()]
    return Skill(
        task=task,
        images=len(truth),
        classes=len(np.unique(truth, axis=0)),
        accuracy=float(right.mean()),
        low=low,
        high=high,
        chance=1 / len(labels) if one else 0.5,
        commonest=float(there.max() if one else np.maximum(there, 1 - there).mean()),
        shuffled=float(there @ said if one else by_label.mean()),
        answer=" and ".join(np.array(labels)[answer]) or "no label",
        answered=float(counts.max() / len(truth)),
        shown=float((truth == answer).all(axis=1).mean()),
    )


def marks(
    logits: NDArray[np.float32], classes: NDArray[np.int64], task: Task
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which labels are there and which are given, (N, K) each."""
    if task == "multilabel":
        return classes.astype(bool), logits >= 0
    every = np.arange(logits.shape[1])
    return classes[:, None] == every, logits.argmax(axis=1)[:, None] == every


def _interval(right: NDArray[np.bool_]) -> tuple[float, float]:
    """Return Wilson's interval of the mean of what is right, (N, labels), images drawn whole."""
    shares, mean = right.mean(axis=1), right.mean()
    spread = shares.var() / len(shares)
    independent = mean * (1 - mean) / spread if spread else right.size
    count = round(float(np.clip(independent, len(shares), right.size)))
    found = binomtest(round(float(mean) * count), count).proportion_ci(LEVEL, "wilson")
    return float(found.low), float(found.high)
