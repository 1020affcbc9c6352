"""Whether one model is better than another on the same images, and how sure that is."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from leansight.exporters.verification.intervals import Interval, mean_interval


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
