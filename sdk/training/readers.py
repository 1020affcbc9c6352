"""The processes that read and augment the images of a training (a DataLoader's workers)."""

import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing import current_process
from multiprocessing.reduction import DupFd
from multiprocessing.util import Finalize
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from leansight.runtime.system.parent import end_with
from leansight.runtime.system.whole_files import scratch_folder
from leansight.sdk.system.isolated_process import READERS_START
from leansight.sdk.training.errors import ReaderError

# What torch says of a reader that has ended, and of an error that one has raised.
_KILLED: Final = re.compile(r"DataLoader worker .*is killed by signal: ([^.]+)\.")
_CODE: Final = re.compile(r"DataLoader worker .*exited unexpectedly with exit code (\d+)")
_ENDED: Final = re.compile(r"DataLoader worker .*exited unexpectedly")
_CAUGHT: Final = re.compile(r"Caught \w+ in DataLoader worker process.*\[Errno (\d+)\]", re.DOTALL)
_NO_SHARED_MEMORY: Final = re.compile(r"</torch_\S*>: (No space left|Cannot allocate)")
# What the training and a reader meet with where the other was to take part, and was no more.
_HUNG_UP: Final = (ConnectionResetError, ConnectionRefusedError, BrokenPipeError, EOFError)
_HINTS: Final[Mapping[signal.Signals, str]] = {
    signal.SIGKILL: " (not enough memory?)",
    signal.SIGBUS: " (is /dev/shm full?)",
}


# A socket's name has 103 bytes at most; this leaves room for our folder and multiprocessing's name.
_LONGEST_FOLDER: Final = 61


_FIRST: Final = 1000  # of what multiprocessing does as a process ends


@contextmanager
def readers() -> Iterator[None]:
    """Give the readers that are started here a folder for their sockets, and tell how they fail.

    Raises:
        ReaderError: one was killed, or has crashed.
        OSError: one has met with an error of the disk, or cannot be started.

    """
    try:  # around all: torch raises wherever the training is when it hears of a reader's death
        with scratch_folder(_short_folder()) as folder, _sockets_in(folder):
            yield
    except (RuntimeError, OSError, EOFError) as error:
        cause = _cause(error)
        if cause is error:
            raise
        raise cause from error


def reader_options(workers: int) -> dict[str, Any]:
    """Return what a DataLoader is told of `workers` processes that read for it (0: its own)."""
    return {
        "num_workers": workers,
        "multiprocessing_context": READERS_START if workers else None,
        "worker_init_fn": partial(_start_reader, parent=os.getpid()) if workers else None,
    }


@contextmanager
def _sockets_in(folder: Path) -> Iterator[None]:
    """Let processes that are started here share one folder.

    Each would make one of its own, leave it where it is killed, and print a traceback where it
    cannot remove it.
    """
    config = current_process()._config  # type: ignore[attr-defined]  # noqa: SLF001 -- where get_temp_dir() looks
    before = config.get("tempdir")
    config["tempdir"] = str(folder)
    try:
        yield
    finally:
        config["tempdir"] = before


def _short_folder() -> Path:
    """Return where temporary files belong, or /tmp where no socket could have its name in there."""
    folder = tempfile.gettempdir()
    return Path(folder if len(os.fsencode(folder)) <= _LONGEST_FOLDER else "/tmp")  # noqa: S108


def _start_reader(worker: int, parent: int) -> None:
    """Leave the cores, and Ctrl-C, to the training; make the socket that pictures are sent by.

    It ends with the training, its `parent`: torch's own watch begins after this, and where the
    training was killed before, that takes process 1 for the parent and never ends.

    Images are small, and OpenCV's threads would wait for each other. A reader that Ctrl-C ends
    while it holds a lock of the queue would leave the training to wait for that lock. Without a
    socket it would send nothing, and nobody would know why: an error here ends the training. What
    it cannot remove at its end goes with the folder.
    """
    del worker
    if not end_with(parent):
        os._exit(0)
    import cv2

    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Path(os.devnull).open() as file:
        DupFd(file.fileno())
    Finalize(None, _print_nothing, exitpriority=_FIRST)
    sys.excepthook = _print_unless_hung_up


def _print_nothing() -> None:
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 -- until the process ends


def _print_unless_hung_up(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print an error of a reader's thread; none of a training that stopped as it took a picture."""
    if not isinstance(error, _HUNG_UP):
        sys.__excepthook__(kind, error, trace)


def _cause(error: BaseException) -> BaseException:
    """Return what has ended the reading: Lightning's own end may fail after it, and hide it."""
    chain = [error]
    while (earlier := chain[-1].__context__) is not None:
        chain.append(earlier)
    for link in chain:
        if isinstance(link, RuntimeError) and (told := _told(str(link))):
            return ReaderError(told)
    if any(isinstance(link, _HUNG_UP) for link in chain):
        return ReaderError(_line("has died" + _HINTS[signal.SIGKILL]))
    for link in chain:
        if isinstance(link, OSError):
            return _here(link)
    return error


def _told(said: str) -> str:
    """Return the line to tell of what torch says, "" where no reader has ended."""
    if _NO_SHARED_MEMORY.search(said):
        return "the shared memory by which readers hand pictures over is full: use 0 `workers`"
    if killed := _KILLED.search(said):
        number = next((s for s in signal.Signals if signal.strsignal(s) == killed[1]), None)
        how = f"was killed by {number.name if number else killed[1]}"
        how += _HINTS.get(number, "") if number else ""
    elif code := _CODE.search(said):
        how = f"ended with code {code[1]}"
    elif _ENDED.search(said):
        how = "has died" + _HINTS[signal.SIGKILL]
    else:
        return ""
    return _line(how)


def _line(how: str) -> str:
    return f"a process that reads images {how}: use fewer `workers`, or end other programs"


def _here(error: OSError) -> OSError:
    """Return an error of a reader as if it had happened here: without the reader's traceback."""
    caught = _CAUGHT.search(str(error))
    return error if caught is None else OSError(int(caught[1]), os.strerror(int(caught[1])))
