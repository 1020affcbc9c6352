"""A lock is held by one process at a time, and by none that has died."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

import pytest

from leansight.runtime.errors import DataError
from leansight.sdk.system import locks
from leansight.sdk.system.locks import exclusive, locked, try_lock

HOLDER = """
import os, sys, time
from pathlib import Path
from leansight.sdk.system.locks import locked, try_lock

def hold():
    if not os.fork():  # as a training forks those that read its images
        print(os.getpid(), flush=True)
    time.sleep(600)

if sys.argv[2] == "waiting":
    with locked(Path(sys.argv[1])):
        hold()
else:
    lock = try_lock(Path(sys.argv[1]))
    hold()
"""


@contextmanager
def holding(file: Path, how: str = "waiting") -> Iterator[subprocess.Popen[str]]:
    """Hold the file in a process that has forked another."""
    command = [sys.executable, "-c", HOLDER, str(file), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        reader = int(process.stdout.readline())
        try:
            yield process
        finally:
            process.kill()
            os.kill(reader, signal.SIGKILL)


@pytest.mark.skipif(sys.platform == "win32", reason="flock and fork are Unix's")
@pytest.mark.parametrize("how", ["waiting", "trying"])
def test_a_killed_process_gives_a_lock_back_though_its_readers_live(
    tmp_path: Path, how: str
) -> None:
    file = tmp_path / "locks" / "a.lock"
    with holding(file, how) as process:
        assert try_lock(file) is None
        process.kill()
        process.wait()
        lock = try_lock(file)
        assert lock is not None
        lock.close()


def test_who_waits_has_the_lock_when_it_is_let_go(tmp_path: Path) -> None:
    file, order = tmp_path / "a.lock", ["first"]

    def wait() -> None:
        with locked(file):
            order.append("second")

    with locked(file):
        waiting = threading.Thread(target=wait)
        waiting.start()
        waiting.join(0.2)
        assert order == ["first"]
    waiting.join(60)
    assert order == ["first", "second"]


def test_a_folder_in_use_is_refused_and_nothing_of_the_lock_is_left(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with exclusive(out / "run.lock"):
        with (
            pytest.raises(DataError, match=r"out is in use: another process works there"),
            exclusive(out / "run.lock"),
        ):
            pass
        assert try_lock(out / "run.lock") is None
    assert not out.exists()
    with exclusive(out / "run.lock"):
        (out / "start.json").touch()
    assert [path.name for path in out.iterdir()] == ["start.json"]


def test_a_lock_that_is_removed_while_it_is_taken_is_not_held_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, flock = tmp_path / "out" / "run.lock", fcntl.flock
    removed: list[Path] = []

    def remove_first(held: TextIOWrapper, how: int) -> None:
        if not removed:
            removed.append(file)
            file.unlink()  # as its holder does, who then lets go
            file.parent.rmdir()
        flock(held, how)

    monkeypatch.setattr(locks.fcntl, "flock", remove_first)
    with exclusive(file):
        monkeypatch.undo()
        assert removed
        assert try_lock(file) is None
