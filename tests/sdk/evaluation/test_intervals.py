"""When a model may be called better."""

import numpy as np
import pytest
from scipy.stats import binomtest

from leansight.sdk.evaluation.intervals import compare_models


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
