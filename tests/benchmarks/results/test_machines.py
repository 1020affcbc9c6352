"""Several machines in one table: side by side, never ranked together."""

from dataclasses import replace
from io import StringIO

from doubles.benchmarks import a_benchmark, a_result
from rich.console import Console

from leansight.benchmarks.results.machines import LostMachine, MachineBenchmarks
from leansight.benchmarks.results.result import Work
from leansight.benchmarks.results.texts import markdown_text

FOUR = a_benchmark(a_result("a", 2.0, on="pi@four"), a_result("b", 4.0, on="pi@four"))
FIVE = a_benchmark(a_result("a", 1.0, on="pi@five"))
LOST = LostMachine(on="pi@six", reason="the connection was lost")


def screen(found: MachineBenchmarks) -> str:
    console = Console(file=StringIO(), width=120)
    console.print(found.shown())
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_each_machine_is_a_column_and_ranks_its_own_models() -> None:
    text = screen(MachineBenchmarks(found=(FOUR, FIVE), lost=(LOST,)))
    head, row_a, row_b = (
        next(line for line in text.splitlines() if sign in line)
        for sign in ("pi@four ", "a (tflite)", "b (tflite)")
    )
    assert head.split() == ["Model", "pi@four", "pi@five"]
    assert "2.000 (1.980 to 2.020)" in row_a
    assert "1.000 (0.990 to 1.010)" in row_a
    assert row_b.rstrip().endswith("failed")
    assert text.count("is faster than") == 1
    assert "pi@six gave no results: the connection was lost" in text


def test_a_file_of_several_has_a_list_and_of_one_is_as_ever() -> None:
    several = MachineBenchmarks(found=(FOUR, FIVE), lost=(LOST,)).to_dict()
    assert [m["results"][0]["on"] for m in several["machines"]] == ["pi@four", "pi@five"]
    assert several["lost"] == [{"on": "pi@six", "reason": "the connection was lost"}]
    assert MachineBenchmarks(found=(FOUR,)).to_dict() == FOUR.to_dict()


def test_instructions_are_called_work_wherever_they_are_shown() -> None:
    steps = {"preprocessing": 914_000, "inference": 7_100_000, "rest": 92_000}
    counted = Work(
        name="a",
        format="tflite",
        board="pi4",
        core="cortex-a72",
        instructions=steps,
        packages={"preprocessing": "leansight's C library", "numpy": "2.4"},
    )
    failed = replace(counted, board="pi5", instructions={}, packages={}, failure="out of luck")
    found = replace(FIVE, work=(counted, failed))
    text = screen(MachineBenchmarks(found=(found,)))
    assert "Instructions a frame in an emulated Pi: work, not time" in text
    assert "a (tflite) on pi5: out of luck" in text
    assert "Preprocessing in the emulated Pi: leansight's C library." in text
    markdown = markdown_text(found)
    assert "work, not time" in markdown
    assert "| a (tflite) | pi4 | 914.0 K | 7.1 M | 92.0 K |" in markdown
