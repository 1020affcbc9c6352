"""tests/pi/compare.py finds what two machines say differently, and nothing else."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).with_name("compare.py")
Write = Callable[..., str]


@pytest.fixture(scope="module")
def compare() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pi_compare", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_lines(name: str, *answers: dict[str, Any]) -> str:
        file = tmp_path / f"{name}.jsonl"
        file.write_text("".join(json.dumps(answer) + "\n" for answer in answers))
        return f"{name}={file}"

    return write_lines


def answer(path: str = "photos/a.png", **changes: object) -> dict[str, Any]:
    sure = {"path": path, "label": "stop", "score": 0.9, "status": "sure", "top": [["stop", 0.9]]}
    return {**sure, **changes}


def test_equal_answers_pass_with_a_row_for_each_image(
    compare: ModuleType, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [answer("photos/a.png"), answer("photos/b.png", label="yield", score=0.75)]
    assert compare.main([write("host", *lines), write("Pi 4", *lines), write("Pi 5", *lines)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "image  host         Pi 4         Pi 5",
        "a.png  stop 0.900   stop 0.900   stop 0.900",
        "b.png  yield 0.750  yield 0.750  yield 0.750",
    ]
    assert err == ""


def test_the_order_of_lines_does_not_matter(compare: ModuleType, write: Write) -> None:
    a, b = answer("a.png"), answer("b.png", label="yield")
    assert compare.main([write("host", a, b), write("pi", b, a)]) == 0


@pytest.mark.parametrize("score", [0.8801, 0.9, 0.9199])
def test_a_score_within_the_tolerance_passes(
    compare: ModuleType, write: Write, score: float
) -> None:
    assert compare.main([write("host", answer()), write("pi", answer(score=score))]) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "yield"}, "a.png: pi label yield, not stop"),
        ({"label": None}, "a.png: pi label -, not stop"),
        ({"status": "not sure"}, "a.png: pi status 'not sure', not 'sure'"),
        ({"score": 0.8799}, "a.png: pi score 0.8799, not 0.9000 ± 0.02"),
        ({"score": 0.93}, "a.png: pi score 0.9300, not 0.9000 ± 0.02"),
        ({"score": float("nan")}, "a.png: pi score nan, not 0.9000 ± 0.02"),
    ],
)
def test_a_difference_fails_and_is_named(
    compare: ModuleType,
    write: Write,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    message: str,
) -> None:
    assert compare.main([write("host", answer()), write("pi", answer(**changes))]) == 1
    assert capsys.readouterr().err == f"compare: {message}\n"


def test_only_the_machine_that_differs_is_named(
    compare: ModuleType, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [write("host", answer()), write("Pi 4", answer()), write("Pi 5", answer(label="x"))]
    assert compare.main(files) == 1
    assert capsys.readouterr().err == "compare: a.png: Pi 5 label x, not stop\n"


def test_a_smaller_tolerance_can_be_asked_for(compare: ModuleType, write: Write) -> None:
    files = [write("host", answer()), write("pi", answer(score=0.899))]
    assert compare.main([*files, "--tolerance", "0"]) == 1


def test_null_labels_on_both_sides_are_equal(
    compare: ModuleType, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    unsure = answer(label=None, score=0.4, status="not sure")
    assert compare.main([write("host", unsure), write("pi", unsure)]) == 0
    assert "a.png  - 0.400  - 0.400" in capsys.readouterr().out


def test_an_image_without_an_answer_fails_on_either_side(
    compare: ModuleType, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    both, one = [answer("a.png"), answer("b.png")], [answer("a.png")]
    assert compare.main([write("host", *both), write("pi", *one)]) == 1
    out, err = capsys.readouterr()
    assert err == "compare: b.png: pi has no answer\n"
    assert "b.png  stop 0.900  missing" in out
    assert compare.main([write("host", *one), write("pi", *both)]) == 1
    assert capsys.readouterr().err == "compare: b.png: pi has an answer that the first lacks\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no answers"),
        ("Traceback\n", "line 1: no answer of classify: 'Traceback'"),
        ('{"path": "a.png"}\n', "line 1: no answer of classify"),
        ("[1]\n", "line 1: no answer of classify"),
        (2 * (json.dumps(answer("a.png")) + "\n"), "line 2: a.png occurs twice"),
    ],
)
def test_a_file_that_holds_no_answers_is_an_error_of_its_own(
    compare: ModuleType, tmp_path: Path, text: str, message: str
) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text(text)
    with pytest.raises(ValueError, match=message):
        compare.read_answers(bad)


def test_a_bad_file_ends_in_one_line_and_exit_code_2(
    compare: ModuleType, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.touch()
    assert compare.main([write("host", answer()), f"pi={bad}"]) == 2
    assert capsys.readouterr().err == f"compare: {bad} holds no answers\n"


def test_a_missing_file_is_an_error_of_its_own(
    compare: ModuleType, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main([write("host", answer()), "pi=nowhere.jsonl"]) == 2
    assert "nowhere.jsonl" in capsys.readouterr().err
