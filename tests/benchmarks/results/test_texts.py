import csv
import io
from dataclasses import replace

from doubles.benchmarks import STATE, a_benchmark, a_result

from leansight.benchmarks.results.result import Failure
from leansight.benchmarks.results.texts import csv_text, markdown_text


def test_csv_has_a_line_for_each_model_and_columns_named_as_in_json() -> None:
    found = a_benchmark(a_result("a,b", 4.0), a_result("c", 1.0, counts={"cycles": 7.0}))
    first, second = csv.DictReader(io.StringIO(csv_text(found)))
    assert (first["name"], second["name"]) == ("a,b", "c")
    assert float(first["latency_ms.inference.p50"]) == 4.0
    assert float(second["undisturbed_ms.low"]) == 0.99
    assert float(second["latency_ms.inference.intervals.p50.high"]) == 9
    assert (first["counts.cycles"], second["counts.cycles"]) == ("", "7.0")


def test_markdown_is_a_table_with_what_has_to_be_known() -> None:
    failure = Failure(name="bad", format="onnx", reason="out of luck")
    text = markdown_text(a_benchmark(a_result("a|b", 4.0), a_result("c", 1.0), failures=[failure]))
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 4
    assert len({line.replace(r"\|", "").count("|") for line in table}) == 1
    assert r"a\|b (tflite), int8" in text
    assert "- c (tflite) is faster than a|b (tflite): 4 times (3.96 to 4.04)." in text
    assert "- bad (onnx) failed: out of luck." in text
    assert "accuracy" not in text


def test_markdown_says_first_that_a_run_is_invalid() -> None:
    states = (STATE, replace(STATE, throttled_bits=1))
    lines = markdown_text(a_benchmark(a_result("a", 1.0), states=states)).splitlines()
    first = next(line for line in lines if line.startswith("- "))
    assert first.startswith("- **INVALID: the board was throttled")
