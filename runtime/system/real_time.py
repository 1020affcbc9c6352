"""Real-time priority, for frames that no other program is to disturb."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_LEAST_PRIORITY: Final = 1  # of real-time ones: before every ordinary program, behind all others


@contextmanager
def real_time() -> Iterator[bool]:
    """Let this thread run before all ordinary programs; yield whether the kernel allows it.

    Linux allows it to root, and where RLIMIT_RTPRIO says so. Inside, this thread is not put aside,
    so its caches stay its own. The kernel gives others 5 % of the core nevertheless.
    """
    allowed = hasattr(os, "sched_setscheduler")
    if allowed:
        before = os.sched_getscheduler(0), os.sched_getparam(0)
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_LEAST_PRIORITY))
        except OSError:
            allowed = False
    try:
        yield allowed
    finally:
        if allowed:
            os.sched_setscheduler(0, *before)
