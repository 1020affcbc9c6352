"""Processes that read images: one that dies is told in a line, and none leaves a folder behind."""

import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_sharer
from pathlib import Path

import pytest
import torch
from hostile.faults import run
from hostile.system_calls import needs_strace
from torch.utils.data import DataLoader, Dataset

from leansight.sdk.training.errors import ReaderError
from leansight.sdk.training.readers import reader_options, readers


class Images(Dataset[torch.Tensor]):
    """Twelve pictures; before the tenth is read, `before_the_tenth` is called in the reader."""

    def __init__(self, before_the_tenth: Callable[[], object] = lambda: None) -> None:
        self._before_the_tenth = before_the_tenth

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> torch.Tensor:
        if index == 10:
            self._before_the_tenth()
        return torch.full((3, 8, 8), index, dtype=torch.uint8)


def read(images: Images) -> list[int]:
    with readers():
        batches: DataLoader[torch.Tensor] = DataLoader(images, 1, **reader_options(1))
        return [int(batch[0, 0, 0, 0]) for batch in batches]


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, a new one whose name is short enough for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp") as above:
        folder = Path(above) / "work" / "tmp"
        folder.mkdir(parents=True)
        monkeypatch.setattr("tempfile.tempdir", str(folder))
        yield folder


def said_of(images: Images, temporary: Path, inject: str | None = None) -> str:
    """Return what a fork of this process says that reads them: nothing of torch's stays here."""

    def work() -> None:
        try:
            said = str(read(images))
        except (ReaderError, OSError) as error:
            said = f"{type(error).__name__}: {error}"
        sys.stdout.write(f"{said}\n")

    ended = run(work, temporary.parents[1], inject=inject)
    assert ended.code == 0, ended.said
    return ended.said


def signal_oneself(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def raise_full_disk() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@needs_strace
@pytest.mark.parametrize(
    ("last_act", "told"),
    [
        (signal_oneself(signal.SIGKILL), "was killed by SIGKILL (not enough memory?)"),
        (signal_oneself(signal.SIGTERM), "was killed by SIGTERM"),
        (lambda: os._exit(3), "ended with code 3"),
    ],
)
def test_a_reader_that_dies_is_told_in_a_line(
    last_act: Callable[[], None], told: str, temporary: Path
) -> None:
    # torch may find it dead before it hears of its death, and then knows no more.
    begins = {
        f"a process that reads images {how}" for how in (told, "has died (not enough memory?)")
    }
    said = said_of(Images(last_act), temporary).removeprefix("ReaderError: ")
    assert said in {f"{begin}: use fewer `workers`, or end other programs\n" for begin in begins}


@needs_strace
def test_an_error_of_the_disk_in_a_reader_is_told_as_one_here(temporary: Path) -> None:
    said = said_of(Images(raise_full_disk), temporary)
    assert said == "OSError: [Errno 28] No space left on device\n"


ALL = f"{[*range(12)]}\n"


@needs_strace
@pytest.mark.parametrize("call", ["rmdir", "unlinkat"])
def test_a_folder_that_cannot_be_removed_is_no_traceback(temporary: Path, call: str) -> None:
    assert said_of(Images(), temporary, inject=f"{call}:error=EIO") == ALL


def hang_up() -> None:
    """Do what a training does that is stopped as it takes a picture: connect, and say nothing."""
    address = resource_sharer._resource_sharer._address  # type: ignore[attr-defined]  # noqa: SLF001
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
    time.sleep(0.3)  # until the reader has noticed


@needs_strace
def test_a_training_that_hangs_up_is_no_traceback_of_a_reader(temporary: Path) -> None:
    assert said_of(Images(hang_up), temporary) == ALL


@needs_strace
@pytest.mark.parametrize("call", ["bind", "mkdir"])
def test_a_disk_too_full_for_a_socket_ends_the_reading(temporary: Path, call: str) -> None:
    """It would wait for ever, for a reader that cannot send."""
    said = said_of(Images(), temporary, inject=f"{call}:error=ENOSPC")
    assert said.startswith("OSError: [Errno 28] No space left")


@needs_strace
def test_a_folder_with_a_name_too_long_for_sockets_is_no_obstacle(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = temporary / ("long" * 20)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    assert said_of(Images(), temporary) == ALL


@needs_strace
def test_readers_leave_nothing_nor_does_one_that_was_killed_with_its_training(
    temporary: Path,
) -> None:
    def killed() -> None:
        with readers():
            batches: DataLoader[torch.Tensor] = DataLoader(Images(), 1, **reader_options(1))
            next(iter(batches))
            os.kill(os.getpid(), signal.SIGKILL)

    assert run(killed, temporary.parents[1]).code == -signal.SIGKILL
    assert len(list(temporary.iterdir())) == 1
    assert said_of(Images(), temporary) == ALL
    assert not list(temporary.iterdir())


ORPHAN = """
import os, signal, sys, time
from leansight.sdk.training.readers import reader_options

start = reader_options(1)["worker_init_fn"]
if os.fork() == 0:  # as a DataLoader does
    time.sleep(float(sys.argv[1]))
    start(0)
    time.sleep(60)
time.sleep(float(sys.argv[2]))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
@pytest.mark.parametrize(("reader_s", "training_s"), [(2, 0), (0, 2)])
def test_a_reader_ends_with_a_training_that_is_killed(reader_s: float, training_s: float) -> None:
    """Killed before the reader has begun, or after: its end of the pipe is closed at once."""
    words = [sys.executable, "-c", ORPHAN, str(reader_s), str(training_s)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as killed:
        said, _ = killed.communicate(timeout=40)
    assert (said, killed.returncode) == (b"", -signal.SIGKILL)
