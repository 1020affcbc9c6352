"""Paired tests: whether what a file lost against torch, on the same images, is more than chance."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm

from leansight.exporters.verification.report import CONFIDENCE, Drop


def loss_p_values(lost: NDArray[np.int64], gained: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the p-value of each loss: McNemar's exact test, one-sided.

    Of `lost + gained` images on which the two files differ as many would be `lost`, or more, with
    this probability if each were lost or gained by the toss of a coin (McNemar, Psychometrika 12,
    1947). Both are (K,) and 0 or more; the result is (K,) in 0 to 1.
    """
    p_values: NDArray[np.float64] = binom.sf(lost - 1, lost + gained, 0.5)
    return p_values


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p-values (K,) corrected for K tests (Holm, Scand. J. Statistics 6, 1979).

    What is at most α after correction is rejected; with probability 1 - α or more nothing is
    rejected that is true, however the tests depend on each other.
    """
    order = np.argsort(p_values)
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(1, np.maximum.accumulate(steps))
    return corrected


def fewest_that_tell(tests: int, significance: float) -> int:
    """Return how many images a class must lose, and gain none, to be significant by itself.

    That is before any other of so many `tests` is rejected; 1 or more.
    """
    if significance >= 1:  # a corrected p-value is 1 at most
        return 1
    return max(1, int(np.ceil(np.log2(tests / significance) - 1e-9)))


def mean_drop(differences: NDArray[np.float64]) -> Drop:
    """Return the mean loss with its interval, from the loss of each image.

    The differences (N,) are from -1 to 1: 1 for an image that was lost, -1 for one that was
    gained, 0 for the others. One of each is added, which makes the interval Wald's as Bonett and
    Price adjust it (British J. Math. Stat. Psychol. 65, 2012), whose coverage is near its level
    also where few images differ or none.
    """
    values = np.concatenate([differences, [1.0, -1.0]])
    spread = norm.isf((1 - CONFIDENCE) / 2) * values.std() / np.sqrt(len(values))
    middle = values.mean()
    return Drop(
        share=float(differences.mean()),
        low=max(-1.0, float(middle - spread)),
        high=min(1.0, float(middle + spread)),
    )
