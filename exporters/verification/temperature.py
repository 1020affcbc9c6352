"""Temperature scaling (Guo et al., arXiv 1706.04599): scores as often right as they say."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import norm

from leansight.exporters.verification.intervals import LEVEL
from leansight.runtime.decision import Task

FEWEST_VIDEOS: Final = 20  # fewer show less doubt than there is
FOLDS: Final = 5
_TEMPERATURES: Final = (0.05, 20.0)
_PRIOR_SPREAD: Final = 0.5  # standard deviation of its logarithm, before any image is seen
_QUANTILE: Final = float(norm.ppf((1 + LEVEL) / 2))
_MARGIN: Final = 1.01  # to the ends, where nothing is least
_STEP: Final = 0.01  # of the logarithm, for its derivatives


@dataclass(frozen=True, kw_only=True)
class TemperatureFit:
    """A temperature that was fitted; `interval` holds it at `LEVEL`.

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

    It is that with the least cross-entropy, held near 1 as far as the videos disagree about it:
    the mean of a logarithm that is normal with a deviation of 0.5 before any image is seen. No
    temperature is told by fewer videos than `FEWEST_VIDEOS`, or where no image is wrong.
    """
    if (number := len(set(videos))) < FEWEST_VIDEOS:
        return TemperatureFit(
            reason=f"{number} independent videos or images are too few, {FEWEST_VIDEOS} are needed"
        )
    if not are_wrong(logits, classes, task).any():
        return TemperatureFit(reason="no image is wrong, which any low temperature would suit")
    fitted = fit_temperature(logits, classes, task)
    doubt = _standard_error(logits, classes, videos, task, fitted)
    low, high = _TEMPERATURES
    if not (_MARGIN * low < fitted < high / _MARGIN and math.isfinite(doubt)):
        return TemperatureFit(reason=f"no temperature from {low:g} to {high:g} suits them best")
    weight = _PRIOR_SPREAD**2 / (_PRIOR_SPREAD**2 + doubt**2)
    temperature = fitted**weight
    factor = math.exp(_QUANTILE * doubt * math.sqrt(weight))
    return TemperatureFit(
        temperature=round(temperature, 4), interval=(temperature / factor, temperature * factor)
    )


def cross_fit(
    logits: NDArray[np.floating[Any]],
    classes: NDArray[np.int64],
    videos: Sequence[str],
    task: Task = "classification",
    *,
    otherwise: float = 1.0,
) -> NDArray[np.float64]:
    """Return a temperature for each image (N,), found on four fifths of the videos without it.

    It is `otherwise` where these cannot tell it.
    """
    all_videos = np.asarray(videos)
    names, members = np.unique(all_videos, return_inverse=True)
    folds = (np.random.default_rng(0).permutation(len(names)) % FOLDS)[members]
    temperatures = np.empty(len(classes))
    for fold in range(FOLDS):
        rest = folds != fold
        fit = find_temperature(logits[rest], classes[rest], all_videos[rest].tolist(), task)
        temperatures[~rest] = fit.temperature or otherwise
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


def _standard_error(
    logits: NDArray[np.floating[Any]],
    classes: NDArray[np.int64],
    videos: Sequence[str],
    task: Task,
    fitted: float,
) -> float:
    """Return the standard error of the fitted temperature's logarithm, for independent videos.

    It is the cluster-robust one (Liang and Zeger, Biometrika 73, 1986): the spread of the videos'
    slopes by the curvature of all, from differences of a step of the logarithm.
    """
    _, members = np.unique(np.asarray(videos), return_inverse=True)
    before, at, after = (
        np.bincount(members, cross_entropies(logits, classes, task, fitted * math.exp(step)))
        for step in (-_STEP, 0, _STEP)
    )
    slopes = (after - before) / (2 * _STEP)
    curvature = float((before - 2 * at + after).sum()) / _STEP**2
    if curvature <= 0:  # all logits are equal
        return math.inf
    return float(np.sqrt((slopes**2).sum())) / curvature
