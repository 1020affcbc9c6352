"""What thresholds keep, by a hand count."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from leansight.exporters.verification.selective import coverage_at, risk_coverage

SCORES = np.array([0.99, 0.4, 0.8, 0.8, 0.6])
RIGHT = np.array([True, False, True, False, True])


def test_shares_and_accuracies_at_thresholds() -> None:
    half, most, all_but_none = coverage_at(SCORES, RIGHT, (0.5, 0.8, 0.995))
    assert (half.share, half.accuracy) == (0.8, 0.75)
    assert (most.share, most.accuracy) == (0.6, 2 / 3)
    assert (all_but_none.share, all_but_none.accuracy) == (0.0, None)
    assert {k.images for k in (half, most, all_but_none)} == {5}


def test_the_curve_has_a_point_for_every_score() -> None:
    thresholds, shares, accuracies = risk_coverage(SCORES, RIGHT)
    assert thresholds.tolist() == [0.99, 0.8, 0.6, 0.4]
    assert shares.tolist() == [0.2, 0.6, 0.8, 1.0]
    assert accuracies.tolist() == [1.0, 2 / 3, 0.75, 0.6]


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_the_curve_and_the_thresholds_agree(images: list[tuple[float, bool]]) -> None:
    scores, right = (np.array(values) for values in zip(*images, strict=True))
    thresholds, shares, accuracies = risk_coverage(scores, right)
    kept = coverage_at(scores, right, thresholds.tolist())
    assert [k.share for k in kept] == shares.tolist()
    assert np.allclose([k.accuracy for k in kept], accuracies)
    assert shares[-1] == 1


def test_no_image_keeps_nothing() -> None:
    (kept,) = coverage_at(np.empty(0), np.empty(0, bool), (0.5,))
    assert (kept.share, kept.accuracy) == (0.0, None)
