"""Work in a process of its own: errors come back as they are, and Ctrl-C ends both."""

import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final

from leansight.runtime.errors import LeansightError
from leansight.runtime.system.collector import importing
from leansight.runtime.system.parent import end_with
from leansight.sdk.system.library_logs import screen_for_children, without_library_logs

# How the readers of a training are started: forked, they share its images. macOS can do it too.
READERS_START: Final = "fork"


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
    # Pickled apart: `_answer` imports what the work needs when it reads it.
    process = context.Process(target=_answer, args=(answer, os.getpid(), pickle.dumps(work)))
    ended: _Ended | None = None
    with _running(process), suppress(EOFError):
        answer.close()
        ended = answers.recv()
    if ended is None:
        raise died(process.exitcode or 0)
    if ended.error is not None:
        raise ended.error()


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
            with screen_for_children():
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


@dataclass(frozen=True)
class _Ended:
    """How work ended: `error` makes the error that it raised; None, if it raised none."""

    error: Callable[[], Exception] | None = None


def _answer(answer: Connection, parent: int, pickled: bytes) -> None:
    """Work, and send how that ended."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what is open is closed on the way out
    if not end_with(parent):
        return
    try:
        with without_library_logs():
            with importing():
                work: Callable[[], object] = pickle.loads(pickled)  # noqa: S301 -- our own
            work()
    except LeansightError as error:
        answer.send(_Ended(partial(_again, type(error), str(error), error.parameter)))
    except OSError as error:
        whole = (error.errno, error.strerror, error.filename, None, error.filename2)
        answer.send(_Ended(partial(OSError, *(whole if error.errno else error.args))))
    else:
        answer.send(_Ended())


def _again(kind: type[LeansightError], message: str, parameter: str | None) -> LeansightError:
    """Return an error as it was: its own __init__ may take something else than the message."""
    error = kind.__new__(kind)
    LeansightError.__init__(error, message, parameter=parameter)
    return error
