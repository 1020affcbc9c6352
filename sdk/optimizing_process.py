"""A process of its own for the bundle of each trial."""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Final

from leansight.exporters.verification import ExportRefusedError
from leansight.runtime.errors import LeansightError
from leansight.sdk.optimizing import FAILURES, KilledError
from leansight.sdk.optimizing_bundles import Workshop, inspect, make_bundle
from leansight.sdk.search_space import Measured, Point

_DIE_WITH_PARENT: Final = 1  # Linux: PR_SET_PDEATHSIG
# What a process may answer with.
_ERRORS: Final[Mapping[str, type[LeansightError]]] = {
    kind.__name__: kind for kind in (ExportRefusedError, *FAILURES)
}


def evaluate(workshop: Workshop, point: Point) -> Measured:
    """Make the bundle of a point, unless it is there, and measure it.

    Raises:
        ExportRefusedError: it was refused, now or earlier.
        LeansightError: it cannot be made, or gives something else on this machine.

    """
    workshop.require_no_refusal(point)
    if not workshop.bundle(point).exists():
        make_in_own_process(workshop, point)
    return inspect(workshop, point)


def make_in_own_process(workshop: Workshop, point: Point) -> None:
    """Make the bundle of a point where neither memory nor a crash can spoil the search.

    A training forks readers of images, which is not safe once a conversion has loaded JAX.

    Raises:
        LeansightError: as `make_bundle`; of FAILURES, if this point alone is to blame.
        OSError: the disk is full, or the like.

    """
    context = multiprocessing.get_context("spawn")
    answers, answer = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(answer, os.getpid(), workshop, point))
    process.start()
    answer.close()
    try:
        kind, message = answers.recv()
    except EOFError:
        process.join()
        raise death(point, process.exitcode or 0) from None
    except BaseException:
        process.terminate()
        raise
    finally:
        process.join()
    match kind:
        case "":
            return
        case "OSError":
            raise OSError(message)
    raise _ERRORS.get(kind, LeansightError)(message)


def death(point: Point, code: int) -> LeansightError:
    """Return the error of a process that left no answer: killed, or with a defect."""
    if code < 0:
        hint = " (not enough memory?)" if code == -signal.SIGKILL else ""
        return KilledError(f"its process was killed by {signal.Signals(-code).name}{hint}")
    return LeansightError(f"{point.bundle_name}: its process ended with code {code}")


def _answer(answer: Connection, parent: int, workshop: Workshop, point: Point) -> None:
    """Make a bundle and say how that ended: the kind of the error ("" for none) and its text."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:
            return
    try:
        make_bundle(workshop, point)
    except LeansightError as error:
        names = [kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _ERRORS]
        answer.send((names[0] if names else "LeansightError", str(error)))
    except OSError as error:
        answer.send(("OSError", str(error)))
    else:
        answer.send(("", ""))
