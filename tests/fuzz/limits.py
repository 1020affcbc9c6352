"""What reading one file may cost and how it may end, whatever is in the file."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from leansight.sdk.commands.options.flags import line_of

MOST_SECONDS: Final = 1.0  # of a processor
MOST_MEGABYTES: Final = 64.0
LONGEST_LINE: Final = 2000  # characters
_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")
_RESET_PEAK: Final = "5"  # proc(5)


class BrokenPromiseError(Exception):
    """Reading a file took too much, or what was said of it is no plain line."""


def hold(work: Callable[[], object], refusals: tuple[type[Exception], ...]) -> str:
    """Do the work; return "" if it ends well, else the line in which it refuses.

    Raises:
        BrokenPromiseError: it takes too long, too much memory, or too many words.
        Exception: whatever else than a refusal the work raises.

    """
    _CLEAR.write_text(_RESET_PEAK)
    before, begun = _megabytes("VmRSS"), time.process_time()
    said = ""
    try:
        work()
    except refusals as error:
        said = line_of(error)
    seconds, megabytes = time.process_time() - begun, _megabytes("VmHWM") - before
    if seconds > MOST_SECONDS:
        raise BrokenPromiseError(f"it took {seconds:.1f} s of a processor ({said[:200]})")
    if megabytes > MOST_MEGABYTES:
        raise BrokenPromiseError(f"it took {megabytes:.0f} MB ({said[:200]})")
    if len(said) > LONGEST_LINE or not said.isprintable():
        raise BrokenPromiseError(f"it is no plain line of {len(said)} characters: {said[:200]!r}")
    return said


def _megabytes(name: str) -> float:
    """Return a size of this process's memory: VmRSS now, VmHWM at its peak."""
    status = _STATUS.read_text()
    return int(status.split(f"{name}:", 1)[1].split(maxsplit=1)[0]) / 1024
