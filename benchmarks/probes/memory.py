"""The memory that an empty Python takes, above which a model's is counted."""

import subprocess
import sys
from typing import Final

from leansight.runtime.system.kernel import STATUS, peak_rss_bytes

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
