import re
from dataclasses import replace

from doubles.benchmarks import STATE, a_benchmark, a_result
from rich.console import Console

from leansight.benchmarks.results.estimates import Estimate
from leansight.benchmarks.results.result import Accuracy, Benchmark, Failure
from leansight.benchmarks.results.table import tables


def shown(found: Benchmark) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(tables(found))
    return capture.get()


def test_the_table_marks_the_best_and_compares_with_the_first_row() -> None:
    text = shown(
        a_benchmark(a_result("first", 4.0), a_result("second", 1.0, size_bytes=1000, macs=2_500))
    )
    for cell in ("545.1 KB ", "1.0 KB*", "258.5 M ", "2.5 K*", "1.000*", "0.250", "a board"):
        assert cell in text
    assert "second (tflite) is faster than first (tflite): 4 times (3.96 to 4.04)." in text
    assert "200 frames each, of a generated picture" in text
    assert "Load average 0.5 to 0.5" in text
    assert "41.0 MB*" not in text  # equal in both rows


def test_one_row_has_no_marks_and_a_name_is_no_markup() -> None:
    text = shown(a_benchmark(a_result("signs [bold]", 1.0)))
    assert "signs [bold]" in text
    assert "*" not in text
    assert "Ratio" not in text


def test_the_table_says_where_memory_is_unknown() -> None:
    assert "known on Linux only" in shown(a_benchmark(a_result("a", 1.0, peak_rss_bytes=None)))


def test_instructions_have_a_column_where_they_are_counted() -> None:
    counted = a_result("a", 1.0, counts={"instructions": 8_760_000.0, "cycles": 4e6})
    assert "8.8 M" in shown(a_benchmark(counted))
    text = shown(a_benchmark(a_result("a", 1.0), counters="this machine has no counters"))
    assert "Instructions and cycles: this machine has no counters." in text


def test_frames_a_second_are_a_plain_number_however_many() -> None:
    fast, slow = a_result("a", 1.0, frames_per_s=14_560.4), a_result("b", 2.0, frames_per_s=9.871)
    text = shown(a_benchmark(fast, slow))
    assert "14,560" in text
    assert "9.87" in text


def test_usual_names_are_on_one_line_beside_all_figures() -> None:
    results = [
        a_result(f"weather-small-{n}.bundle", ms, frames_per_s=1_483.0, format="onnx")
        for n, ms in enumerate((0.1, 12.34, 2.5))
    ]
    text = shown(a_benchmark(*results))
    costs, latency, undisturbed, *_ = re.split(r"(?=\n Model)", text)[1:]
    for table in (costs, latency, undisturbed):
        assert re.search(r"^ weather-small-0.bundle ", table, re.MULTILINE)
    assert "12.34  12.22 to 12.46" in text
    assert "123.4  122.2 to 124.6" in text
    assert "25.00  24.75 to 25.25" in text


def test_a_model_that_failed_is_a_line_beside_the_others() -> None:
    failure = Failure(name="bad", format="onnx", reason="its process was killed by SIGSEGV")
    text = shown(a_benchmark(a_result("good", 1.0), failures=[failure]))
    assert "bad (onnx) failed: its process was killed by SIGSEGV" in text
    assert "good" in text


def test_a_model_that_failed_only_in_its_last_launch_is_named() -> None:
    found = a_benchmark(a_result("good", 1.0), a_result("bad", 2.0))
    assert "Arena" not in shown(found)
    first, second = found.details
    failed = replace(second, profile_failure="its process was killed by SIGSEGV")
    text = shown(replace(found, details=(first, failed)))
    said = "Arena and operations' times of bad (tflite): its process was killed by SIGSEGV."
    assert said in " ".join(text.split())


def test_the_accuracy_of_the_timed_files_has_its_intervals() -> None:
    share = Estimate(value=0.964, low=0.951, high=0.972)
    accuracy = Accuracy(
        images=2520,
        videos=90,
        accuracy=share,
        balanced=share,
        threshold=0.9,
        kept=share,
        right=share,
    )
    judged = a_result("judged", 1.0, accuracy=accuracy)
    text = shown(a_benchmark(judged, a_result("other", 1.0, accuracy_failure="no such label")))
    for part in ("96.4%", "95.1–97.2", "other (tflite), accuracy: no such label"):
        assert part in text
    # In 80 columns, beside the shares, there is room for a usual name.
    sure = Estimate(value=1.0, low=0.762, high=1.0)
    wide = replace(accuracy, accuracy=sure, balanced=sure, kept=sure, right=sure)
    name = "weather-small.bundle"
    text = shown(a_benchmark(replace(judged, name=name, accuracy=wide)))
    assert text.count(f"\n {name} ") == 4  # in each table
    assert "76.2–100.0" in text


def test_throttling_makes_the_figures_invalid() -> None:
    hot = replace(STATE, throttled_bits=0b10, time="12:00")
    text = shown(a_benchmark(a_result("a", 1.0), states=(STATE, hot)))
    assert "INVALID: the board was throttled" in text
    assert "INVALID" not in shown(a_benchmark(a_result("a", 1.0)))


def test_a_precision_that_was_not_reached_is_said() -> None:
    text = shown(a_benchmark(a_result("a", 1.0), precision_reached=False, seconds=61.0))
    assert "The precision of 2% was not reached after 61 s." in text
