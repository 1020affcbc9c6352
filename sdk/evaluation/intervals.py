"""Whether one model is better than another on the same images, and how sure that is."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, bootstrap

LEVEL: Final = 0.95
_REDRAWS: Final = 9_999


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean over images with its interval at `LEVEL`, by drawing whole videos again."""

    mean: float
    low: float
    high: float
    videos: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models on the same images: `difference` of accuracy, the first minus the second.

    `only_first`, `only_second`: images that only the one or the other has right. `mcnemar_p` is
    the two-sided p-value of McNemar's exact test; None where images share videos, for which it
    would be too small.
    """

    difference: Interval
    only_first: int
    only_second: int
    mcnemar_p: float | None

    @property
    def better(self) -> str:
        """Return "first" or "second", or "" where the interval does not tell."""
        if self.difference.low > 0:
            return "first"
        return "second" if self.difference.high < 0 else ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self) | {"better": self.better}


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


def compare_models(
    first: NDArray[np.bool_], second: NDArray[np.bool_], videos: Sequence[str], *, seed: int = 0
) -> Comparison:
    """Compare what two models have right (N,) of the same images of `videos` (N)."""
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    apart = only_first + only_second
    independent = len(set(videos)) == len(videos)
    p = float(binomtest(only_first, apart).pvalue) if apart else 1.0
    return Comparison(
        difference=mean_interval(first.astype(float) - second, videos, least=-1.0, seed=seed),
        only_first=only_first,
        only_second=only_second,
        mcnemar_p=p if independent else None,
    )
