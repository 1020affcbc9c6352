"""From a network's logits to a label, or to an honest "not sure"."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leansight.runtime.errors import BundleError

MAX_TEMPERATURE: Final = 1e6  # and one millionth: beyond, logits are no numbers any more
NEVER: Final = 2.0  # the threshold of a label that is never given
_FEW: Final = 8  # so many largest values are found sooner one by one than by sorting
Status = Literal["sure", "not sure", "invalid output"]
Task = Literal["classification", "multilabel"]  # one of K labels, or any number of them


@dataclass(frozen=True, kw_only=True)
class DecisionPolicy:
    """When a prediction is given.

    Logits are divided by `temperature` (> 0; Guo et al., "On Calibration of Modern Neural
    Networks", 2017). With one label an image, the best class is given if its probability is at
    least `threshold` (0 to 1; 0 always gives it).

    With many labels an image, each label whose probability is at least `threshold` is given,
    and the prediction is sure unless some label is undecided: less probable than `threshold`
    to be there, and less probable than that not to be there, which is strictly between
    1 - threshold and threshold. Up to 0.5 nothing is ever undecided; below 0.5 labels are given
    that are more likely wrong than right, and 0 gives them all.

    `label_thresholds` are of single labels, instead of `threshold`; `NEVER` (2) gives one never.
    """

    threshold: float = 0.0
    temperature: float = 1.0
    label_thresholds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = (self.threshold, self.temperature, *self.label_thresholds.values())
        if any(isinstance(number, bool) for number in numbers):
            raise ValueError(
                "decision: thresholds and the temperature are numbers, not true or false"
            )
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"decision.threshold must be from 0 to 1, not {self.threshold}")
        for label, threshold in self.label_thresholds.items():
            if not 0 <= threshold <= 1 and threshold != NEVER:
                raise ValueError(
                    f"decision.label_thresholds.{label} must be from 0 to 1, or {NEVER:g} for "
                    f"never, not {threshold}"
                )
        if not 1 / MAX_TEMPERATURE <= self.temperature <= MAX_TEMPERATURE:
            raise ValueError(
                f"decision.temperature must be from {1 / MAX_TEMPERATURE:g} to "
                f"{MAX_TEMPERATURE:g}, not {self.temperature}"
            )

    def thresholds_of(self, labels: Sequence[str]) -> NDArray[np.float64]:
        """Return each label's threshold, (K,); ValueError if one has its own and is not there."""
        if unknown := sorted(set(self.label_thresholds) - set(labels)):
            raise ValueError(f"decision.label_thresholds names {unknown[0]!r}, which is no label")
        return np.array([self.label_thresholds.get(label, self.threshold) for label in labels])

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads, as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DecisionPolicy":
        """Build from `to_dict`'s form; ValueError or TypeError if it does not fit."""
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the classifier says of one image.

    `labels` are those given, most probable first: one or none with task "classification", any
    number with "multilabel". `label` is the first of them, or None: a normal answer. `status`
    is "not sure" when the policy rejects the image, or leaves one of many labels undecided.
    `score` is the probability (0 to 1) of the best class whether it was given or not; `top`
    holds (label, probability) of the best classes, best first.
    """

    label: str | None
    labels: tuple[str, ...]
    score: float
    status: Status
    top: tuple[tuple[str, float], ...]
    task: Task = "classification"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values: label (or None), score, status, top; with many, labels."""
        values = {
            "label": self.label,
            "score": round(self.score, 6),
            "status": self.status,
            "top": [[label, round(score, 6)] for label, score in self.top],
        }
        return values | ({"labels": list(self.labels)} if self.task == "multilabel" else {})


def softmax(logits: NDArray[np.floating[Any]], temperature: float = 1.0) -> NDArray[np.float64]:
    """Return the probabilities along the last axis, float64, same shape."""
    scaled = np.asarray(logits, np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float64] = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities


def sigmoid(logits: NDArray[np.floating[Any]], temperature: float = 1.0) -> NDArray[np.float64]:
    """Return each label's own probability, float64, same shape."""
    scaled = np.asarray(logits, np.float64) / temperature
    exponentials: NDArray[np.float64] = np.exp(-np.abs(scaled))  # never above 1
    return np.where(scaled >= 0, 1.0, exponentials) / (1 + exponentials)


def probabilities_of(
    logits: NDArray[np.floating[Any]], task: Task, temperature: float = 1.0
) -> NDArray[np.float64]:
    """Return the probabilities (..., K) of logits (..., K): of the one label, or of each."""
    return (softmax if task == "classification" else sigmoid)(logits, temperature)


def are_sure(
    probabilities: NDArray[np.float64], task: Task, thresholds: ArrayLike
) -> NDArray[np.bool_]:
    """Return for probabilities (..., K) and thresholds (K,) or one which images (...) are sure."""
    limits = np.asarray(thresholds)
    if task == "classification":
        best = probabilities.argmax(axis=-1)
        each = np.broadcast_to(limits, probabilities.shape[-1:])
        sure: NDArray[np.bool_] = probabilities.max(axis=-1) >= each[best]
        return sure
    undecided = (1 - limits < probabilities) & (probabilities < limits) & (limits < NEVER)
    return np.logical_not(undecided.any(axis=-1))


class DecisionRule:
    """A policy for one network's labels: what is the same for every image is made once."""

    def __init__(
        self, labels: Sequence[str], policy: DecisionPolicy, task: Task = "classification"
    ) -> None:
        """Raise ValueError if the policy has a threshold of a label that is not there."""
        self._labels = tuple(labels)
        self._task: Task = task
        self._temperature = policy.temperature
        self._thresholds = policy.thresholds_of(labels)

    def probabilities(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the probabilities (K,) of one image's logits (K,), in the order of the labels.

        Raises:
            ValueError: the logits are not one number per label.
            BundleError: they are not finite.

        """
        probabilities = self._probabilities(logits)
        if probabilities is None:
            raise BundleError(
                "the network returned a value that is not a finite number: `leansight check` tells "
                "whether the bundle is as it was made"
            )
        return probabilities

    def _probabilities(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.float64] | None:
        """Return the probabilities, None if a logit is not a finite number."""
        if logits.shape != self._thresholds.shape:
            raise ValueError(
                f"expected {len(self._labels)} logits, one per label, not {logits.shape}"
            )
        values = logits.astype(np.float64)
        values /= self._temperature
        # Of a NaN both give the place; numpy's own max, min and isfinite take longer.
        largest, smallest = values[values.argmax()], values[values.argmin()]
        if not (isfinite(largest) and isfinite(smallest)):
            return None
        if self._task == "multilabel":
            return sigmoid(values)
        values -= largest  # in place: a softmax of 1000 labels stays in the processor's first cache
        np.exp(values, out=values)
        values /= values.sum()
        return values

    def __call__(self, logits: NDArray[np.floating[Any]], *, top: int = 3) -> Prediction:
        """Decide upon the logits (K,) of one image; `top` classes are named with probabilities.

        Raises:
            ValueError: the logits are not one number per label, or `top` is negative.

        """
        if top < 0:
            raise ValueError(f"top must be 0 or more, not {top}")
        probabilities = self._probabilities(logits)
        if probabilities is None:
            return Prediction(
                label=None, labels=(), score=0.0, status="invalid output", top=(), task=self._task
            )
        best_first = _best_first(probabilities, max(top, 1))
        given, sure = self._given(probabilities, *best_first[0])
        labels = tuple(self._labels[i] for i in given)
        return Prediction(
            label=labels[0] if labels else None,
            labels=labels,
            score=best_first[0][1],
            status="sure" if sure else "not sure",
            top=tuple((self._labels[i], probability) for i, probability in best_first[:top]),
            task=self._task,
        )

    def _given(
        self, probabilities: NDArray[np.float64], best: int, probability: float
    ) -> tuple[list[int], bool]:
        """Return the numbers of the labels given, most probable first, and if that is sure."""
        if self._task == "classification":
            given = [best] if probability >= self._thresholds[best] else []
            return given, bool(given)
        (reached,) = (probabilities >= self._thresholds).nonzero()
        order = (-probabilities[reached]).argsort(kind="stable")
        sure = bool(are_sure(probabilities, self._task, self._thresholds))
        return reached[order].tolist(), sure


def decide(
    logits: NDArray[np.floating[Any]],
    labels: Sequence[str],
    policy: DecisionPolicy,
    *,
    task: Task = "classification",
    top: int = 3,
) -> Prediction:
    """Apply the policy to the logits (K,) of one image; for many images, make a `DecisionRule`.

    Raises:
        ValueError: the logits are not one number per label, `top` is negative, or the policy has a
            threshold of a label that is not there.

    """
    return DecisionRule(labels, policy, task)(logits, top=top)


def _best_first(probabilities: NDArray[np.float64], count: int) -> list[tuple[int, float]]:
    """Return number and probability of the best classes; of equal ones the first comes first."""
    if count > _FEW:
        order = np.argsort(-probabilities, kind="stable")[:count]
        return list(zip(order.tolist(), probabilities[order].tolist(), strict=True))
    rest, best_first = probabilities.copy(), []
    for _ in range(min(count, len(rest))):
        best = int(rest.argmax())  # of equal ones the first
        best_first.append((best, float(rest[best])))
        rest[best] = -1
    return best_first
