import numpy as np
import pytest

from leansight.benchmarks.results.estimates import (
    estimate_median,
    estimate_ratio,
    percentiles_of,
    undisturbed_of,
)


def test_an_interval_of_a_median_holds_the_truth_as_often_as_it_says() -> None:
    """Launches differ, and rounds within them: an interval of the rounds alone is too narrow."""
    random = np.random.default_rng(3)
    held = 0
    for _ in range(300):
        blocks = 5 + random.normal(0, 0.3, (5, 1)) + random.normal(0, 0.4, (5, 4))
        estimate = estimate_median(blocks)
        assert estimate.low is not None
        assert estimate.high is not None
        held += estimate.low <= 5 <= estimate.high
    assert 0.88 < held / 300 <= 1


def test_slow_seconds_that_hit_both_leave_the_ratio_alone() -> None:
    random = np.random.default_rng(4)
    slow = random.uniform(1, 4, (5, 4))  # of the machine, by block
    first = 2 * slow * random.normal(1, 0.01, slow.shape)
    second = 3 * slow * random.normal(1, 0.01, slow.shape)
    ratio = estimate_ratio(first, second)
    assert ratio.value == pytest.approx(1.5, rel=0.02)
    assert ratio.half_width < 0.02
    assert estimate_median(first).half_width > 0.1


def test_a_ratio_the_other_way_round_is_its_inverse() -> None:
    random = np.random.default_rng(5)
    first, second = random.uniform(1, 2, (2, 5, 4))
    there, back = estimate_ratio(first, second), estimate_ratio(second, first)
    assert there.low is not None
    assert back.high is not None
    assert there.value == pytest.approx(1 / back.value)
    assert there.low == pytest.approx(1 / back.high, rel=1e-2)


def test_too_few_blocks_have_no_interval() -> None:
    estimate = estimate_median(np.array([[1.0, 2.0, 3.0, 4.0, 5.0]]))
    assert (estimate.value, estimate.low, estimate.high) == (3.0, None, None)
    assert estimate.half_width == float("inf")


def test_the_undisturbed_time_of_a_block_is_hardly_moved_by_another_program() -> None:
    frames = np.full((1, 1, 10), 2.0)
    frames[..., 3:] = 30.0  # of ten frames seven are hit
    assert undisturbed_of(frames).tolist() == [[2.0]]


def test_percentiles_are_numpys_over_all_frames_none_left_out() -> None:
    times = np.random.default_rng(1).exponential(size=(5, 4, 10))
    found = percentiles_of(times)
    for percent in (50, 90, 95, 99):
        name = f"p{percent}"
        assert getattr(found, name) == pytest.approx(np.percentile(times, percent), abs=1e-6)
        low, high = found.intervals[name]
        assert low <= getattr(found, name) <= high
    assert found.max == pytest.approx(times.max(), abs=1e-6)
    assert percentiles_of(times[:1]).intervals == {}
