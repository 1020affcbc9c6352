"""Activation ranges, and the histograms that clipped ones are chosen from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.preprocessing import PIXEL_SCALE, PIXEL_ZERO

BINS = 2048
STEPS = 255  # between the 256 levels of an int8 activation
SMALLEST = 1e-30  # step between two levels, where a tensor is nothing but zero
# What may be cut off the numbers of a tensor at either end.
TAILS = (1e-5, 1e-4)
# Parts of the full range that are tried for the least error.
RANGE_PARTS = tuple(n / 50 for n in range(15, 51))


@dataclass(frozen=True, kw_only=True)
class Range:
    """The smallest and the largest value that a tensor can take, zero included."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """From the smallest to the largest value."""
        return self.high - self.low

    @property
    def zero(self) -> float:
        """Where zero lies between them, from 0 to 1."""
        return -self.low / self.width if self.width > 0 else 0.0

    def widened(self, width: float) -> "Range":
        """Return the range of this width in which zero lies where it does here."""
        return Range(low=-self.zero * width, high=(1 - self.zero) * width)


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How often the values of tensors on one grid lay where, in `BINS` equal bins of `range`."""

    range: Range
    counts: NDArray[np.float64]

    def without_tails(self, share: float) -> Range:
        """Return the range without this share of all values at either end, zero included."""
        edges = np.linspace(self.range.low, self.range.high, len(self.counts) + 1)
        below = np.concatenate([[0.0], np.cumsum(self.counts)]) / self.counts.sum()
        first = int(np.searchsorted(below, share, side="right")) - 1
        last = int(np.searchsorted(below, 1 - share, side="left"))
        return Range(low=min(float(edges[first]), 0.0), high=max(float(edges[last]), 0.0))

    def of_least_error(self) -> Range:
        """Return the part of the range whose 256 levels have the least mean squared error."""
        tried = [
            Range(low=self.range.low * part, high=self.range.high * part) for part in RANGE_PARTS
        ]
        return min(tried, key=self.squared_error)

    def squared_error(self, chosen: Range) -> float:
        """Return the mean squared error of rounding to the 256 levels of a range."""
        edges = np.linspace(self.range.low, self.range.high, len(self.counts) + 1)
        values = (edges[1:] + edges[:-1]) / 2
        scale = max((chosen.high - chosen.low) / STEPS, SMALLEST)
        zero = np.rint(-chosen.low / scale)
        rounded = (np.clip(np.rint(values / scale) + zero, 0, STEPS) - zero) * scale
        return float(np.average((rounded - values) ** 2, weights=self.counts))

    def candidates(self) -> list[Range]:
        """Return narrower ranges that round what was counted with less squared error."""
        narrower = [*(self.without_tails(tail) for tail in TAILS), self.of_least_error()]
        most = self.squared_error(self.range)
        return [r for r in dict.fromkeys(narrower) if self.squared_error(r) < most]


# Every pixel value is possible, whatever the calibration images show; with these bounds the
# scale is 1/128 and the zero point 0 exactly: the int8 input is pixel - 128.
INPUT_RANGE = Range(low=(0 - PIXEL_ZERO) * PIXEL_SCALE, high=(255 - PIXEL_ZERO) * PIXEL_SCALE)
