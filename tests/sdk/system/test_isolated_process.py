import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from leansight.runtime.errors import DataError, LeansightError, MissingExtraError
from leansight.runtime.extras import require
from leansight.sdk.pruning.target import PruningTarget
from leansight.sdk.system.isolated_process import how_it_ended, run_in_own_process


def died(code: int) -> LeansightError:
    return LeansightError(how_it_ended(code))


@pytest.mark.parametrize(
    ("work", "kind", "message"),
    [
        (
            partial(PruningTarget, kind="share", value=0.5, on="pi"),
            DataError,
            "a machine is for the latency",
        ),
        (
            partial(require, "gone", package="Gone", extra="x"),
            MissingExtraError,
            r"Gone is not .*\[x\]'$",
        ),
        (partial(os.stat, "/nowhere"), FileNotFoundError, "No such file or directory: '/nowhere'$"),
        (partial(os._exit, 3), LeansightError, "its process ended with code 3$"),
        (
            partial(signal.raise_signal, signal.SIGKILL),
            LeansightError,
            r"killed by SIGKILL \(not en",
        ),
    ],
)
def test_what_ends_a_process_is_raised_here(
    work: Callable[[], object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as raised:
        run_in_own_process(work, died=died)
    assert type(raised.value) is kind


def test_an_error_of_the_system_keeps_its_number_and_its_files() -> None:
    with pytest.raises(FileNotFoundError, match="No such file") as raised:
        run_in_own_process(partial(os.rename, "/nowhere", "/nowhere/else"), died=died)
    assert raised.value.errno == errno.ENOENT
    assert (raised.value.filename, raised.value.filename2) == ("/nowhere", "/nowhere/else")


@pytest.mark.parametrize(
    ("error", "parameter"),
    [
        ("DataError('no such folder', parameter='out')", "out"),
        ("SourceError('no such camera', parameter='source')", "source"),  # an OSError as well
        ("MissingExtraError('Gone', 'x')", None),
    ],
)
def test_the_parameter_to_blame_is_known_outside_of_the_process(
    error: str, parameter: str | None
) -> None:
    work = partial(exec, f"from leansight.runtime.errors import *\nraise {error}")
    with pytest.raises(LeansightError) as raised:
        run_in_own_process(work, died=died)
    assert raised.value.parameter == parameter


INTERRUPTED = """
import subprocess, sys
from functools import partial
from leansight.sdk.system.isolated_process import run_in_own_process
try:
    wait = ["sh", "-c", "echo $PPID $$ > pids.part; mv pids.part pids; exec sleep 100"]
    run_in_own_process(partial(subprocess.run, wait), died=SystemExit)
except KeyboardInterrupt:
    print("stopped")
"""


def test_ctrl_c_ends_both_processes_and_what_they_have_started(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + 60
        while not (tmp_path / "pids").exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.communicate(timeout=60) == ("stopped\n", "")
    finally:
        process.kill()
        process.wait()
    for pid in (tmp_path / "pids").read_text().split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
