"""From a network's logits to a label, or to an honest "not sure"."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Status = Literal["sure", "not sure"]


@dataclass(frozen=True, kw_only=True)
class DecisionPolicy:
    """When a prediction is given.

    Logits are divided by `temperature` (> 0; Guo et al., "On Calibration of Modern Neural
    Networks", 2017); the best class is given as the label if its probability is at least
    `threshold` (0 to 1; 0 always gives it).
    """

    threshold: float = 0.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"decision.threshold must be from 0 to 1, not {self.threshold}")
        if not (self.temperature > 0 and np.isfinite(self.temperature)):
            raise ValueError(f"decision.temperature must be above 0, not {self.temperature}")

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

    `label` is None when the policy rejects the image: a normal answer, with `status`
    "not sure". `score` is the probability (0 to 1) of the best class whether it was accepted
    or not; `top` holds (label, probability) of the best classes, best first.
    """

    label: str | None
    score: float
    status: Status
    top: tuple[tuple[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values: label (or None), score, status, top."""
        return {
            "label": self.label,
            "score": round(self.score, 6),
            "status": self.status,
            "top": [[label, round(score, 6)] for label, score in self.top],
        }


def softmax(logits: NDArray[np.floating[Any]], temperature: float = 1.0) -> NDArray[np.float64]:
    """Return the probabilities along the last axis, float64, same shape."""
    scaled = np.asarray(logits, np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]


def decide(
    logits: NDArray[np.floating[Any]],
    labels: Sequence[str],
    policy: DecisionPolicy,
    *,
    top: int = 3,
) -> Prediction:
    """Apply the policy to the logits (K,) of one image.

    Raises:
        ValueError: the logits are not one finite number per label.

    """
    if logits.shape != (len(labels),):
        raise ValueError(f"expected {len(labels)} logits, one per label, not {logits.shape}")
    if not np.isfinite(logits).all():
        raise ValueError("the network returned a value that is not a finite number")
    probabilities = softmax(logits, policy.temperature)
    best_first = np.argsort(-probabilities, kind="stable")[:top]
    ranked = tuple((labels[i], float(probabilities[i])) for i in best_first)
    label, score = ranked[0]
    accepted = score >= policy.threshold
    return Prediction(
        label=label if accepted else None,
        score=score,
        status="sure" if accepted else "not sure",
        top=ranked,
    )
