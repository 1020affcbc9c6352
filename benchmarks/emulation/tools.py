"""What an emulated Pi needs of this machine, and how its parts are called."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from leansight.runtime.errors import LeansightError

HERE: Final = Path(__file__).parent
# Programs and the packages of Debian that have them. The static qemu has no plugins.
_TOOLS: Final = {
    "qemu-aarch64": "qemu-user",
    "qemu-aarch64-static": "qemu-user-static",
    "mmdebstrap": "mmdebstrap",
    "bwrap": "bubblewrap",
    "cc": "gcc",
}
_PI_COMPILER: Final = "aarch64-linux-gnu-gcc"
_PI_COMPILER_PACKAGE: Final = "gcc-aarch64-linux-gnu"
_ZIG_OPTIONS: Final = ("-target", "aarch64-linux-gnu.2.17", "-mcpu=baseline")  # as in scripts/build
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_CANNOT: Final = 3  # the exit code of a script that this machine cannot run
_PREFIXES: Final = ("count-instructions: skipped: ", "count-instructions: ", "make-rootfs: ")


class EmulationError(LeansightError):
    """This machine cannot emulate a Pi, or a step of it failed."""


def require_tools(keyring: Path = _KEYRING, *, compiles: bool = True) -> None:
    """Raise EmulationError unless all of Debian's tools are here; it says what to install.

    A compiler for the Pi is one of them, unless what runs there is compiled: not `compiles`.
    """
    missing = [package for tool, package in _TOOLS.items() if shutil.which(tool) is None]
    if compiles and not compiler_for_pi():
        missing.append(_PI_COMPILER_PACKAGE)
    if not keyring.exists():
        missing.append("debian-archive-keyring")
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise EmulationError("a Pi is emulated on Debian or Ubuntu only", parameter="emulate")
    raise EmulationError(
        "an emulated Pi needs Debian's tools. Type: sudo apt install --no-install-recommends "
        + " ".join(missing),
        parameter="emulate",
    )


def compiler_for_pi() -> tuple[str, ...]:
    """Return the words that call a C compiler for 64-bit ARM; none where there is no such one."""
    if shutil.which(_PI_COMPILER):
        return (_PI_COMPILER,)
    if find_spec("ziglang"):
        return (sys.executable, "-m", "ziglang", "cc", *_ZIG_OPTIONS)
    return ()


def run_script(script: str, words: Sequence[str | Path]) -> str:
    """Run a script beside this file and return what it printed on standard output.

    Raises:
        EmulationError: it failed; the message is the last line that it said.

    """
    command = ["bash", str(HERE / script), *map(str, words)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        told = [line for line in said if line.startswith(_PREFIXES)]
        line = (told or said or ["nothing was said"])[-1]
        for prefix in _PREFIXES:
            line = line.removeprefix(prefix)
        step = "this machine cannot do it" if done.returncode == _CANNOT else f"{script} failed"
        raise EmulationError(f"{step}: {line}", parameter="emulate")
    return done.stdout


def cache_folder() -> Path:
    """Return the folder that userlands and environments are kept in, made where it is missing."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(caches, "leansight", "pi")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
