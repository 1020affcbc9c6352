"""A threshold with a guarantee: of what is accepted, at most so much is wrong.

Learn then test (Angelopoulos et al., arXiv 2110.01052): thresholds are tested from strict to
loose, each by an exact binomial bound, until one fails; the last that held is certified. With
probability 1 - delta over the drawing of the images its error is at most `max_error`, for
images drawn as these were. Frames of one video are not independent: one of each is drawn.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from leansight.exporters.verification.temperature import fit_temperature
from leansight.runtime.decision import softmax
from leansight.runtime.errors import LeansightError

# Of the videos, those that find the temperature and where to begin; the others certify.
FITTING_SHARE: Final = 0.25


class NoGuaranteeError(LeansightError):
    """Nothing can be certified with these images."""


@dataclass(frozen=True, kw_only=True)
class Guarantee:
    """What was certified: of the accepted images at most `max_error` are wrong.

    Wrong with probability `delta` at most. Of `drawn` videos (or images that belong to none),
    one frame each, `accepted` were at or above `threshold`, and `wrong` of these were wrong,
    which bounds the error by `bound` (Clopper-Pearson, one-sided, at 1 - delta).
    """

    max_error: float
    delta: float
    threshold: float
    temperature: float
    drawn: int
    accepted: int
    wrong: int
    bound: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def certify(
    logits: NDArray[np.floating[Any]],
    classes: NDArray[np.int64],
    videos: Sequence[str],
    *,
    max_error: float,
    delta: float,
    seed: int = 0,
) -> Guarantee:
    """Return the lowest threshold, after temperature scaling, whose error is certified.

    Args:
        logits: (N, K) of images that no training and no choice has seen.
        classes: (N,) what they show.
        videos: of each image; images of the same one are not independent.
        max_error: of accepted images, above 0 and below 1.
        delta: how probable it may be that the guarantee does not hold, above 0 and below 1.
        seed: of the drawing of videos and frames.

    Raises:
        NoGuaranteeError: too few videos, or too many mistakes even where it is most sure.

    """
    evidence = _gather(logits, classes, videos, np.random.default_rng(seed), max_error, delta)
    return _test(evidence, evidence.predicted >= 0, max_error, delta)


def certify_classes(
    logits: NDArray[np.floating[Any]],
    classes: NDArray[np.int64],
    videos: Sequence[str],
    *,
    max_error: float,
    delta: float,
    seed: int = 0,
) -> dict[int, Guarantee]:
    """Return for each class the lowest threshold at which what is taken for it is certified.

    All of them hold together with probability 1 - delta: each is tested at delta / K
    (Bonferroni). A class that cannot be certified is not there. Arguments as `certify`.

    Raises:
        NoGuaranteeError: no class can be certified.

    """
    evidence = _gather(logits, classes, videos, np.random.default_rng(seed), max_error, delta)
    found, reasons = {}, []
    for index in range(logits.shape[1]):
        try:
            chosen = evidence.predicted == index
            found[index] = _test(evidence, chosen, max_error, delta / logits.shape[1])
        except NoGuaranteeError as error:
            reasons.append(str(error))
    if not found:
        raise NoGuaranteeError(f"no class can be certified; the first: {reasons[0]}")
    return found


def fewest_accepted(max_error: float, delta: float) -> int:
    """Return how many accepted images without a mistake certify anything at all."""
    return math.ceil(math.log(delta) / math.log1p(-max_error))


def error_bound(
    wrong: NDArray[Any] | float, accepted: NDArray[Any] | float, delta: float
) -> NDArray[np.float64]:
    """Return the one-sided Clopper-Pearson bound of the error, which holds at 1 - delta."""
    right = np.asarray(accepted) - wrong
    bound = beta.ppf(1 - delta, np.add(wrong, 1), np.where(right > 0, right, 1))
    return np.where(right > 0, bound, 1.0)


@dataclass(frozen=True)
class _Evidence:
    """Images (N,) at a common temperature; `fitting` and `drawn` are positions of some of them."""

    temperature: float
    scores: NDArray[np.float64]
    predicted: NDArray[np.int64]
    right: NDArray[np.bool_]
    fitting: NDArray[np.int64]
    drawn: NDArray[np.int64]


def _gather(
    logits: NDArray[np.floating[Any]],
    classes: NDArray[np.int64],
    videos: Sequence[str],
    rng: np.random.Generator,
    max_error: float,
    delta: float,
) -> _Evidence:
    for name, value in (("the error", max_error), ("delta", delta)):
        if not 0 < value < 1:
            raise ValueError(f"{name} must be above 0 and below 1, not {value:g}")
    fitting, drawn = _draw(videos, rng)
    _require_enough(len(drawn), len(set(videos)), max_error, delta)
    fitted = len({videos[i] for i in fitting})
    temperature = fit_temperature(logits[fitting], classes[fitting], prior_videos=fitted)
    probabilities = softmax(logits, temperature)
    predicted = probabilities.argmax(axis=1)
    return _Evidence(
        temperature=temperature,
        scores=probabilities.max(axis=1),
        predicted=predicted,
        right=predicted == classes,
        fitting=fitting,
        drawn=drawn,
    )


def _test(
    evidence: _Evidence, chosen: NDArray[np.bool_], max_error: float, delta: float
) -> Guarantee:
    """Test thresholds on the drawn images that are `chosen` (N,); see `certify`."""
    drawn = evidence.drawn[chosen[evidence.drawn]]
    _require_enough(len(drawn), len(drawn), max_error, delta)
    fitting = evidence.fitting[chosen[evidence.fitting]]
    fitting = fitting if len(fitting) else evidence.fitting
    scale = len(evidence.drawn) / len(evidence.fitting)
    thresholds = _sequence(evidence.scores[fitting], scale, delta)
    accepted = _count(evidence.scores[drawn], thresholds)
    wrong = _count(evidence.scores[drawn[~evidence.right[drawn]]], thresholds)
    bounds = error_bound(wrong, accepted, delta)
    failed = np.append(bounds, 1.0) > max_error
    last = int(failed.argmax()) - 1  # before the first that failed
    if last < 0:
        raise NoGuaranteeError(
            f"no threshold has an error of {max_error:.2%} at {1 - delta:.2%} confidence: where "
            f"it is most sure, {wrong[0]} of {accepted[0]} are wrong, which allows "
            f"{bounds[0]:.2%}. Allow a larger error, give more videos, or train a better network"
        )
    return Guarantee(
        max_error=max_error,
        delta=delta,
        threshold=float(thresholds[last]),
        temperature=evidence.temperature,
        drawn=len(drawn),
        accepted=int(accepted[last]),
        wrong=int(wrong[last]),
        bound=float(bounds[last]),
    )


def _require_enough(drawn: int, videos: int, max_error: float, delta: float) -> None:
    """Raise where not even images without a mistake could certify anything."""
    if drawn < (needed := fewest_accepted(max_error, delta)):
        raise NoGuaranteeError(
            f"an error of {max_error:.2%} at {1 - delta:.2%} confidence needs {needed} accepted "
            f"videos (or images without one) without a mistake: of {videos} here {drawn} are left "
            "to certify with. Give more, or allow a larger error"
        )


def _draw(
    videos: Sequence[str], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the images of the videos that fit, all, and of those that certify, one of each."""
    members: dict[str, list[int]] = {}
    for index, video in enumerate(videos):
        members.setdefault(video, []).append(index)
    names = rng.permutation(sorted(members))
    count = max(1, round(FITTING_SHARE * len(names)))
    fitting = [index for name in names[:count] for index in members[name]]
    drawn = [int(rng.choice(members[name])) for name in names[count:]]
    return np.array(fitting, np.int64), np.array(drawn, np.int64)


def _sequence(scores: NDArray[np.float64], scale: float, delta: float) -> NDArray[np.float64]:
    """Return the thresholds to test, strict to loose, chosen on the images that fit alone.

    The first is the one whose bound promises to be lowest: strict enough for few mistakes, as
    many as the scores themselves expect, and loose enough for many of the images that certify,
    of which there are `scale` times as many.
    """
    thresholds, again = np.unique(scores, return_counts=True)
    thresholds, accepted = thresholds[::-1], np.cumsum(again[::-1])
    doubts = np.cumsum((again * (1 - thresholds[::-1]))[::-1])
    first = int(error_bound(scale * doubts, scale * accepted, delta).argmin())
    return np.append(thresholds[first:], 0.0)


def _count(scores: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many scores (N,) are at each threshold (T,) or above."""
    return len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left")
