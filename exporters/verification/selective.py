"""Selective classification: how much is kept at a threshold, and how much of that is right."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.decision import Task

THRESHOLDS: Final = (0.5, 0.75, 0.9, 0.95, 0.99)  # those of system S1's report


@dataclass(frozen=True, kw_only=True)
class CoverageAt:
    """What a threshold keeps of `images`: the `share` (0 to 1), and the accuracy of that.

    `accuracy` is None where nothing is kept.
    """

    threshold: float
    images: int
    share: float
    accuracy: float | None


def scores_of(probabilities: NDArray[np.float64], task: Task) -> NDArray[np.float64]:
    """Return how sure of each image (N,): of its best class, or of its least decided label."""
    scores: NDArray[np.float64]
    if task == "classification":
        scores = probabilities.max(axis=1)
    else:
        scores = np.maximum(probabilities, 1 - probabilities).min(axis=1)
    return scores


def coverage_at(
    scores: NDArray[np.float64],
    right: NDArray[np.bool_],
    thresholds: Sequence[float] = THRESHOLDS,
) -> tuple[CoverageAt, ...]:
    """Return what each threshold keeps of images with these scores (N,), right or wrong (N,)."""
    kept = []
    for threshold in thresholds:
        accepted = scores >= threshold
        kept.append(
            CoverageAt(
                threshold=threshold,
                images=len(scores),
                share=float(accepted.mean()) if len(scores) else 0.0,
                accuracy=float(right[accepted].mean()) if accepted.any() else None,
            )
        )
    return tuple(kept)


def risk_coverage(
    scores: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return every threshold that makes a difference, strict to loose, with what it keeps.

    Three arrays: thresholds, shares kept, accuracies of that. Images of equal score are kept
    together (El-Yaniv and Wiener, "On the Foundations of Noise-free Selective Classification",
    JMLR 2010).
    """
    order = np.argsort(-scores, kind="stable")
    ranked, counts = scores[order], np.arange(1, len(scores) + 1)
    last_of_its_score = np.append(ranked[1:] != ranked[:-1], True)[: len(scores)]
    shares, accuracies = counts / max(len(scores), 1), np.cumsum(right[order]) / counts
    return ranked[last_of_its_score], shares[last_of_its_score], accuracies[last_of_its_score]
