"""What a piece of work costs, and how it ends, in a process of its own."""

import os
import resource
import signal
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pipe
from typing import Final

LONGEST_S: Final = 20


@dataclass(frozen=True)
class Cost:
    """The class and the text of the error (or "" and "done"), processor seconds and megabytes."""

    error: str
    text: str
    seconds: float
    megabytes: float


def fork() -> int:
    """Fork, also where libraries have threads: what is done in the fork needs none of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def cost_of(work: Callable[[], object]) -> Cost:
    """Do the work in a fork, which is killed after `LONGEST_S` seconds."""
    answers, answer = Pipe(duplex=False)
    process = fork()
    if process == 0:
        signal.alarm(LONGEST_S)  # whose default ends the process
        answer.send(_measured(work))
        os._exit(0)
    answer.close()
    try:
        measured: Cost = answers.recv()
    except EOFError:
        measured = Cost("killed", "it hung, or crashed", LONGEST_S, 0)
    finally:
        os.waitpid(process, 0)
        answers.close()
    return measured


def _measured(work: Callable[[], object]) -> Cost:
    before, begun = _peak_megabytes(), time.process_time()
    error, text = "", "done"
    try:
        work()
    except Exception as raised:  # noqa: BLE001 -- whatever it is, the test looks at it
        error, text = type(raised).__name__, str(raised)
    return Cost(error, text, time.process_time() - begun, _peak_megabytes() - before)


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
