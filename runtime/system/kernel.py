"""What the kernel tells of a process and of the machine: much on Linux, little elsewhere."""

import os
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

STATUS: Final = Path("/proc/self/status")
ROLLUP: Final = Path("/proc/self/smaps_rollup")
_BOARD: Final = Path("/proc/device-tree/model")
_PROCESSORS: Final = Path("/proc/cpuinfo")
_TIMES: Final = Path("/proc/stat")


def peak_rss_bytes(status: str) -> int | None:
    """Return the peak resident memory that the text of a `STATUS` tells, None if it does not.

    VmHWM counts from exec on; getrusage's ru_maxrss would include the parent that forked.
    """
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def memory_bytes(status: str, rollup: str) -> dict[str, int | None]:
    """Return what the texts of a `STATUS` and a `ROLLUP` tell, None for what they do not.

    `peak_rss`, `rss`: pages of the process, whoever else has them as well; `pss`: each page by
    the number of processes that have it, which sums up to what is taken of a machine.
    """
    found = {
        "rss": re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE),
        "pss": re.search(r"^Pss:\s+(\d+) kB$", rollup, re.MULTILINE),
    }
    sizes = {name: int(match[1]) * 1024 if match else None for name, match in found.items()}
    return {"peak_rss": peak_rss_bytes(status), **sizes}


def own_memory_bytes() -> dict[str, int | None]:
    """Return the memory of this process: see `memory_bytes`."""
    texts = [path.read_text() if path.exists() else "" for path in (STATUS, ROLLUP)]
    return memory_bytes(*texts)


def anonymous_bytes() -> int | None:
    """Return this process's resident memory that no file is behind, None where it is not told."""
    status = STATUS.read_text() if STATUS.exists() else ""
    found = re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def board_or_processor() -> str:
    """Return the name of the board, or else of the processor."""
    if _BOARD.exists():
        return _BOARD.read_text().rstrip("\0")
    name = platform.processor() or platform.machine()
    if _PROCESSORS.exists():
        # "Model" is what the kernel of a Pi calls the board, "model name" x86's processor.
        found = re.search(r"^(?:Model|model name)\s*: (.*)$", _PROCESSORS.read_text(), re.MULTILINE)
        name = found[1] if found else name
    return name


def processor_flags() -> frozenset[str]:
    """Return what the processor can do, as the kernel names it; empty where it does not tell."""
    text = _PROCESSORS.read_text() if _PROCESSORS.exists() else ""
    found = re.search(r"^(?:flags|Features)\s*: (.*)$", text, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()


def stolen_s() -> float | None:
    """Return for how long, since the start, a virtual machine's host did something else."""
    text = _TIMES.read_text() if _TIMES.exists() else ""
    found = re.match(r"cpu +(?:\d+ ){7}(\d+)", text)  # the eighth: steal
    return int(found[1]) / os.sysconf("SC_CLK_TCK") if found else None


def core_count() -> int:
    """Return on how many cores this process may run."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def hold_on_cores(threads: int) -> list[int]:
    """Hold this process on as many cores as it has threads, the last ones; return their numbers.

    The first core takes most interrupts, and on boards with two kinds of cores it is a slow one.
    """
    if not hasattr(os, "sched_setaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))[-threads:]
    os.sched_setaffinity(0, cores)
    return cores


def call_after_fork(function: Callable[[], None]) -> None:
    """Call `function` first of all in every process that is forked from now on."""
    if hasattr(os, "register_at_fork"):  # nothing is forked where it is missing
        os.register_at_fork(after_in_child=function)
