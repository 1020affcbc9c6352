"""The C library that prepares images, compiled here for a 64-bit Pi."""

import subprocess
from pathlib import Path
from typing import Final

import leansight.runtime.pixels
from leansight.benchmarks.emulation.tools import EmulationError, compiler_for_pi

# As setup.py compiles it where leansight is installed; ffp-contract: the same bytes everywhere.
FLAGS: Final = (
    *("-O3", "-fvisibility=hidden", "-ffp-contract=off"),
    *("-fno-math-errno", "-fno-trapping-math"),
)


def compile_for_pi(folder: Path) -> Path:
    """Compile what prepares images on a Pi, from the sources of this leansight, into the folder.

    Raises:
        EmulationError: the compiler fails; the message is its first error.

    """
    (sources,) = leansight.runtime.pixels.__path__
    library = folder / "_prepare.abi3.so"
    done = subprocess.run(
        [
            *(*compiler_for_pi(), *FLAGS, "-shared", "-fPIC", "-s", "-o", str(library)),
            *(*map(str, sorted(Path(sources).glob("*.c"))), "-lm"),
        ],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line]
        raise EmulationError(
            "the preprocessing cannot be compiled for a Pi: "
            + (lines or ["the compiler said nothing"])[0],
            parameter="emulate",
        )
    return library
