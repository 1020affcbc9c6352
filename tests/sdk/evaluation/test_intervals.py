"""Intervals over videos, and when a model may be called better."""

import numpy as np
import pytest
from scipy.stats import binomtest

from leansight.sdk.evaluation.intervals import compare_models, mean_interval


def test_the_interval_of_independent_images_is_about_the_binomial_one() -> None:
    right = np.arange(1000) % 10 != 0
    found = mean_interval(right, [str(i) for i in range(1000)])
    exact = binomtest(900, 1000).proportion_ci()
    assert found.mean == 0.9
    assert found.low == pytest.approx(exact.low, abs=0.005)
    assert found.high == pytest.approx(exact.high, abs=0.005)


def test_frames_of_one_video_do_not_make_it_surer() -> None:
    right = np.arange(100) % 10 != 0
    once = mean_interval(right, [str(i) for i in range(100)])
    frames = mean_interval(np.repeat(right, 30), [str(i) for i in range(100) for _ in range(30)])
    assert (frames.mean, frames.videos) == (once.mean, once.videos) == (0.9, 100)
    assert (frames.low, frames.high) == (once.low, once.high)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        of_video = rng.beta(9, 1, 60)
        right = rng.uniform(size=(60, 20)) < of_video[:, None]
        videos = [str(i) for i in range(60) for _ in range(20)]
        found = mean_interval(right.ravel(), videos, seed=seed)
        held += found.low <= 0.9 <= found.high
    assert 178 <= held <= 199  # 0.95 of 200, in 999 of 1,000 cases, and a little less for BCa


def test_without_a_mistake_it_is_the_exact_interval_of_the_videos() -> None:
    videos = [str(i // 5) for i in range(200)]
    found = mean_interval(np.ones(200), videos)
    exact = binomtest(40, 40).proportion_ci()
    assert (found.mean, found.high) == (1, 1)
    assert found.low == pytest.approx(exact.low)
    assert mean_interval(np.zeros(200), videos).high == pytest.approx(1 - exact.low)


def test_one_video_says_next_to_nothing() -> None:
    found = mean_interval(np.array([1, 1, 0, 1]), ["a"] * 4)
    assert (found.low, found.high) == (0, 1)


def test_a_difference_on_most_images_is_one() -> None:
    videos = [str(i) for i in range(300)]
    first, second = np.arange(300) % 20 != 0, np.arange(300) % 3 != 0
    found = compare_models(first, second, videos)
    assert found.better == "first"
    assert compare_models(second, first, videos).better == "second"
    assert found.difference.mean == pytest.approx(first.mean() - second.mean())
    only_first = int((first & ~second).sum())
    assert (found.only_first, found.only_second) == (only_first, int((second & ~first).sum()))
    expected = binomtest(found.only_first, found.only_first + found.only_second).pvalue
    assert found.mcnemar_p == pytest.approx(expected)


def test_mcnemar_s_test_is_not_for_frames_of_videos() -> None:
    right = np.array([True, False, True, True])
    assert compare_models(right, ~right, ["a", "a", "b", "c"]).mcnemar_p is None


def test_equal_models_are_not_told_apart() -> None:
    right = np.arange(50) % 7 != 0
    found = compare_models(right, right, [str(i) for i in range(50)])
    assert found.better == ""
    assert found.mcnemar_p == 1
    assert found.difference.low < 0 < found.difference.high


def test_better_on_the_frames_of_one_video_is_not_better() -> None:
    videos = [str(i // 30) for i in range(300)]
    first, second = np.ones(300, bool), np.arange(300) >= 30
    assert compare_models(first, second, videos).better == ""
