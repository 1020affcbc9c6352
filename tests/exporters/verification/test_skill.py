"""A network that does not look at the images is told from one that does."""

import numpy as np
import pytest
from numpy.typing import NDArray

from leansight.exporters.verification.skill import Skill, measure_skill
from leansight.runtime.decision import Task

LABELS = ("ants", "bees", "crickets", "dragonflies")
Classes = NDArray[np.int64]


def says(answers: Classes) -> NDArray[np.float32]:
    """Return logits (N, K) with which a network gives these answers."""
    return np.eye(len(LABELS), dtype=np.float32)[answers]


def skill_of(answers: Classes, classes: Classes) -> Skill:
    return measure_skill(says(answers), classes, LABELS, "classification")


def balanced(each: int) -> Classes:
    return np.arange(len(LABELS)).repeat(each)


@pytest.mark.parametrize(
    ("right", "images", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)],
)
def test_the_interval_is_wilsons(right: int, images: int, low: float, high: float) -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    classes = np.zeros(images, np.int64)
    skill = skill_of((np.arange(images) >= right).astype(np.int64), classes)
    assert (skill.low, skill.high) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


def test_the_line_says_accuracy_interval_chance_and_commonest_class() -> None:
    classes = np.repeat([0, 1], [60, 40])
    answers = classes.copy()
    answers[:10] = 3
    assert str(skill_of(answers, classes)) == (
        "accuracy 90.0% (82.6% to 94.5%, 100 images); chance 25.0%, "
        "always the commonest class 60.0%"
    )


def test_a_network_that_has_learnt_is_not_doubted() -> None:
    rng = np.random.default_rng(0)
    classes = balanced(50)
    answers = np.where(rng.random(200) < 0.4, classes, rng.integers(0, 4, 200))
    assert skill_of(answers, classes).doubt == ""


def test_guesses_are_doubted_nineteen_times_in_twenty_and_more() -> None:
    rng = np.random.default_rng(0)
    classes = balanced(25)
    doubts = [skill_of(rng.integers(0, 4, 100), classes).doubt for _ in range(500)]
    assert sum(not doubt for doubt in doubts) <= 0.05 * 500
    assert any("learnt nothing: guessing gives 25" in doubt for doubt in doubts)


def test_worse_than_chance_is_no_skill() -> None:
    classes = balanced(50)
    assert skill_of((classes + 1) % 4, classes).doubt.startswith("the network seems to have learnt")


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_the_commonest_class_for_everything_is_no_skill_however_common(share: float) -> None:
    classes = (np.arange(1000) >= 1000 * share).astype(np.int64)
    skill = skill_of(np.zeros(1000, np.int64), classes)
    assert skill.accuracy == skill.commonest == pytest.approx(share)
    assert skill.low > skill.chance
    assert skill.doubt.startswith("the network seems to have learnt nothing")


def test_guesses_in_the_shares_of_the_classes_are_no_skill() -> None:
    rng = np.random.default_rng(0)
    classes = (rng.random(1000) >= 0.9).astype(np.int64)
    skill = skill_of(rng.permutation(classes), classes)
    assert skill.accuracy > 0.8 > skill.chance
    assert "guessing gives 8" in skill.doubt


def test_a_rare_defect_that_is_found_is_skill() -> None:
    classes = (np.arange(1000) >= 990).astype(np.int64)
    answers = classes.copy()
    answers[[0, 1, 998, 999]] = [1, 1, 0, 0]
    assert skill_of(answers, classes).doubt == ""


def test_one_class_for_nearly_everything_is_doubted_even_if_the_rest_is_right() -> None:
    classes = balanced(500)
    answers = np.ones_like(classes)
    answers[classes == 0] = np.where(np.arange(500) < 80, 0, 1)
    skill = skill_of(answers, classes)
    assert skill.low > max(skill.chance, skill.shuffled)
    assert skill.doubt == (
        "the network seems to have learnt nothing: it says bees of 96.0% of the images, and "
        "25.0% show that"
    )


@pytest.mark.parametrize(("images", "enough"), [(1, False), (2, True)])
def test_few_images_tell_nothing_and_that_is_said(images: int, *, enough: bool) -> None:
    classes = np.arange(2).repeat(images)
    two = measure_skill(np.eye(2, dtype=np.float32)[classes], classes, LABELS[:2], "classification")
    if enough:
        assert two.doubt == ""
    else:
        assert two.doubt == (
            "whether the network has learnt anything cannot be told: 2 images are too few, "
            "guessing gives 50.0%"
        )


def test_images_of_one_class_tell_nothing() -> None:
    classes = np.full(100, 2)
    assert skill_of(classes, classes).doubt == (
        "whether the network has learnt anything cannot be told: the images show one class only"
    )


@pytest.mark.parametrize("task", ["classification", "multilabel"])
def test_what_shuffled_answers_would_reach_is_their_mean_over_shuffles(task: Task) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal([1, 0, 0, -1], 1, (60, 4)).astype(np.float32)
    classes = rng.integers(0, 2, 60) if task == "classification" else (rng.random((60, 4)) < 0.3)
    classes = classes.astype(np.int64)
    skill = measure_skill(logits, classes, LABELS, task)
    shuffled = [
        measure_skill(logits[rng.permutation(60)], classes, LABELS, task).accuracy
        for _ in range(500)
    ]
    assert skill.shuffled == pytest.approx(np.mean(shuffled), abs=0.01)


def test_of_many_labels_the_commoner_answers_are_no_skill() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((300, 4)) < [0.1, 0.2, 0.7, 0.1]).astype(np.int64)
    always = np.broadcast_to(np.array([-1, -1, 1, -1], np.float32), (300, 4))
    skill = measure_skill(always, truth, LABELS, "multilabel")
    assert [skill.accuracy] * 2 == pytest.approx([skill.commonest, skill.shuffled])
    assert skill.accuracy > 0.75 > skill.chance
    assert "it says crickets of 100.0% of the images" in skill.doubt
    learnt = np.where(rng.random((300, 4)) < 0.8, truth, 1 - truth) - 0.5
    assert measure_skill(learnt.astype(np.float32), truth, LABELS, "multilabel").doubt == ""
    nothing = measure_skill(np.full((300, 4), -1, np.float32), truth, LABELS, "multilabel")
    assert "it says no label of 100.0% of the images" in nothing.doubt


def test_of_many_labels_those_of_one_image_count_once_where_they_go_together() -> None:
    together = np.zeros((100, 4), np.int64)
    together[:50] = 1
    logits = np.ones((100, 4), np.float32)
    logits[75:] = -1  # whole images right or wrong
    skill = measure_skill(logits, together, LABELS, "multilabel")
    one = skill_of((np.arange(100) >= 75).astype(np.int64), np.zeros(100, np.int64))
    assert (skill.accuracy, skill.low, skill.high) == (one.accuracy, one.low, one.high)
    apart = np.ones((100, 4), np.float32)
    apart[:, 0] = -1  # one label of each image wrong
    truth = np.ones((100, 4), np.int64)
    found = measure_skill(apart, truth, LABELS, "multilabel")
    assert found.accuracy == 0.75
    assert found.high - found.low < 0.55 * (one.high - one.low)


def test_no_image_is_an_error() -> None:
    with pytest.raises(ValueError, match="one image or more"):
        skill_of(np.zeros(0, np.int64), np.zeros(0, np.int64))
