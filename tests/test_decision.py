import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leansight.runtime.decision import DecisionPolicy, Prediction, decide, softmax

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


# Errors


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_finite_number_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        decide(np.array([0, bad, 1], np.float32), LABELS, DecisionPolicy())


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
        ({"temperature": 0}, "decision.temperature must be above 0, not 0"),
        ({"temperature": -1}, "decision.temperature must be above 0, not -1"),
        ({"temperature": math.inf}, "decision.temperature must be above 0, not inf"),
        ({"temperature": math.nan}, "decision.temperature must be above 0, not nan"),
    ],
)
def test_a_policy_out_of_range_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DecisionPolicy.from_dict(values)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="treshold"):
        DecisionPolicy.from_dict({"treshold": 0.5})


@given(st.floats(0, 1), st.floats(1e-3, 1e3))
def test_a_policy_survives_json(threshold: float, temperature: float) -> None:
    policy = DecisionPolicy(threshold=threshold, temperature=temperature)
    assert DecisionPolicy.from_dict(json.loads(json.dumps(policy.to_dict()))) == policy
