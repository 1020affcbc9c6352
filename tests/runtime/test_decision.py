import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from leansight.runtime.decision import (
    NEVER,
    DecisionPolicy,
    DecisionRule,
    Prediction,
    Task,
    decide,
    sigmoid,
    softmax,
)
from leansight.runtime.errors import BundleError

LABELS = ("stop", "yield", "road work")
# 1, 4 and 3 parts of 8: the logarithms of probabilities are logits that give them.
LOGITS = np.log(np.array([1, 4, 3]) / 8)

logits_lists = st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=20)


def by_hand(logits: list[float], temperature: float = 1.0) -> list[float]:
    largest = max(logits)
    parts = [math.exp((value - largest) / temperature) for value in logits]
    return [part / math.fsum(parts) for part in parts]


# Softmax


@given(logits_lists, st.floats(0.01, 100))
def test_softmax_is_the_textbooks(logits: list[float], temperature: float) -> None:
    probabilities = softmax(np.array(logits, np.float32), temperature)
    assert probabilities.dtype == np.float64
    assert probabilities == pytest.approx(by_hand(logits, temperature), rel=1e-9, abs=1e-300)


@given(logits_lists)
def test_softmax_sums_to_one_and_keeps_the_order(logits: list[float]) -> None:
    probabilities = softmax(np.array(logits, np.float32))
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities.min() >= 0
    assert (np.diff(probabilities[np.argsort(logits)]) >= 0).all()


@given(logits_lists, st.integers(-1000, 1000))
def test_softmax_ignores_what_is_added_to_all_logits(logits: list[float], shift: int) -> None:
    values = np.array(logits, np.float64)
    assert softmax(values + shift) == pytest.approx(softmax(values), rel=1e-6, abs=1e-12)


def test_softmax_of_the_largest_float32_logits_is_finite() -> None:
    largest = np.finfo(np.float32).max
    assert softmax(np.array([largest, -largest, 0], np.float32)).tolist() == [1, 0, 0]
    assert softmax(np.array([largest, largest], np.float32)).tolist() == [0.5, 0.5]


def test_softmax_works_along_the_last_axis() -> None:
    rows = np.array([[0, 0], [0, math.log(3)]])
    assert softmax(rows) == pytest.approx(np.array([[0.5, 0.5], [0.25, 0.75]]))


def test_a_high_temperature_levels_and_a_low_one_sharpens() -> None:
    best = [float(softmax(LOGITS, temperature).max()) for temperature in (0.1, 1, 10, 1e6)]
    assert best == sorted(best, reverse=True)
    assert best[1] == pytest.approx(0.5)
    assert best[3] == pytest.approx(1 / 3, abs=1e-5)


# Decisions


def test_the_best_class_is_given_with_its_probability() -> None:
    assert decide(LOGITS, LABELS, DecisionPolicy(threshold=0.4)) == Prediction(
        label="yield",
        labels=("yield",),
        score=pytest.approx(0.5),
        status="sure",
        top=(
            ("yield", pytest.approx(0.5)),
            ("road work", pytest.approx(0.375)),
            ("stop", pytest.approx(0.125)),
        ),
    )


def test_below_the_threshold_there_is_no_label_but_still_a_score() -> None:
    prediction = decide(LOGITS, LABELS, DecisionPolicy(threshold=0.6))
    assert (prediction.label, prediction.status) == (None, "not sure")
    assert prediction.labels == ()
    assert prediction.score == pytest.approx(0.5)
    assert [label for label, _ in prediction.top] == ["yield", "road work", "stop"]


def test_exactly_at_the_threshold_the_label_is_given() -> None:
    halves = np.zeros(2, np.float32)  # 0.5 and 0.5, without rounding
    assert decide(halves, ("a", "b"), DecisionPolicy(threshold=0.5)).label == "a"
    above = float(np.nextafter(0.5, 1))
    assert decide(halves, ("a", "b"), DecisionPolicy(threshold=above)).label is None


@given(logits_lists)
def test_threshold_0_always_gives_a_label_and_1_only_certainty(logits: list[float]) -> None:
    labels = tuple(map(str, range(len(logits))))
    values = np.array(logits, np.float32)
    always = decide(values, labels, DecisionPolicy(threshold=0))
    assert by_hand(logits)[labels.index(str(always.label))] == pytest.approx(max(by_hand(logits)))
    certain = decide(values, labels, DecisionPolicy(threshold=1))
    assert (certain.label is not None) == (certain.score == 1)


def test_temperature_changes_the_score_and_so_the_decision() -> None:
    calm = decide(LOGITS, LABELS, DecisionPolicy(threshold=0.45, temperature=4))
    assert calm.score == pytest.approx(max(by_hand(LOGITS.tolist(), 4)))
    assert calm.label is None


