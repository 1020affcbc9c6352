"""Medians, percentiles and paired ratios with bootstrap intervals (docs/decisions/0035).

Blocks of frames are drawn again, in two steps: first the launches of the processes, then the
rounds within each. Two processes that run one model differ a little, which more frames of the
same two would never show.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEVEL: Final = 0.95
# With fewer blocks, no interval of a median reaches that level: 2 / 2 ** 5 is more than 0.05.
LEAST_BLOCKS: Final = 6
UNDISTURBED: Final = 0.1  # the quantile of a block that another program hardly ever reaches
_REDRAWS: Final = 1000
_PERCENTILE_REDRAWS: Final = 200
_TAILS: Final = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value with its 95 % interval, None where there are too few blocks for one."""

    value: float
    low: float | None
    high: float | None

    @property
    def half_width(self) -> float:
        """Half of the interval, relative to the value; infinite without an interval."""
        if self.low is None or self.high is None:
            return float("inf")
        return (self.high - self.low) / 2 / self.value


@dataclass(frozen=True, kw_only=True)
class Percentiles:
    """The median and the slow end of all timed frames, none left out, with 95 % intervals.

    `intervals`: (low, high) of p50 to p99, by name; none where there are too few blocks.
    """

    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    intervals: dict[str, tuple[float, float]]


def undisturbed_of(times: Floats) -> Floats:
    """Return the undisturbed time of each block, (L, R), of times (L, R, frames)."""
    return np.quantile(times, UNDISTURBED, axis=-1)


def estimate_median(blocks: Floats) -> Estimate:
    """Return the median of values (launches, rounds) with its interval."""
    median = float(np.median(blocks))
    if blocks.size < LEAST_BLOCKS:
        return Estimate(value=median, low=None, high=None)
    medians = np.median(blocks[_redrawn(blocks, _REDRAWS)], axis=(1, 2))
    low, high = np.quantile(medians, _TAILS)
    return Estimate(value=median, low=float(low), high=float(high))


def estimate_ratio(first: Floats, second: Floats) -> Estimate:
    """Return how many times the first the second is, from pairs of the same place (L, R)."""
    log = estimate_median(np.log(second / first))
    low, high = (None if end is None else float(np.exp(end)) for end in (log.low, log.high))
    return Estimate(value=float(np.exp(log.value)), low=low, high=high)


def percentiles_of(times: Floats) -> Percentiles:
    """Return the percentiles of times (launches, rounds, frames), whose unit they have."""
    percents = (50, 90, 95, 99)
    names = [f"p{percent}" for percent in percents]
    found = [round(float(p), 6) for p in np.percentile(times, percents)]
    intervals = {}
    if times.shape[0] * times.shape[1] >= LEAST_BLOCKS:
        draws = _redrawn(times, _PERCENTILE_REDRAWS)
        redrawn = [
            np.percentile(times[rows, columns], percents)
            for rows, columns in zip(*draws, strict=True)
        ]
        low, high = np.round(np.quantile(redrawn, _TAILS, axis=0), 6).tolist()
        intervals = dict(zip(names, zip(low, high, strict=True), strict=True))
    return Percentiles(
        **dict(zip(names, found, strict=True)),
        max=round(float(times.max()), 6),
        intervals=intervals,
    )


def _redrawn(blocks: Floats, redraws: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places (redraws, launches, rounds) that are drawn: of launches, of rounds."""
    launches, rounds = blocks.shape[:2]
    random = np.random.default_rng(0)
    chosen = random.integers(launches, size=(redraws, launches, 1))
    places = random.integers(rounds, size=(redraws, launches, rounds))
    return np.broadcast_to(chosen, places.shape), places
