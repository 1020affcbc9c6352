"""A full disk, a broken disk or a kill, at some system calls by which a training writes."""

import subprocess
import sys
from pathlib import Path

import pytest
from hostile.system_calls import needs_strace

FAULTS = Path(__file__).parents[2] / "perf" / "faults.py"


@pytest.mark.slow
@needs_strace
@pytest.mark.parametrize("command", ["train", "go-on"])
def test_no_fault_that_is_drawn_loses_anything(command: str) -> None:
    """In a process of its own: a fork of one that has trained cannot train."""
    ran = subprocess.run(
        [sys.executable, str(FAULTS), command, "--share", "0.02", "--seed", "1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=350,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ": 0 broken of " in ran.stdout
    assert ": 0 broken of 0 " not in ran.stdout
