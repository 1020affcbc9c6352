"""Temperature scaling (Guo et al., arXiv 1706.04599): scores as often right as they say."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from leansight.exporters.verification.intervals import LEVEL
from leansight.runtime.decision import Task

FEWEST_VIDEOS: Final = 20  # of fewer, redrawing shows less doubt than there is
MOST_SPREAD: Final = 2.5  # of the interval: its upper end by its lower one
FOLDS: Final = 5
_TEMPERATURES: Final = (0.05, 20.0)
_PRIOR_SPREAD: Final = 0.5  # of its logarithm, before any image is seen
_REDRAWS: Final = 1000
_GRID: Final = np.geomspace(1 / 8, 8, 121)  # of temperatures around the fitted one


@dataclass(frozen=True, kw_only=True)
class TemperatureFit:
    """The temperature with the least cross-entropy; `interval` holds it at `LEVEL`.

    Both are None where none was fitted, for a `reason`.
    """

    temperature: float | None = None
    interval: tuple[float, float] | None = None
    reason: str = ""


def cross_entropies(
    logits: NDArray[np.floating[Any]],
    classes: NDArray[np.int64],
    task: Task = "classification",
    temperature: float = 1.0,
) -> NDArray[np.float64]:
    """Return the cross-entropy of each image (N,) in nats; with many labels, of a label's mean."""
    scaled = np.asarray(logits, np.float64) / temperature
    losses: NDArray[np.float64]
    if task == "classification":
        losses = -log_softmax(scaled, axis=1)[np.arange(len(classes)), classes]
    else:
        losses = np.logaddexp(0, np.where(classes == 1, -scaled, scaled)).mean(axis=1)
    return losses


def fit_temperature(
    logits: NDArray[np.floating[Any]],
    classes: NDArray[np.int64],
    task: Task = "classification",
    *,
    prior_videos: int = 0,
) -> float:
    """Return the temperature with the least cross-entropy, from 0.05 to 20.

    With `prior_videos`, the number of videos that the images are of, it is held near 1, the more
    so the fewer they are: without a mistake among them the least cross-entropy would be at 0,
    where every answer is said to be certain.
    """

    def loss(log_temperature: float) -> float:
        mean = float(cross_entropies(logits, classes, task, math.exp(log_temperature)).mean())
        if not prior_videos:
            return mean
        return mean * prior_videos + (log_temperature / _PRIOR_SPREAD) ** 2 / 2

    bounds = tuple(math.log(limit) for limit in _TEMPERATURES)
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x)


def find_temperature(
    logits: NDArray[np.floating[Any]],
    classes: NDArray[np.int64],
    videos: Sequence[str],
    task: Task = "classification",
) -> TemperatureFit:
    """Return the temperature of held-out images (N, K) of `videos` (N), if they can tell it.

    They cannot where the videos are fewer than `FEWEST_VIDEOS`, where none is wrong, or where the
    interval, from redrawn videos, spans more than a factor of `MOST_SPREAD`.
    """
    if (number := len(set(videos))) < FEWEST_VIDEOS:
        return TemperatureFit(
            reason=f"{number} independent videos or images are too few: {FEWEST_VIDEOS} are needed"
        )
    if not are_wrong(logits, classes, task).any():
        return TemperatureFit(reason="there is no mistake that it could be told by")
    fitted = fit_temperature(logits, classes, task)
    low, high = _interval(logits, classes, videos, task, fitted)
    if high > MOST_SPREAD * low:
        return TemperatureFit(
            reason=f"the mistakes are of too few videos: it may be {low:.2f} as well as {high:.2f}"
        )
    return TemperatureFit(temperature=round(fitted, 4), interval=(low, high))


def cross_fit(
    logits: NDArray[np.floating[Any]],
    classes: NDArray[np.int64],
    videos: Sequence[str],
    task: Task = "classification",
) -> NDArray[np.float64]:
    """Return a temperature for each image (N,), fitted on four fifths of the videos without it."""
    names, members = np.unique(np.asarray(videos), return_inverse=True)
    folds = (np.random.default_rng(0).permutation(len(names)) % FOLDS)[members]
    temperatures = np.empty(len(classes))
    for fold in range(FOLDS):
        own = folds == fold
        temperatures[own] = fit_temperature(logits[~own], classes[~own], task)
    return temperatures


def are_wrong(
    logits: NDArray[np.floating[Any]], classes: NDArray[np.int64], task: Task
) -> NDArray[np.bool_]:
    """Return which images (N,) are wrong: their class, or with many labels any label."""
    wrong: NDArray[np.bool_]
    if task == "classification":
        wrong = logits.argmax(axis=1) != classes
    else:
        wrong = ((logits >= 0) != classes).any(axis=1)
    return wrong


def _interval(
    logits: NDArray[np.floating[Any]],
    classes: NDArray[np.int64],
    videos: Sequence[str],
    task: Task,
    fitted: float,
) -> tuple[float, float]:
    """Return the percentile interval of the temperature, from redrawn videos (Efron 1979)."""
    names, members = np.unique(np.asarray(videos), return_inverse=True)
    grid = fitted * _GRID
    sums = np.stack(
        [np.bincount(members, cross_entropies(logits, classes, task, t)) for t in grid], axis=1
    )
    number = len(names)
    draws = np.random.default_rng(0).multinomial(number, np.full(number, 1 / number), _REDRAWS)
    found = grid[(draws @ sums).argmin(axis=1)]
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(found, [tail, 100 - tail])
    return float(low), float(high)
