"""Processes that end with the one that has started them, even where that is killed.

Only Linux has this (prctl(2), PR_SET_PDEATHSIG). Elsewhere a process whose parent is killed works
on to its end.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

_SET_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG
# Python's preexec_fn is not safe among threads, so the new process sets this itself, before it
# becomes the command.
_GUARD: Final = (
    "import ctypes, os, signal, sys\n"
    f"ctypes.CDLL(None).prctl({_SET_DEATH_SIGNAL}, signal.SIGKILL)\n"
    "if os.getppid() == int(sys.argv[1]): os.execvp(sys.argv[2], sys.argv[2:])\n"
)


def ends_with_us(command: Sequence[str]) -> list[str]:
    """Return a command that ends with this process, where the system can do that."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-ISc", _GUARD, str(os.getpid()), *command]


def end_with(parent: int) -> bool:
    """Let this process end with its parent, from now on; return whether that still lives."""
    if sys.platform != "linux":
        return True
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    return os.getppid() == parent
