"""A certified threshold keeps its promise as often as it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapie.risk_control.fwer_control import control_fwer
from numpy.typing import NDArray
from scipy.stats import binom

from leansight.sdk.evaluation.guarantee import (
    NoGuaranteeError,
    certify,
    certify_classes,
    error_bound,
    fewest_accepted,
)

DELTA = 0.05


def two_classes(
    rng: np.random.Generator, count: int, *, lowest: float = 0.5
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Draw logits (N, 2) whose probabilities are true, the best from `lowest` to 1 evenly."""
    sure = rng.uniform(lowest, 1, count)
    logits = np.stack([np.log(sure / (1 - sure)), np.zeros(count)], axis=1)
    return logits, (rng.uniform(size=count) >= sure).astype(np.int64)


def separate(count: int) -> list[str]:
    return [f"video-{index}" for index in range(count)]


def test_the_promise_is_broken_no_more_often_than_delta() -> None:
    # The error of what scores t or more is (1 - t) / 2, where the best probability is even.
    rng = np.random.default_rng(0)
    videos = separate(800)
    broken = certified = 0
    for seed in range(1000):
        logits, classes = two_classes(rng, 800)
        try:
            found = certify(logits, classes, videos, max_error=0.15, delta=DELTA, seed=seed)
        except NoGuaranteeError:
            continue
        certified += 1
        # The threshold is of scaled probabilities: back to those of temperature 1.
        odds = (found.threshold / (1 - found.threshold)) ** found.temperature
        broken += (1 - max(odds / (1 + odds), 0.5)) / 2 > 0.15
    assert certified > 700
    assert broken <= 73  # what 1,000 draws of 5 % do not exceed in 999 of 1,000 cases
    assert binom.sf(73, 1000, DELTA) < 0.001


def test_the_promises_for_each_class_are_broken_together_no_more_often() -> None:
    # Of what is taken for a class, (1 - t) / 2 of what scores t or more is wrong; class 0 is
    # never taken for sure, and has no threshold where that is too much.
    rng = np.random.default_rng(0)
    videos = separate(800)
    broken, certified = 0, np.zeros(2, int)
    for seed in range(1000):
        sure = rng.uniform(0.5, 1, 800)
        taken = rng.integers(0, 2, 800)
        sure[taken == 0] = rng.uniform(0.5, 0.8, int((taken == 0).sum()))
        signs = np.where(taken == 1, 1, -1)
        logits = np.stack([np.zeros(800), signs * np.log(sure / (1 - sure))], axis=1)
        wrong = rng.uniform(size=800) >= sure
        try:
            found = certify_classes(
                logits, taken ^ wrong, videos, max_error=0.15, delta=DELTA, seed=seed
            )
        except NoGuaranteeError:
            continue
        certified += [index in found for index in (0, 1)]
        if 1 in found:
            odds = (found[1].threshold / (1 - found[1].threshold)) ** found[1].temperature
            broken += 0 in found or (1 - max(odds / (1 + odds), 0.5)) / 2 > 0.15
    assert certified[1] > 500
    assert certified[0] <= 73
    assert broken <= 73


def test_a_class_with_few_videos_gets_no_threshold() -> None:
    classes = np.repeat([0, 1], [400, 30])
    logits = np.where(np.arange(2) == classes[:, None], 12.0, 0.0)
    found = certify_classes(logits, classes, separate(430), max_error=0.05, delta=DELTA)
    assert set(found) == {0}
    assert found[0].delta == DELTA / 2
    assert found[0].accepted == found[0].drawn < 400
    with pytest.raises(NoGuaranteeError, match=r"no class can be certified; the first: .* 368 "):
        certify_classes(logits, classes, separate(430), max_error=0.01, delta=DELTA)