@settings(max_examples=50)
@given(logits_lists, st.integers(1, 25))
def test_top_holds_the_best_classes_best_first(logits: list[float], top: int) -> None:
    labels = tuple(map(str, range(len(logits))))
    prediction = decide(np.array(logits, np.float32), labels, DecisionPolicy(), top=top)
    ranks = sorted(range(len(logits)), key=lambda i: (-by_hand(logits)[i], i))
    scores = [score for _, score in prediction.top]
    assert len(scores) == min(top, len(logits))
    assert scores == sorted(scores, reverse=True)
    assert scores == pytest.approx([by_hand(logits)[i] for i in ranks[:top]])
    assert prediction.top[0][1] == prediction.score


def test_of_equal_classes_the_first_label_comes_first() -> None:
    prediction = decide(np.zeros(3, np.float32), LABELS, DecisionPolicy())
    assert [label for label, _ in prediction.top] == list(LABELS)


def test_a_prediction_as_json_has_these_keys_and_plain_values() -> None:
    rejected = decide(LOGITS, LABELS, DecisionPolicy(threshold=0.6), top=2)
    assert json.loads(json.dumps(rejected.to_dict())) == {
        "label": None,
        "score": 0.5,
        "status": "not sure",
        "top": [["yield", 0.5], ["road work", 0.375]],
    }


# Many labels an image

# The logarithm of p / (1 - p) is the logit that gives probability p.
TAGS = ("beach", "boat", "sea", "sun")
TAG_PROBABILITIES = (0.95, 0.6, 0.8, 0.1)
TAG_LOGITS = np.array([math.log(p / (1 - p)) for p in TAG_PROBABILITIES])


def tag(threshold: float, temperature: float = 1.0) -> Prediction:
    policy = DecisionPolicy(threshold=threshold, temperature=temperature)
    return decide(TAG_LOGITS, TAGS, policy, task="multilabel")


@given(logits_lists, st.floats(0.01, 100))
def test_the_sigmoid_is_the_textbooks(logits: list[float], temperature: float) -> None:
    probabilities = sigmoid(np.array(logits, np.float32), temperature)
    expected = [
        1 / (1 + math.exp(-value / temperature)) if value / temperature > -700 else 0
        for value in logits
    ]
    assert probabilities.dtype == np.float64
    assert probabilities == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_the_sigmoid_of_the_largest_float32_logits_is_finite() -> None:
    largest = np.finfo(np.float32).max
    assert sigmoid(np.array([largest, -largest, 0], np.float32), 0.01).tolist() == [1, 0, 0.5]


def test_every_label_that_is_probable_enough_is_given() -> None:
    assert tag(0.5) == Prediction(
        label="beach",
        labels=("beach", "sea", "boat"),
        score=pytest.approx(0.95),
        status="sure",
        top=(
            ("beach", pytest.approx(0.95)),
            ("sea", pytest.approx(0.8)),
            ("boat", pytest.approx(0.6)),
        ),
        task="multilabel",
    )


@pytest.mark.parametrize(
    ("threshold", "labels", "status"),
    [
        (0.0, ("beach", "sea", "boat", "sun"), "sure"),  # all, as the policy's docstring warns
        (0.05, ("beach", "sea", "boat", "sun"), "sure"),
        (0.3, ("beach", "sea", "boat"), "sure"),
        (0.5, ("beach", "sea", "boat"), "sure"),
        (0.55, ("beach", "sea", "boat"), "sure"),  # 0.1 is below 0.45: surely no sun
        (0.7, ("beach", "sea"), "not sure"),  # a boat, perhaps: 0.6 is between 0.3 and 0.7
        (0.92, ("beach",), "not sure"),  # the sun, perhaps: 0.1 is between 0.08 and 0.92
        (0.99, (), "not sure"),
        (1.0, (), "not sure"),
    ],
)
def test_the_threshold_says_what_is_given_and_what_is_undecided(
    threshold: float, labels: tuple[str, ...], status: str
) -> None:
    prediction = tag(threshold)
    assert (prediction.labels, prediction.status) == (labels, status)
    assert prediction.label == (labels[0] if labels else None)
    assert prediction.score == pytest.approx(0.95)


def test_an_image_can_surely_have_none_of_many_labels() -> None:
    logits = np.full(3, -5.0)
    prediction = decide(logits, LABELS, DecisionPolicy(threshold=0.9), task="multilabel")
    assert (prediction.label, prediction.labels, prediction.status) == (None, (), "sure")


