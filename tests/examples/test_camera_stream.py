import itertools
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

EXAMPLE = Path(__file__).parents[2] / "examples" / "camera_stream.py"


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 2
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before


KEYS = ["frame", "label", "score", "status", "top"]


def test_the_example_labels_every_frame_of_a_video(tiny_bundle: Path, video: Path) -> None:
    command = [sys.executable, EXAMPLE, tiny_bundle, "--source", video]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["frame"] for line in lines] == list(range(12))
    # Some show nothing: they get a state and no label.
    assert {tuple(line) for line in lines if "state" not in line} == {tuple(KEYS)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_the_example_in_good_order(tiny_bundle: Path, number: int) -> None:
    with MotionJpegServer(float("inf")) as server:
        # A shell that runs the tests in the background has SIGINT ignored, and so would we.
        command = ["env", "--default-signal=INT", sys.executable, str(EXAMPLE), str(tiny_bundle)]
        with subprocess.Popen(
            [*command, "--source", server.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout
            lines = (json.loads(line) for line in process.stdout)
            seen = list(itertools.islice((line for line in lines if "frame" in line), 5))
            process.send_signal(number)
            _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in errors
    numbers = [line["frame"] for line in seen]
    assert numbers == sorted(set(numbers))


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
