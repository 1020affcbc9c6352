"""The interval of a mean over images, from whole videos."""

import numpy as np
import pytest
from scipy.stats import binomtest

from leansight.exporters.verification.intervals import mean_interval


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