def test_at_the_ends_of_the_band_nothing_is_undecided() -> None:
    # 0.75 and 0.25 without rounding: the logarithm of 3, and minus that.
    logits, exact = np.array([math.log(3), -math.log(3)]), DecisionPolicy(threshold=0.75)
    assert sigmoid(logits).tolist() == [0.75, 0.25]
    prediction = decide(logits, ("a", "b"), exact, task="multilabel")
    assert (prediction.labels, prediction.status) == (("a",), "sure")


def test_temperature_levels_each_labels_probability() -> None:
    # logit(0.95) = ln 19; half of it gives sqrt(19) / (1 + sqrt(19)).
    assert tag(0.5, temperature=2).score == pytest.approx(19**0.5 / (1 + 19**0.5))
    assert tag(0.7, temperature=2).labels == ("beach",)


@given(logits_lists, st.floats(0, 1))
def test_given_labels_are_those_at_the_threshold_best_first(
    logits: list[float], threshold: float
) -> None:
    labels = tuple(map(str, range(len(logits))))
    values = np.array(logits, np.float32)
    prediction = decide(values, labels, DecisionPolicy(threshold=threshold), task="multilabel")
    probabilities = sigmoid(values)
    assert set(prediction.labels) == {
        label for label, p in zip(labels, probabilities, strict=True) if p >= threshold
    }
    scores = [probabilities[int(label)] for label in prediction.labels]
    assert scores == sorted(scores, reverse=True)


def test_as_json_many_labels_have_one_key_more() -> None:
    assert json.loads(json.dumps(tag(0.7).to_dict())) == {
        "label": "beach",
        "score": 0.95,
        "status": "not sure",
        "top": [["beach", 0.95], ["sea", 0.8], ["boat", 0.6]],
        "labels": ["beach", "sea"],
    }


@pytest.mark.parametrize(
    ("thresholds", "label"),
    [
        ({}, "b"),
        ({"b": 0.6}, None),
        ({"b": 0.4}, "b"),
        ({"b": NEVER}, None),
        ({"a": NEVER, "c": 1.0}, "b"),
    ],
)
def test_a_label_may_have_a_threshold_of_its_own(
    thresholds: dict[str, float], label: str | None
) -> None:
    policy = DecisionPolicy(threshold=0.5, label_thresholds=thresholds)
    logits = np.log([0.2, 0.55, 0.25])
    prediction = decide(logits, ("a", "b", "c"), policy)
    assert (prediction.label, prediction.status) == (label, "sure" if label else "not sure")
    assert prediction.score == pytest.approx(0.55)


def test_many_labels_may_have_thresholds_of_their_own() -> None:
    logits = np.log([3, 3, 3])  # 0.75 each
    policy = DecisionPolicy(threshold=0.7, label_thresholds={"b": 0.9, "c": NEVER})
    prediction = decide(logits, ("a", "b", "c"), policy, task="multilabel")
    assert (prediction.labels, prediction.status) == (("a",), "not sure")  # b is undecided
    without = DecisionPolicy(threshold=0.7, label_thresholds={"b": NEVER, "c": NEVER})
    assert decide(logits, ("a", "b", "c"), without, task="multilabel").status == "sure"


@given(logits_lists, st.floats(0, 1), st.sampled_from(["classification", "multilabel"]))
def test_the_same_threshold_for_each_label_is_one_threshold(
    logits: list[float], threshold: float, task: Task
) -> None:
    labels = tuple(map(str, range(len(logits))))
    values = np.array(logits, np.float32)
    each = DecisionPolicy(threshold=0.5, label_thresholds=dict.fromkeys(labels, threshold))
    one = DecisionPolicy(threshold=threshold)
    assert decide(values, labels, each, task=task) == decide(values, labels, one, task=task)


# One rule for many images


def by_definition(
    logits: NDArray[np.float32], labels: tuple[str, ...], policy: DecisionPolicy, task: Task
) -> Prediction:
    """Decide with a whole stable sort, and each threshold by its name."""
    turn = softmax if task == "classification" else sigmoid
    probabilities = turn(logits, policy.temperature).tolist()
    limits = [policy.label_thresholds.get(label, policy.threshold) for label in labels]
    ranks = sorted(range(len(labels)), key=lambda i: -probabilities[i])  # stable
    possible = ranks[:1] if task == "classification" else ranks
    given_labels = tuple(labels[i] for i in possible if probabilities[i] >= limits[i])
    pairs = list(zip(probabilities, limits, strict=True))
    undecided = any(1 - t < p < t != NEVER for p, t in pairs)
    sure = bool(given_labels) if task == "classification" else not undecided
    return Prediction(
        label=given_labels[0] if given_labels else None,
        labels=given_labels,
        score=probabilities[ranks[0]],
        status="sure" if sure else "not sure",
        top=tuple((labels[i], probabilities[i]) for i in ranks),
        task=task,
    )


