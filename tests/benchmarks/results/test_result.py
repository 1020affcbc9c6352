import json
from dataclasses import replace

import pytest
from doubles.benchmarks import STATE, a_benchmark, a_result

from leansight.benchmarks.results.estimates import Estimate
from leansight.benchmarks.results.result import Comparison, Failure, Work, titles


@pytest.mark.parametrize(
    ("low", "high", "faster"),
    [(1.01, 1.2, 3), (0.8, 0.99, 7), (0.9, 1.1, None), (1.0, 1.2, None), (None, None, None)],
)
def test_one_is_faster_only_where_the_interval_excludes_equality(
    low: float | None, high: float | None, faster: int | None
) -> None:
    ratio = Estimate(value=1.0, low=low, high=high)
    assert Comparison(first=3, second=7, ratio=ratio, pairs=20).faster == faster


def test_verdicts_are_of_neighbours_in_the_ranking() -> None:
    found = a_benchmark(a_result("slow", 8.0), a_result("fast", 2.0), a_result("same", 2.01))
    assert found.ranking() == [1, 2, 0]
    assert found.verdicts() == [
        "fast (tflite) and same (tflite): no difference seen",
        "same (tflite) is faster than slow (tflite): 3.98 times (3.94 to 4.02)",
    ]


def test_an_interval_that_is_close_to_1_is_written_so_that_it_excludes_1() -> None:
    found = a_benchmark(a_result("fast", 2.0), a_result("slow", 2.026), share=0.01)
    assert found.verdicts() == [
        "fast (tflite) is faster than slow (tflite): 1.013 times (1.003 to 1.023)"
    ]


def test_without_an_interval_nothing_is_said_of_a_difference() -> None:
    found = a_benchmark(a_result("fast", 1.0), a_result("slow", 4.0))
    (pair,) = found.comparisons
    unknown = replace(pair, ratio=Estimate(value=4.0, low=None, high=None))
    assert replace(found, comparisons=(unknown,)).verdicts() == [
        "fast (tflite) and slow (tflite): too few frames to tell"
    ]


def test_all_was_measured_unless_a_file_of_ours_failed() -> None:
    good = a_benchmark(a_result("a", 1.0))
    failure = Failure(name="b", format="onnx", reason="it hangs")
    elsewhere = replace(failure, peer="openvino")  # that it does not run there is a result
    work = Work(
        name="a", format="onnx", board="pi4", core="A72", instructions={}, packages={}, failure="no"
    )
    judged = a_result("a", 1.0, accuracy_failure="no such label")
    assert good.is_complete
    assert replace(good, failures=(elsewhere,)).is_complete
    assert not replace(good, failures=(elsewhere, failure)).is_complete
    assert not replace(good, work=(work,)).is_complete
    assert not a_benchmark(judged).is_complete


def test_what_is_measured_twice_has_a_number() -> None:
    results = [a_result("a", 1), a_result("b", 1), a_result("a", 1)]
    assert titles(results) == ["a (tflite) #1", "b (tflite)", "a (tflite) #2"]


def test_a_result_file_is_json_and_says_that_it_throttled() -> None:
    hot = replace(STATE, throttled_bits=0b100, time="12:00")
    found = a_benchmark(a_result("a", 1.0), states=(STATE, hot, STATE))
    written = json.loads(json.dumps(found.to_dict()))
    assert written["throttled"] == "the board was throttled, or its voltage too low, at 12:00"
    assert written["results"][0]["undisturbed_ms"]["value"] == 1.0
    assert a_benchmark(a_result("a", 1.0)).to_dict()["throttled"] == ""
