"""Models in an emulated Pi: its userland is built once, and leansight installed in it once."""

import hashlib
import shutil
import zipfile
from collections.abc import Callable, Sequence
from email import message_from_bytes
from pathlib import Path
from typing import Final, Literal

from leansight.benchmarks.boards.wheel import pack_wheel
from leansight.benchmarks.emulation.marks import read_marks
from leansight.benchmarks.emulation.pi_library import compile_for_pi
from leansight.benchmarks.emulation.tools import (
    EmulationError,
    cache_folder,
    require_tools,
    run_script,
)
from leansight.benchmarks.models import Model
from leansight.benchmarks.results.result import Work
from leansight.runtime.bundle import Bundle
from leansight.runtime.system.links import alone_in
from leansight.runtime.system.whole_files import scratch_folder

Board = Literal["pi4", "pi5"]
CORES: Final[dict[Board, str]] = {"pi4": "cortex-a72", "pi5": "cortex-a76"}
_SYSTEM: Final = "bookworm-arm64-pip"
_INSTALLING_CORE: Final = CORES["pi4"]
_EXTRAS: Final = "[pi,onnx]"
_COMPLETE: Final = ".complete"


def count_work(
    models: Sequence[Model],
    boards: Sequence[Board],
    *,
    wheel: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
    advanced: Callable[[int, int], None] = lambda *_: None,
) -> list[Work]:
    """Count the instructions of a frame of 640 x 480 pixels, of each model on each board's core.

    The count does not depend on what else this machine does. A model that does not run there has
    a `Work` that says why.

    Args:
        models: what `find_models` returns.
        boards: "pi4" and "pi5".
        wheel: leansight for the Pi; by default this one, packed, with the C library of its
            preprocessing compiled for the Pi.
        tell: called with a line before each step that takes minutes.
        advanced: called with the numbers of counts that are done and planned.

    Raises:
        EmulationError: tools are missing here, or the Pi's system cannot be made.

    """
    require_tools(compiles=wheel is None)
    # One at a time installs into these folders; scripts/check-pi holds the same one.
    with scratch_folder() as scratch, alone_in(cache_folder(), wait=True):
        packed = wheel or pack_wheel(scratch, prepare=compile_for_pi(scratch))
        userland = cache_folder() / _SYSTEM
        if not userland.exists():
            tell("Emulated Pi: Debian's userland is built, once (half a minute).")
        run_script("make-rootfs", [userland, "bookworm", "arm64"])
        venv = _venv(userland, packed, tell)
        staged = [_staged(model, scratch / str(n)) for n, model in enumerate(models)]
        found = []
        for model, path in zip(models, staged, strict=True):
            for board in boards:
                found.append(_count(model, path, board, userland, venv))
                advanced(len(found), len(models) * len(boards))
        return found


def _count(model: Model, path: Path, board: Board, userland: Path, venv: Path) -> Work:
    packages: dict[str, str] = {}
    instructions: dict[str, int] = {}
    failure = ""
    try:
        lines = run_script("count-instructions", [CORES[board], userland, venv, path, model.format])
        packages, instructions = read_marks(lines)
    except (EmulationError, ValueError) as error:
        failure = str(error)
    return Work(
        name=model.name,
        format=model.format,
        board=board,
        core=CORES[board],
        instructions=instructions,
        packages=packages,
        failure=failure,
    )


def _staged(model: Model, folder: Path) -> Path:
    """Copy a model to where the emulated Pi may see it, without anything beside it."""
    folder.mkdir()
    place = folder / f"measured{model.path.suffix}"
    if model.digest is None:
        one = model.in_one_file(folder / "one")
        shutil.copy(one.path, place)
        return place
    place.mkdir()
    for name, data in Bundle.load(model.path).contents().items():
        (place / name).write_bytes(data)
    return place


def _venv(userland: Path, wheel: Path, tell: Callable[[str], None]) -> Path:
    """Return an environment of the Pi with this leansight; what it requires is installed once."""
    venv = cache_folder() / f"bench-{_requirements(wheel)}"
    if not (venv / _COMPLETE).exists():
        tell("Emulated Pi: LiteRT, ONNX Runtime and OpenCV are installed, once (two minutes).")
        for old in cache_folder().glob("bench-*"):
            shutil.rmtree(old)
        venv.mkdir()
        there: list[str | Path] = [
            *("--cpu", _INSTALLING_CORE, "--bind", f"{venv}:/venv"),
            *("--bind", f"{wheel.parent}:/check", userland),
        ]
        run_script("run-on-pi", [*there, "python3", "-m", "venv", "/venv"])
        pip = ["/venv/bin/pip", "install", "--quiet", f"/check/{wheel.name}{_EXTRAS}"]
        run_script("run-on-pi", [*there, *pip])
        (venv / _COMPLETE).touch()
    # What pip would do, without a minute of emulation.
    (packages,) = venv.glob("lib/python3*/site-packages")
    shutil.rmtree(packages / "leansight", ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    return venv


def _requirements(wheel: Path) -> str:
    """Return a digest of what a wheel requires."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("dist-info/METADATA"))
        required = message_from_bytes(archive.read(metadata)).get_all("Requires-Dist", [])
    return hashlib.sha256("\n".join(sorted(required)).encode()).hexdigest()[:16]
