"""What a program asks of the system, watched and disturbed by strace."""

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
from command_line import MAIN


def _can_trace() -> bool:
    """Return whether strace is installed, and allowed here: in some containers it is not."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], check=False).returncode == 0


needs_strace: Final = pytest.mark.skipif(
    not _can_trace(), reason="strace is not installed, or not allowed here"
)


def traced(
    arguments: Sequence[object],
    calls: str,
    folder: Path,
    *,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a leansight command with all its processes under strace.

    Returns:
        How it ended, and a line for each of the `calls` ("openat,rename", "network").

    """
    log = folder / "calls.strace"
    strace = ["strace", "-f", "-qq", "-y", "-e", f"trace={calls}", "-o", str(log), *options]
    command = [*strace, sys.executable, "-c", MAIN, *map(str, arguments)]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=600, env=environment
    )
    return ran, log.read_text(errors="replace").splitlines()


def internet_sockets(lines: Sequence[str]) -> list[str]:
    """Return the calls that begin to reach for a network; those inside a machine are left out."""
    return [line for line in lines if re.search(r"socket\(AF_INET6?\b", line)]
