"""Means over images with their interval, by drawing whole videos again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

LEVEL: Final = 0.95
_REDRAWS: Final = 9_999


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean over images with its interval at `LEVEL`, by drawing whole videos again."""

    mean: float
    low: float
    high: float
    videos: int


def mean_interval(
    values: NDArray[Any], videos: Sequence[str], *, least: float = 0.0, seed: int = 0
) -> Interval:
    """Return the mean of values (N,), one an image, with its interval over videos.

    Values are from `least` to 1. Bias-corrected and accelerated
    bootstrap (Efron 1987) of whole videos. Where all videos are alike, redrawing would show no
    doubt at all: then as many others as Clopper-Pearson allows may differ by 1.
    """
    names, members = np.unique(np.asarray(videos), return_inverse=True)
    sums = np.bincount(members, np.asarray(values, np.float64))
    counts = np.bincount(members)
    mean, number = float(sums.sum() / counts.sum()), len(names)
    ratios = sums / counts
    if number == 1 or (ratios == ratios[0]).all():
        doubt = 1 - ((1 - LEVEL) / 2) ** (1 / number)
        low, high = max(mean - doubt, least), min(mean + doubt, 1.0)
        return Interval(mean=mean, low=low, high=high, videos=number)

    def redrawn(chosen: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
        means: NDArray[np.float64] = sums[chosen].sum(axis=axis) / counts[chosen].sum(axis=axis)
        return means

    found = bootstrap(
        (np.arange(number),),
        redrawn,
        n_resamples=_REDRAWS,
        batch=1000,
        confidence_level=LEVEL,
        method="BCa",
        vectorized=True,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean=mean, low=float(found.low), high=float(found.high), videos=number)
