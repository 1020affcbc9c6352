import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from doubles.stream_results import event, seen, unlabelled

from leansight.runtime.service.json_lines import JsonLines, to_line
from leansight.runtime.stream.drift import Drift

WRITE_TO_A_PIPE_THAT_NOBODY_READS = """
import sys
sys.path.insert(0, sys.argv[1])
from doubles.stream_results import seen
from leansight.runtime.service.json_lines import JsonLines
lines = JsonLines(waits=lambda: False)
for number in range(3000):
    lines.write(seen(at_s=number))
print(lines.trouble, file=sys.stderr)
"""
HELPERS = Path(__file__).parents[2] / "helpers"


def test_a_line_has_everything_that_is_known_of_a_frame() -> None:
    values = json.loads(to_line(seen("stop", at_s=0.5, events=(event(),))))
    assert values == {
        "state": "running",
        "time": 1000.5,
        "monotonic": 0.5,
        "damaged": 0,
        "frame": 5,
        "age_ms": 4.0,
        "inference_ms": 3.0,
        "label": "stop",
        "score": 0.98,
        "status": "sure",
        "top": [["stop", 0.98]],
        "events": [
            {
                "number": 1,
                "label": "stop",
                "start": 1000.0,
                "end": None,
                "score": 0.98,
                "frames": 3,
            }
        ],
    }


def test_a_line_has_the_figures_of_drift_while_there_is_a_warning() -> None:
    drift = Drift(
        samples=360,
        not_sure=0.5,
        brightness=20.0,
        contrast=9.0,
        events=0,
        psi=None,
        warnings=("less brightness than the validation images have: 20, not 60 to 190",),
    )
    warned = json.loads(to_line(replace(seen(), drift=drift)))
    assert warned["drift"] == {**asdict(drift), "warnings": list(drift.warnings)}
    assert "drift" not in json.loads(to_line(replace(seen(), drift=replace(drift, warnings=()))))


def test_without_a_frame_a_line_says_why() -> None:
    values = json.loads(to_line(unlabelled("stale", "no frame for 2 s", at_s=2)))
    assert values == {
        "state": "stale",
        "reason": "no frame for 2 s",
        "time": 1002,
        "monotonic": 2,
        "damaged": 0,
    }


def test_what_a_slow_reader_cannot_take_is_left_out_and_said_by_whole_lines() -> None:
    command = [sys.executable, "-c", WRITE_TO_A_PIPE_THAT_NOBODY_READS, str(HELPERS)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stderr is not None
        assert program.stdout is not None
        assert program.stderr.readline() == (
            "the reader of standard output is too slow: lines are left out\n"
        )
        times = [json.loads(line)["monotonic"] for line in program.stdout]
    assert times == list(range(len(times)))
    assert 10 < len(times) < 3000


def test_a_slow_reader_of_a_file_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe holds 64 KiB, some 400 lines; nothing is left out of 1000."""
    reading, writing = os.pipe()
    received: list[str] = []

    def read() -> None:
        with os.fdopen(reading) as file:
            received.extend(file)

    reader = threading.Timer(0.2, read)
    reader.start()
    with os.fdopen(writing, "w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        lines = JsonLines(waits=lambda: True)
        for number in range(1000):
            lines.write(seen(at_s=number))
    reader.join()
    assert [json.loads(line)["monotonic"] for line in received] == list(range(1000))
    assert lines.trouble == ""
