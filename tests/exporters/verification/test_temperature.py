"""The temperature is found again in drawn logits whose right one is known."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

from leansight.exporters.verification.temperature import (
    FEWEST_VIDEOS,
    cross_entropies,
    cross_fit,
    find_temperature,
    fit_temperature,
)
from leansight.runtime.decision import Task

Drawn = tuple[NDArray[np.float64], NDArray[np.int64]]


def classes_drawn(count: int, seed: int, sureness: float = 2.0) -> Drawn:
    """Draw logits (N, 4) and classes with just their probabilities: their temperature is 1."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, sureness, (count, 4))
    return logits, np.array([rng.choice(4, p=row) for row in softmax(logits, axis=1)])


def labels_drawn(count: int, seed: int) -> Drawn:
    """The same with three labels, each there with its own probability."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, 3))
    return logits, (rng.uniform(size=logits.shape) < expit(logits)).astype(np.int64)


def draw(task: Task, count: int, seed: int) -> Drawn:
    return (classes_drawn if task == "classification" else labels_drawn)(count, seed)


def separate(count: int) -> list[str]:
    return [f"video-{index}" for index in range(count)]


def test_the_cross_entropy_is_that_of_scikit_learn() -> None:
    logits, classes = classes_drawn(50, seed=0)
    expected = log_loss(classes, softmax(logits / 1.7, axis=1), labels=range(4))
    assert cross_entropies(logits, classes, temperature=1.7).mean() == pytest.approx(expected)
    logits, classes = labels_drawn(50, seed=0)
    expected = log_loss(classes.ravel(), expit(logits / 1.7).ravel())
    found = cross_entropies(logits, classes, "multilabel", 1.7)
    assert found.shape == (50,)
    assert found.mean() == pytest.approx(expected)


@pytest.mark.parametrize("task", ["classification", "multilabel"])
@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_is_found_again(true: float, task: Task) -> None:
    logits, classes = draw(task, 20_000, seed=5)
    assert fit_temperature(true * logits, classes, task) == pytest.approx(true, rel=0.05)
    found = find_temperature(true * logits, classes, separate(20_000), task)
    assert found.temperature == pytest.approx(true, rel=0.05)
    assert found.interval is not None
    assert found.interval[1] < 1.1 * found.interval[0]


def test_a_prior_keeps_images_without_a_mistake_from_being_certain() -> None:
    logits, classes = np.tile([4.0, 0.0], (600, 1)), np.zeros(600, np.int64)
    few, many = (fit_temperature(logits, classes, prior_videos=videos) for videos in (20, 600))
    assert 0.8 < few < 1
    assert many < few


def test_the_interval_holds_the_temperature_as_often_as_it_says() -> None:
    held = 0
    for seed in range(100):
        logits, classes = classes_drawn(60, seed)
        frames = 1.5 * logits.repeat(5, axis=0), classes.repeat(5)
        found = find_temperature(*frames, [f"{index // 5}" for index in range(300)])
        assert found.interval is not None
        held += found.interval[0] <= 1.5 <= found.interval[1]
    assert held >= 89  # of 95 that are expected


def test_frames_of_one_video_do_not_make_it_surer() -> None:
    logits, classes = classes_drawn(60, seed=1)
    once = find_temperature(0.5 * logits, classes, separate(60))
    videos = [name for name in separate(60) for _ in range(30)]
    frames = find_temperature(0.5 * logits.repeat(30, axis=0), classes.repeat(30), videos)
    assert frames.temperature == pytest.approx(once.temperature, rel=1e-3)
    assert frames.interval == pytest.approx(once.interval, rel=1e-3)


def test_the_less_videos_agree_the_nearer_to_one_it_stays() -> None:
    logits, classes = classes_drawn(2000, seed=2)
    few, many = (
        find_temperature(0.4 * logits[:count], classes[:count], separate(count))
        for count in (20, 2000)
    )
    assert few.temperature is not None
    assert fit_temperature(0.4 * logits[:20], classes[:20]) < few.temperature < 1
    assert many.temperature == pytest.approx(0.4, rel=0.1)


def test_too_few_videos_or_no_mistake_fit_nothing() -> None:
    logits, classes = classes_drawn(400, seed=3)
    videos = [f"{index % (FEWEST_VIDEOS - 1)}" for index in range(400)]
    few = find_temperature(logits, classes, videos)
    assert few.temperature is few.interval is None
    assert few.reason == "19 independent videos or images are too few, 20 are needed"
    right = find_temperature(logits, logits.argmax(axis=1), separate(400))
    assert right.temperature is right.interval is None
    assert right.reason == "no image is wrong, which any low temperature would suit"


def test_logits_that_say_nothing_or_the_contrary_fit_nothing() -> None:
    logits, classes = classes_drawn(400, seed=3)
    for useless in (np.zeros_like(logits), -logits):
        found = find_temperature(useless, classes, separate(400))
        assert found.temperature is None
        assert found.reason == "no temperature from 0.05 to 20 suits them best"


@pytest.mark.parametrize("true", [0.4, 2.5])
def test_what_it_scores_is_truer_on_other_images(true: float) -> None:
    excess, unscaled = [], []
    for seed in range(10):
        logits, classes = classes_drawn(80, seed, sureness=6)
        new_logits, new_classes = classes_drawn(2000, 100 + seed, sureness=6)
        found = find_temperature(true * logits, classes, separate(80)).temperature or 1
        at_found, at_true, at_one = (
            cross_entropies(true * new_logits, new_classes, temperature=temperature).mean()
            for temperature in (found, true, 1)
        )
        excess.append(at_found - at_true)
        unscaled.append(at_one - at_true)
    assert np.mean(excess) < np.mean(unscaled) / 5


def test_no_image_is_scored_at_a_temperature_of_its_own_video() -> None:
    logits, classes = classes_drawn(300, seed=4)
    videos = [f"{index // 10}" for index in range(300)]
    before = cross_fit(logits, classes, videos)
    assert len(set(before)) == 5
    changed = logits.copy()
    changed[:10] *= 50  # one video is terribly sure now
    after = cross_fit(changed, classes, videos)
    own = before == before[0]
    assert (after[own] == before[own]).all()
    assert (after[~own] != before[~own]).all()
