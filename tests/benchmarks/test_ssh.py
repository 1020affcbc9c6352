"""What another machine says is read to its end, and kept up to a limit."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from doubles.far_machine import executable, ssh_to_here

from leansight.benchmarks.ssh import RemoteLog, RemotePython, kill


@pytest.fixture
def python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RemotePython:
    ssh_to_here(monkeypatch, tmp_path)
    return RemotePython("far", sys.executable)


def test_of_endless_words_the_beginning_is_kept_and_the_rest_does_not_block(
    python: RemotePython,
) -> None:
    log = RemoteLog()
    words = ["-c", "import os; [os.write(2, b'begin' + b'y' * 99_994 + b'\\n') for _ in range(20)]"]
    process = python.start(words, stdin=subprocess.DEVNULL, log=log)
    assert process.communicate(timeout=60) == (b"", None)
    assert process.returncode == 0  # it could say all of it
    (line,) = log.lines()
    assert line == ("begin" + "y" * 99_994)[:65_536]


def test_words_are_read_although_another_process_holds_the_pipe(python: RemotePython) -> None:
    """An ssh that keeps a connection for others, by ControlPersist, leaves one behind."""
    log = RemoteLog()
    there = "sleep 100 >/dev/null & echo that is it >&2"
    process = python.start_command(there, stdin=subprocess.DEVNULL, log=log)
    assert process.communicate(timeout=60) == (b"", None)
    begun = time.monotonic()
    assert log.lines() == ["that is it"]
    assert time.monotonic() - begun < 50  # it sleeps 100
    os.killpg(process.pid, 9)


def test_what_an_ssh_has_started_is_killed_with_it(tmp_path: Path) -> None:
    script = executable(tmp_path / "ssh", "sleep 100 & echo it sleeps; wait")
    process = subprocess.Popen([script], stdout=subprocess.PIPE, process_group=0)
    assert process.stdout is not None
    assert process.stdout.readline() == b"it sleeps\n"
    kill(process)
    assert process.communicate(timeout=50)[0] == b""  # nobody holds the pipe
    kill(process)  # of one that has gone, nothing is said
