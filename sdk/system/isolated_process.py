"""Work in a process of its own: errors come back as they are, and Ctrl-C ends both."""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final

from leansight.runtime.errors import LeansightError

_DIE_WITH_PARENT: Final = 1  # Linux: PR_SET_PDEATHSIG


def run_in_own_process(
    work: Callable[[], object], *, died: Callable[[int], LeansightError]
) -> None:
    """Do the work in a new process, and wait for it; Ctrl-C ends both.

    A training forks readers of images, which is not safe in a process where a conversion has
    loaded JAX, with its threads.

    Args:
        work: can be pickled; what it returns is dropped.
        died: makes the error of a process that left no answer, from its exit code.

    Raises:
        LeansightError: as the work.
        OSError: as the work: the disk is full, or the like.

    """
    context = multiprocessing.get_context("spawn")
    answers, answer = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(answer, os.getpid(), work))
    said: tuple[type[Exception] | None, str] | None = None
    with _running(process), suppress(EOFError):
        answer.close()
        said = answers.recv()
    if said is None:
        raise died(process.exitcode or 0)
    kind, message = said
    if kind is not None:
        raise kind.__new__(kind, message)  # an __init__ may take something else than the message


def how_it_ended(code: int) -> str:
    """Say what became of a process that left no answer."""
    if code >= 0:
        return f"its process ended with code {code}"
    hint = " (not enough memory?)" if code == -signal.SIGKILL else ""
    return f"its process was killed by {signal.Signals(-code).name}{hint}"


@contextmanager
def _running(process: BaseProcess) -> Iterator[None]:
    """Start a process; wait for its end, or bring it about where the `with` is left by an error.

    A terminal sends Ctrl-C to all processes at once: this one, and what it starts, never hears it.
    """
    resource_tracker.ensure_running()  # its own start would undo the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield
    except BaseException:
        if process.is_alive():
            process.terminate()
        raise
    finally:
        if process.pid is not None:
            process.join()


def _answer(answer: Connection, parent: int, work: Callable[[], object]) -> None:
    """Work, and say how that ended: the kind of the error (None: there was none) and its text."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what is open is closed on the way out
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:
            return
    try:
        work()
    except LeansightError as error:
        answer.send((type(error), str(error)))
    except OSError as error:
        answer.send((OSError, str(error)))
    else:
        answer.send((None, ""))