# Few different values: equal logits, and probabilities exactly at a threshold, are common.
few_values = st.sampled_from([-1e38, -30.0, -1.0, 0.0, 0.0, 1e-30, 1.0, 2.0, 40.0, 1e38])


@settings(max_examples=400, deadline=None)
@given(data=st.data(), task=st.sampled_from(["classification", "multilabel"]))
def test_a_rule_decides_as_the_definition_does(data: st.DataObject, task: Task) -> None:
    logits = data.draw(st.lists(few_values, min_size=1, max_size=40))
    labels = tuple(f"label {number}" for number in range(len(logits)))
    thresholds = st.sampled_from([0, 0.3, 0.5, 0.9, 1, 1 / len(logits)])
    policy = DecisionPolicy(
        threshold=data.draw(thresholds),
        temperature=data.draw(st.sampled_from([0.5, 1.0, 1.7])),
        label_thresholds=data.draw(
            st.dictionaries(st.sampled_from(labels), thresholds | st.just(NEVER))
        ),
    )
    top = data.draw(st.integers(0, len(logits) + 2))
    values = np.array(logits, np.float32)
    expected = by_definition(values, labels, policy, task)
    rule = DecisionRule(labels, policy, task)
    assert rule(values, top=top) == replace(expected, top=expected.top[:top])
    assert decide(values, labels, policy, task=task, top=top) == rule(values, top=top)
    assert rule.probabilities(values).tolist() == [dict(expected.top)[name] for name in labels]


@pytest.mark.parametrize("top", [3, 8, 9, 1000])
def test_of_a_thousand_equal_classes_the_first_come_first(top: int) -> None:
    labels = tuple(map(str, range(1000)))
    prediction = decide(np.zeros(1000, np.float32), labels, DecisionPolicy(), top=top)
    assert [label for label, _ in prediction.top] == list(labels[:top])


# Errors


def test_a_negative_top_is_refused() -> None:
    with pytest.raises(ValueError, match="top must be 0 or more, not -1"):
        decide(LOGITS, LABELS, DecisionPolicy(), top=-1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("task", ["classification", "multilabel"])
def test_a_value_that_is_no_finite_number_is_a_status_and_no_label(bad: float, task: Task) -> None:
    logits = np.array([0, bad, 1], np.float32)
    prediction = decide(logits, LABELS, DecisionPolicy(), task=task)
    assert (prediction.status, prediction.label, prediction.labels) == ("invalid output", None, ())
    assert (prediction.score, prediction.top) == (0, ())
    with pytest.raises(BundleError, match="not a finite number"):
        DecisionRule(LABELS, DecisionPolicy(), task).probabilities(logits)


@pytest.mark.parametrize("shape", [(2,), (4,), (1, 3), (3, 1), ()])
def test_another_number_of_logits_than_labels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected 3 logits, one per label, not"):
        decide(np.zeros(shape, np.float32), LABELS, DecisionPolicy())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"threshold": -0.01}, "decision.threshold must be from 0 to 1, not -0.01"),
        ({"threshold": 1.01}, "decision.threshold must be from 0 to 1, not 1.01"),
        ({"threshold": math.nan}, "decision.threshold must be from 0 to 1, not nan"),
        (
            {"label_thresholds": {"a": 1.5}},
            "label_thresholds.a must be from 0 to 1, or 2 for never",
        ),
        ({"label_thresholds": {"a": -1}}, "label_thresholds.a must be from 0 to 1, or 2 for never"),
        ({"temperature": 0}, "decision.temperature must be from 1e-06 to 1e[+]06, not 0"),
        ({"temperature": -1}, "decision.temperature must be from 1e-06 to 1e[+]06, not -1"),
        ({"temperature": math.inf}, "decision.temperature must be from 1e-06 to 1e[+]06, not inf"),
        ({"temperature": math.nan}, "decision.temperature must be from 1e-06 to 1e[+]06, not nan"),
    ],
)
def test_a_policy_out_of_range_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DecisionPolicy.from_dict(values)


def test_a_threshold_of_a_label_that_is_not_there_is_refused() -> None:
    policy = DecisionPolicy(label_thresholds={"d": 0.5})
    with pytest.raises(ValueError, match="names 'd', which is no label"):
        decide(np.zeros(3), LABELS, policy)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="treshold"):
        DecisionPolicy.from_dict({"treshold": 0.5})


@given(st.floats(0, 1), st.floats(1e-3, 1e3))
def test_a_policy_survives_json(threshold: float, temperature: float) -> None:
    policy = DecisionPolicy(
        threshold=threshold, temperature=temperature, label_thresholds={"a": threshold}
    )
    assert DecisionPolicy.from_dict(json.loads(json.dumps(policy.to_dict()))) == policy
