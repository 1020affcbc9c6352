"""The processor cores that this process may use, and whether other programs use them already."""

import os


def available_cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def crowding(threads: int) -> str | None:
    """Return one line if `threads` threads find fewer free cores, None if each finds one.

    Threads that compute together wait for the slowest of them: two beside one other busy program
    on two cores train an EfficientNet-Lite0 ten times slower than one thread does. Load is that
    of the last minute. Nobody is told who has set OMP_NUM_THREADS, and so has chosen.
    """
    if threads == 1 or "OMP_NUM_THREADS" in os.environ:
        return None
    cores, load = available_cores(), os.getloadavg()[0]
    if cores - round(load) >= threads:
        return None
    return (
        f"the machine is busy: other programs load {load:.1f} of its {cores} cores, and {threads} "
        "threads that wait for each other can be ten times slower than one. "
        "If it stays so, set OMP_NUM_THREADS=1"
    )
