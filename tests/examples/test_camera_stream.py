import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from streams import MotionJpegServer

from leansight.runtime.stream.camera_stream import CameraStream

EXAMPLE = Path(__file__).parents[2] / "examples" / "camera_stream.py"


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 2
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before


KEYS = ["frame", "time", "label", "score", "status", "top"]


def test_the_example_labels_every_frame_of_a_video(
    tiny_bundle: Path, video: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "labelled.mp4"
    command = [sys.executable, EXAMPLE, tiny_bundle, "--source", video, "--save", saved]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["frame"] for line in lines] == list(range(12))
    assert {tuple(line) for line in lines} == {tuple(KEYS)}
    assert frame_count(saved) == 12


def frame_count(video: Path) -> int:
    with CameraStream(str(video)) as frames:
        return sum(1 for frame in frames if frame.image.shape == (32, 128, 3))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("save", [False, True])
def test_ctrl_c_and_sigterm_end_the_example_in_good_order(
    tiny_bundle: Path, tmp_path: Path, number: int, *, save: bool
) -> None:
    saved = tmp_path / "labelled.mp4"
    with MotionJpegServer(float("inf")) as server:
        # A shell that runs the tests in the background has SIGINT ignored, and so would we.
        command = ["env", "--default-signal=INT", sys.executable, str(EXAMPLE), str(tiny_bundle)]
        command += ["--source", server.url]
        if save:
            command += ["--save", str(saved)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            assert process.stderr
            state = json.loads(process.stdout.readline())
            lines = [json.loads(process.stdout.readline()) for _ in range(5)]
            process.send_signal(number)
            rest, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert state == {"state": "running", "reason": ""}
    assert {tuple(line) for line in lines} == {tuple(KEYS)}
    numbers = [line["frame"] for line in lines]
    assert numbers == sorted(set(numbers))
    if save:
        assert abs(frame_count(saved) - 5 - len(rest.splitlines())) <= 1


@pytest.mark.parametrize("wrong", ["source", "bundle"])
def test_a_wrong_argument_ends_the_example_in_one_line(
    tiny_bundle: Path, video: Path, tmp_path: Path, wrong: str
) -> None:
    paths = {"bundle": tiny_bundle, "source": video, wrong: tmp_path / "nowhere"}
    command = [sys.executable, EXAMPLE, paths["bundle"], "--source", paths["source"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    # LiteRT's own greeting is not ours to silence.
    lines = [line for line in done.stderr.splitlines() if not line.startswith("INFO: Created")]
    assert len(lines) == 1
    assert lines[0].startswith(f"camera_stream: {tmp_path / 'nowhere'} does not exist")
