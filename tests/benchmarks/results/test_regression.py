import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from doubles.benchmarks import FACTS, STATE, a_benchmark, a_result

from leansight.benchmarks.results.estimates import Estimate
from leansight.benchmarks.results.regression import (
    Change,
    change_lines,
    compare_results,
    read_result_file,
)
from leansight.benchmarks.results.resources import MachinePeaks
from leansight.benchmarks.results.result import Accuracy, Benchmark
from leansight.runtime.errors import DataError
from leansight.sdk.commands.bench import command


def written(found: Benchmark) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(found.to_dict()))
    return values


def verdicts(old: Benchmark, new: Benchmark) -> dict[str, str]:
    changes = compare_results(written(old), written(new), allowed=0.05)
    return {change.figure: change.verdict for change in changes}


OLD = a_benchmark(a_result("a", 2.0))


@pytest.mark.parametrize(
    ("ms", "low", "high", "verdict"),
    [
        (2.2, 2.19, 2.21, "worse"),
        (1.8, 1.79, 1.81, "better"),
        (2.08, 2.07, 2.09, "same"),  # 4 %: no more than is allowed
        (2.2, 2.0, 2.4, "same"),  # the intervals overlap
        (2.2, None, None, "same"),
    ],
)
def test_a_time_is_worse_only_where_the_intervals_show_it(
    ms: float, low: float | None, high: float | None, verdict: str
) -> None:
    time = Estimate(value=ms, low=low, high=high)
    new = a_benchmark(a_result("a", 2.0, undisturbed_ms=time))
    assert verdicts(OLD, new)["undisturbed ms"] == verdict


@pytest.mark.parametrize(
    ("ms", "peak", "verdict"),
    [
        (2.2, 61.2e9, "worse"),
        (2.2, 55.6e9, "same"),  # the machine was as much slower itself
        (3.0, 55.6e9, "worse"),
        (2.05, 70e9, "same"),  # no longer than is allowed, as it is
        (1.8, 70e9, "same"),
        (1.5, 70e9, "better"),
        (1.8, None, "better"),
    ],
)
def test_what_the_machine_itself_was_slower_or_faster_is_not_the_models(
    ms: float, peak: float | None, verdict: str
) -> None:
    speeds = {} if peak is None else {"tflite": peak}
    peaks = MachinePeaks(int8_macs_per_s=speeds, copy_bytes_per_s=None, threads=1)
    new = a_benchmark(a_result("a", ms), peaks=peaks)
    found = verdicts(OLD, new)
    assert found["undisturbed ms"] == verdict
    assert ("int8 peak (tflite)" in found) is (peak is not None)
    assert verdicts(OLD, a_benchmark(a_result("a", 2.2), peaks=None))["undisturbed ms"] == "worse"


def test_what_is_the_same_is_one_line_for_each_model_after_the_rest() -> None:
    old = a_benchmark(a_result("a", 2.0), a_result("b", 2.0))
    new = a_benchmark(a_result("a", 2.01), a_result("b", 2.0, size_bytes=9_000_000))
    changes = compare_results(written(old), written(new), allowed=0.05)
    assert change_lines(changes) == [
        "worse  b (tflite): size 545.1 KB -> 9.0 MB",
        (
            "same   a (tflite): undisturbed ms 2 -> 2.01, size 545.1 KB, MACs 258.5 M, "
            "peak RAM 41.0 MB"
        ),
        "same   b (tflite): undisturbed ms 2, MACs 258.5 M, peak RAM 41.0 MB",
        "same   the machine: int8 peak (tflite) 61.2 GMAC/s",
    ]


def test_counts_and_shares_have_verdicts_of_their_own() -> None:
    def judged(share: float) -> Accuracy:
        of = Estimate(value=share, low=share - 0.01, high=share + 0.01)
        return Accuracy(
            images=900, videos=90, accuracy=of, balanced=None, threshold=0.9, kept=of, right=of
        )

    old = a_benchmark(a_result("a", 2.0, accuracy=judged(0.95)))
    new = a_benchmark(a_result("a", 2.0, accuracy=judged(0.9), size_bytes=600_000, macs=1000))
    assert verdicts(old, new) == {
        "undisturbed ms": "same",
        "size": "worse",
        "MACs": "better",
        "peak RAM": "same",
        "accuracy": "worse",
        "share kept": "worse",
        "int8 peak (tflite)": "same",
    }


def test_a_model_that_is_gone_is_worse() -> None:
    assert verdicts(OLD, a_benchmark(a_result("b", 2.0))) == {
        "measured": "worse",
        "int8 peak (tflite)": "same",
    }


def test_times_of_two_machines_are_refused() -> None:
    elsewhere = a_benchmark(a_result("a", 2.0), facts=replace(FACTS, name="another board"))
    with pytest.raises(DataError, match=r"one was measured on a board .* on another board"):
        verdicts(OLD, elsewhere)


@pytest.mark.parametrize(
    ("figure", "old", "new", "line"),
    [
        ("undisturbed ms", 0.120839, 0.5, "worse  a: undisturbed ms 0.1208 -> 0.5"),
        ("size", 144931, 145974, "worse  a: size 144.9 KB -> 146.0 KB"),
        ("MACs", 23059776, 999, "worse  a: MACs 23.1 M -> 999"),
        ("accuracy", 0.951, 0.9, "worse  a: accuracy 95.1% -> 90.0%"),
        ("measured", 1, 0, "worse  a: was measured, and is not any more"),
    ],
)
def test_a_change_is_a_line_with_units(figure: str, old: float, new: float, line: str) -> None:
    assert str(Change(model="a", figure=figure, old=old, new=new, verdict="worse")) == line


def save(folder: Path, name: str, found: Benchmark) -> str:
    path = folder / name
    path.write_text(json.dumps(found.to_dict()))
    return str(path)


@pytest.mark.parametrize(("ms", "code", "word"), [(2.0, 0, "same"), (3.0, 1, "worse")])
def test_the_exit_code_is_for_ci(tmp_path: Path, ms: float, code: int, word: str) -> None:
    files = [
        save(tmp_path, "old.json", OLD),
        save(tmp_path, "new.json", a_benchmark(a_result("a", ms))),
    ]
    done = CliRunner().invoke(command, ["compare", *files])
    assert done.exit_code == code
    assert f"{word:<6} a (tflite): undisturbed ms 2" in done.output
    as_json = CliRunner().invoke(command, ["compare", *files, "--json"])
    assert json.loads(as_json.stdout)[0]["verdict"] == word


def test_a_run_that_throttled_and_a_file_that_is_none_are_refused(tmp_path: Path) -> None:
    hot = a_benchmark(a_result("a", 1.0), states=(STATE, replace(STATE, throttled_bits=4)))
    with pytest.raises(DataError, match=r"hot.json is worthless: the board was throttled"):
        read_result_file(Path(save(tmp_path, "hot.json", hot)))
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "text.json").write_text("model,ms")
    with pytest.raises(DataError, match=r"gone.json cannot be read: no such file or directory$"):
        read_result_file(tmp_path / "gone.json")
    with pytest.raises(DataError, match=r"text.json is no .*: name a file that it wrote$"):
        read_result_file(tmp_path / "text.json")
    for name in ("list.json", "text.json"):
        with pytest.raises(DataError, match=rf"{name} is no result file of `leansight bench"):
            read_result_file(tmp_path / name)
