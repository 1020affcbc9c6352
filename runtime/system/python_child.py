"""Another Python process that runs a module of ours, and limits that it sets itself."""

import json
import re
import sys
from pathlib import Path
from typing import Final

# Not `multiprocessing`, which would run the user's script again in the new process.
_START: Final = (
    "import importlib, json, sys; path, module, *arguments = json.loads(sys.argv[1]); "
    "sys.path[:] = path; importlib.import_module(module).main(*arguments)"
)
_STATUS: Final = Path("/proc/self/status")


def python_command(module: str, *arguments: object) -> list[str]:
    """Return a command that calls `main` of a module with JSON values.

    It finds modules where this process does.
    """
    job = json.dumps([sys.path, module, *arguments])
    return [sys.executable, "-P", "-c", _START, job]


def limit_this_process(*, processor_s: int | None = None, more_bytes: int | None = None) -> None:
    """Let the kernel end this process after so many seconds of a processor from its start.

    It gets `more_bytes` of memory beside what it has. No picture of its memory is left behind when
    it crashes. Where the system has no such limits, nothing happens.
    """
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if processor_s is not None:
        _lower(resource.RLIMIT_CPU, processor_s)
    if more_bytes is not None and _STATUS.exists():
        # Code and mapped files are left out; what libraries map for their threads counts.
        found = re.search(r"^VmData:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
        assert found is not None
        _lower(resource.RLIMIT_DATA, int(found[1]) * 1024 + more_bytes)


def _lower(limit: int, value: int) -> None:
    """Set a limit, unless a lower one is there already."""
    import resource

    _, highest = resource.getrlimit(limit)  # where both are equal, SIGKILL comes for SIGXCPU
    if highest != resource.RLIM_INFINITY:
        value = min(value, highest)
    resource.setrlimit(limit, (value, highest))
