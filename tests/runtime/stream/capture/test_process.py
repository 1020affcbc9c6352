"""However a program ends, its capture process ends with it, in every state."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from programs.cameras import camera, wait_for_opening

from leansight.runtime.stream.camera_stream import CameraStream

HELPERS = Path(__file__).parents[3] / "helpers"

PROGRAM = """
import pickle, signal, sys
sys.path.insert(0, sys.argv[1])
from leansight.runtime import CameraStream
signal.signal(signal.SIGTERM, signal.default_int_handler)
# One write a line, as two threads write; print makes two.
said = lambda state, reason: (sys.stdout.write(state + "\\n"), sys.stdout.flush())
with CameraStream(pickle.loads(bytes.fromhex(sys.argv[2])), on_state=said) as frames:
    try:
        for frame in frames: pass
    except KeyboardInterrupt:
        sys.stdout.write("in order\\n")
"""


def children_of(parent: int) -> list[int]:
    """Return the numbers of the children of a process."""
    children = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(child) for file in children for child in file.read_text().split()]


def is_running(process: int) -> bool:
    """Return whether there is such a process, and it is no zombie."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_that_are_meant_for_the_program_do_not_end_its_process(
    tmp_path: Path, number: int
) -> None:
    states = []
    with CameraStream(
        camera(tmp_path, "", frames=-1), on_state=lambda state, _: states.append(state)
    ) as frames:
        first = next(iter(frames))
        (process,) = children_of(os.getpid())
        os.kill(process, number)
        time.sleep(0.2)
        assert next(iter(frames)).number > first.number
    assert states == ["running"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize(
    ("fate", "wait_s"),
    [
        ("is running", 0.2),
        ("hangs", 0.5),  # not yet noticed
        ("hangs", 2.1),  # while it is opened again
        ("is away", 0.5),
        ("does not open", 0.5),
    ],
)
def test_program_and_process_end_within_two_seconds(
    tmp_path: Path, number: int, fate: str, wait_s: float
) -> None:
    opener = pickle.dumps(camera(tmp_path, fate, frames=-1 if fate == "is running" else 5)).hex()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(HELPERS), opener],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        wait_for_opening(tmp_path)
        time.sleep(wait_s)
        processes = children_of(program.pid)
        started = time.monotonic()
        if number != signal.SIGKILL:  # as a terminal and systemd do: they reach every process
            for process in processes:
                os.kill(process, number)
        os.kill(program.pid, number)
        printed, errors = program.communicate(timeout=10)
        assert time.monotonic() - started < 2
    assert len(processes) <= 1
    while any(map(is_running, processes)) and time.monotonic() - started < 2:
        time.sleep(0.01)
    assert not any(map(is_running, processes))
    assert errors == ""
    if number != signal.SIGKILL:
        assert program.returncode == 0
        assert "in order" in printed.splitlines()
