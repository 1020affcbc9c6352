"""systemd of this machine: whether it is there, its version, its units."""

import os
import re
import subprocess
from pathlib import Path
from typing import Final

from leansight.runtime.errors import DataError, LeansightError

UNITS: Final = Path("/etc/systemd/system")
_RUNNING: Final = Path("/run/systemd/system")
_SYSTEMCTL: Final = "/usr/bin/systemctl"
_CONTROLLERS: Final = Path("/sys/fs/cgroup/cgroup.controllers")
_OLDEST: Final = 252  # Debian bookworm's


def require_systemd() -> None:
    """Raise LeansightError unless systemd has started this machine, and we may change units."""
    if not _RUNNING.is_dir():
        raise LeansightError(
            "systemd does not run here: the unit can only be printed, for another machine"
        )
    if os.geteuid() != 0:
        raise LeansightError("only root may do that: begin the command with sudo")


def check_name(name: str) -> None:
    """Raise DataError unless a service may have this name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise DataError(
            f"{name!r} is no name of a service: letters, digits, _ and - may stand in it",
            parameter="name",
        )


def systemd_version() -> int:
    """Return such as 252, which is also the answer where there is no systemd."""
    try:
        done = subprocess.run(
            [_SYSTEMCTL, "--version"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return _OLDEST
    words = done.stdout.split()
    return int(words[1]) if len(words) > 1 and words[1].isdecimal() else _OLDEST


def systemctl(*words: str) -> None:
    """Run systemctl; LeansightError with what it says if it fails."""
    done = subprocess.run([_SYSTEMCTL, *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = " ".join(done.stderr.split())
        raise LeansightError(f"`systemctl {' '.join(words)}` failed: {said}")


def limits_memory() -> bool:
    """Return whether this machine's kernel limits the memory of units: a Pi's may not."""
    return not _CONTROLLERS.exists() or "memory" in _CONTROLLERS.read_text().split()
