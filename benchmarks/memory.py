"""A process's memory, from the kernel: its peak, and what an empty Python takes."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

STATUS: Final = Path("/proc/self/status")


def peak_rss_bytes(status: str) -> int | None:
    """Return the peak resident memory that a /proc status tells, None if it does not.

    VmHWM counts from exec on; getrusage's ru_maxrss would include the parent that forked.
    """
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


_EMPTY_PROCESS: Final = f"""
import numpy, pathlib
status = pathlib.Path({str(STATUS)!r})
print(status.read_text() if status.exists() else "")
"""


def empty_process_bytes() -> int | None:
    """Return the peak memory of a process that has only imported numpy."""
    command = [sys.executable, "-P", "-c", _EMPTY_PROCESS]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return peak_rss_bytes(done.stdout)