def test_videos_count_and_not_frames() -> None:
    rng = np.random.default_rng(1)
    logits, classes = two_classes(rng, 300, lowest=0.9999)
    found = certify(logits, classes, separate(300), max_error=0.05, delta=DELTA)
    assert (found.drawn, found.wrong) == (225, 0)
    frames = [name for name in separate(75) for _ in range(4)]
    with pytest.raises(NoGuaranteeError, match=r"59 accepted videos .* of 75 here 56 are left"):
        certify(logits, classes, frames, max_error=0.05, delta=DELTA)


def test_many_frames_of_a_video_do_not_change_how_many_are_drawn() -> None:
    rng = np.random.default_rng(2)
    logits, classes = two_classes(rng, 800, lowest=0.9999)
    frames = [name for name in separate(200) for _ in range(4)]
    found = certify(logits, classes, frames, max_error=0.05, delta=DELTA)
    assert found.drawn == found.accepted == 150


def test_a_network_that_is_wrong_where_it_is_sure_gets_no_guarantee() -> None:
    rng = np.random.default_rng(3)
    logits, classes = two_classes(rng, 1000, lowest=0.99)
    wrong = np.where(rng.uniform(size=1000) < 0.3, 1 - classes, classes)
    with pytest.raises(NoGuaranteeError, match=r"where it is most sure, \d+ of \d+ are wrong"):
        certify(logits, wrong, separate(1000), max_error=0.02, delta=DELTA)


def test_a_looser_error_accepts_more() -> None:
    logits, classes = two_classes(np.random.default_rng(4), 4000)
    thresholds = [
        certify(logits, classes, separate(4000), max_error=error, delta=DELTA).threshold
        for error in (0.05, 0.1, 0.2)
    ]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] > thresholds[-1]


@pytest.mark.parametrize(("error", "count"), [(0.05, 59), (0.02, 149), (0.01, 299)])
def test_the_fewest_images_that_certify_anything(error: float, count: int) -> None:
    assert fewest_accepted(error, DELTA) == count
    assert error_bound(0, count, DELTA) <= error < error_bound(0, count - 1, DELTA)


@given(st.integers(0, 40), st.integers(1, 400), st.floats(0.01, 0.3))
def test_the_bound_is_where_so_few_mistakes_become_improbable(
    wrong: int, more: int, delta: float
) -> None:
    # Clopper and Pearson's definition, by the binomial distribution itself.
    accepted = wrong + more
    bound = error_bound(wrong, accepted, delta)
    assert binom.cdf(wrong, accepted, bound) == pytest.approx(delta, rel=1e-6)


def test_where_all_are_wrong_the_bound_is_one() -> None:
    assert error_bound(7, 7, DELTA) == error_bound(0, 0, DELTA) == 1


@pytest.mark.parametrize(("error", "delta"), [(0, 0.05), (1, 0.05), (0.1, 0), (0.1, 1.5)])
def test_shares_outside_nothing_and_all_are_refused(error: float, delta: float) -> None:
    with pytest.raises(ValueError, match="must be above 0 and below 1"):
        certify(np.zeros((2, 2)), np.zeros(2, int), ["a", "b"], max_error=error, delta=delta)


def test_mapie_stops_at_the_same_threshold() -> None:
    logits, classes = two_classes(np.random.default_rng(6), 2000)
    found = certify(logits, classes, separate(2000), max_error=0.15, delta=DELTA)
    # The same images that certified, and every threshold between the strictest and the loosest.
    names = np.random.default_rng(0).permutation(sorted(set(separate(2000))))
    drawn = [int(name.removeprefix("video-")) for name in names[500:]]
    scaled = np.abs(logits[:, 0] - logits[:, 1])[drawn] / found.temperature
    scores, right = 1 / (1 + np.exp(-scaled)), (logits.argmax(axis=1) == classes)[drawn]
    strict_to_loose = np.linspace(0.95, found.threshold - 0.05, 200)
    p_values = np.array(
        [binom.cdf((~right[scores >= t]).sum(), (scores >= t).sum(), 0.15) for t in strict_to_loose]
    )
    held = control_fwer(p_values, DELTA, fwer_method="fixed_sequence")
    assert strict_to_loose[max(held)] == pytest.approx(found.threshold, abs=0.01)
