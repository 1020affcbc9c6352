import json
from pathlib import Path

import pytest
from instructions import main, verdicts

from leansight.benchmarks.emulation.marks import read_marks

PACKAGES = '{"numpy": "2.4.6"}'
# Where each mark of a frame lies. A mark costs 10: preprocessing 400, inference 900, the rest 50.
FRAME = (0, 10, 420, 1330, 2690)


def lines(*frames: tuple[int, ...], packages: str = PACKAGES) -> str:
    """Frames one after the other, a thousand instructions apart, with lines of others."""
    text, start = ["INFO: Created delegate", packages], 5_000
    for frame in frames:
        text += [f"instructions {number} {start + at}" for number, at in enumerate(frame)]
        start += frame[-1] + 1_000
    return "\n".join([*text, "qemu: a word", ""])


def test_the_steps_are_the_least_of_all_frames_without_their_marks() -> None:
    first = (0, 99, 9_000, 10_000, 90_000)
    packages, steps = read_marks(lines(first, FRAME, FRAME))
    assert packages == {"numpy": "2.4.6"}
    assert steps == {"preprocessing": 400, "inference": 900, "rest": 50}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no whole frames"),
        (lines(FRAME, FRAME[:3]), "no whole frames"),
        (lines(FRAME, packages=""), "no whole frames"),
        (lines(FRAME[1:]).replace("instructions 0 ", "instructions 1 "), "mark 1 came out of turn"),
    ],
)
def test_lines_without_whole_frames_are_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_marks(text)


def test_two_hundredths_are_the_same() -> None:
    recorded = {"a": 1000, "b": 1000, "c": 1000, "d": 1000}
    counted = {"a": 1020, "b": 1021, "c": 980, "d": 979, "e": 1}
    found = {"a": "same", "b": "MORE", "c": "same", "d": "less", "e": "new"}
    assert verdicts(recorded, counted) == found


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A record of FRAME as "tiny", written by the command."""
    (tmp_path / "lines").write_text(lines(FRAME))
    path = tmp_path / "record.json"
    argv = ["--recorded", str(path), "--record", f"tiny={tmp_path / 'lines'}"]
    assert main(argv) == 0
    assert json.loads(path.read_text()) == {
        "tiny": {
            "packages": {"numpy": "2.4.6"},
            "steps": {"preprocessing": 400, "inference": 900, "rest": 50},
        }
    }
    return path


@pytest.mark.parametrize(
    ("inference", "code", "said"),
    [
        (900, 0, ""),
        (919, 1, "tiny: inference 0.001 million (0.001 recorded): MORE"),
        (881, 0, "record it"),
    ],
)
def test_more_than_recorded_is_a_failure_and_less_a_hint(
    record: Path, capsys: pytest.CaptureFixture[str], inference: int, code: int, said: str
) -> None:
    more = inference - 900
    file = record.with_name("now")
    file.write_text(lines((0, 10, 420, 1330 + more, 2690 + 2 * more)))
    capsys.readouterr()
    assert main(["--recorded", str(record), f"tiny={file}"]) == code
    printed = capsys.readouterr()
    assert said in printed.out + printed.err
    assert printed.out.count(": same") == (3 if not more else 2)


def test_other_versions_are_named(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = record.with_name("now")
    file.write_text(lines(FRAME, packages='{"numpy": "3.0"}'))
    assert main(["--recorded", str(record), f"tiny={file}"]) == 0
    assert "recorded with {'numpy': '2.4.6'}, not {'numpy': '3.0'}" in capsys.readouterr().err


def test_a_file_of_no_use_is_no_measurement(
    record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = record.with_name("now")
    file.write_text("Illegal instruction\n")
    assert main(["--recorded", str(record), f"tiny={file}"]) == 2
    assert "no whole frames" in capsys.readouterr().err
