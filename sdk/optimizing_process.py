"""Processes of their own: for each trial's bundle, and for what converts before a training."""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Final

from leansight.runtime.errors import LeansightError

# Imported when called: `pruning` needs what is here, they need `pruning`, and Optuna is an extra.
if TYPE_CHECKING:
    from leansight.sdk.optimizing_bundles import Workshop
    from leansight.sdk.search_space import Measured, Point

_DIE_WITH_PARENT: Final = 1  # Linux: PR_SET_PDEATHSIG


def evaluate(workshop: "Workshop", point: "Point") -> "Measured":
    """Make the bundle of a point, unless it is there, and measure it.

    Raises:
        ExportRefusedError: it was refused, now or earlier.
        LeansightError: it cannot be made, or gives something else on this machine.

    """
    from leansight.sdk.optimizing_bundles import inspect

    workshop.require_no_refusal(point)
    if not workshop.bundle(point).exists():
        make_in_own_process(workshop, point)
    return inspect(workshop, point)


def make_in_own_process(workshop: "Workshop", point: "Point") -> None:
    """Make the bundle of a point where neither memory nor a crash can spoil the search.

    Raises:
        LeansightError: as `make_bundle`; of FAILURES, if this point alone is to blame.
        OSError: the disk is full, or the like.

    """
    from leansight.sdk.optimizing_bundles import make_bundle

    run_in_own_process(partial(make_bundle, workshop, point), died=partial(death, point))


def death(point: "Point", code: int) -> LeansightError:
    """Return the error of a process that left no answer: killed, or with a defect."""
    from leansight.sdk.optimizing import KilledError

    if code < 0:
        return KilledError(how_it_ended(code))
    return LeansightError(f"{point.bundle_name}: {how_it_ended(code)}")


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
