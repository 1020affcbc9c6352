"""A small study whose training is a stand-in that takes no time."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from leansight.sdk.commands.options.training import train_arguments
from leansight.sdk.studies.executors import (
    ProcessExecutor,
)
from leansight.sdk.studies.grid import Axis, Study
from leansight.sdk.studies.runner import StudyRunner

RATES = ("training.learning_rate=0.1,0.01",)
GRID = (*RATES, "model.width=4,8")
TRAINER = Path(__file__).parent / "programs" / "fake_trainer.py"


def make_study(
    data: Path,
    grid: Sequence[str] = RATES,
    *,
    folds: int = 2,
    seeds: tuple[int, ...] = (0,),
    epochs: int = 3,
) -> Study:
    return Study(
        data=data,
        recipe=str(data.parent / "mine.toml"),
        overrides=(f"training.epochs={epochs}",),
        grid=tuple(map(Axis.parse, grid)),
        folds=folds,
        seeds=seeds,
    )


def make_runner(study: Study, folder: Path, trainer: tuple[str, ...]) -> StudyRunner:
    executor = ProcessExecutor(jobs=2)
    return StudyRunner(
        study=study,
        folder=folder,
        executor=executor,
        arguments=train_arguments,
        trainer=trainer,
    )


def run_json(folder: Path) -> dict[str, object]:
    content = json.loads((folder / "run.json").read_text())
    assert isinstance(content, dict)
    return content


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


DRIVER = """
import sys
from pathlib import Path
from leansight.sdk.commands.options.training import train_arguments
from leansight.sdk.studies.executors import ProcessExecutor, RayExecutor
from leansight.sdk.studies.grid import Axis, Study
from leansight.sdk.studies.runner import StudyRunner

data, out, recipe, trainer, epochs, address, *grid = sys.argv[1:]
study = Study(
    data=Path(data), recipe=recipe, overrides=(f"training.epochs={epochs}",),
    grid=tuple(map(Axis.parse, grid)), folds=2,
)
executor = ProcessExecutor(jobs=2)
if address:
    executor = RayExecutor(address=address, log=Path(out, "ray.log"))
runner = StudyRunner(
    study=study, folder=Path(out), executor=executor, arguments=train_arguments,
    trainer=(sys.executable, "-IS", trainer),
)
assert runner.run().metrics
"""


def start_study(
    data: Path,
    out: Path,
    trainer: tuple[str, ...],
    *,
    epochs: int,
    address: str = "",
    grid: Sequence[str] = GRID,
) -> subprocess.Popen[bytes]:
    """Start a study in a process group of its own, with epochs of 0.1 seconds."""
    command = [sys.executable, "-P", "-c", DRIVER, data, out, data.parent / "mine.toml"]
    command += [trainer[-1], str(epochs), address, *grid]
    environment = {**os.environ, "EPOCH_SECONDS": "0.1"}
    return subprocess.Popen(command, env=environment, start_new_session=True)


def finished(out: Path) -> list[Path]:
    return sorted((out / "cells").glob("*/run.json"))


def under_way(out: Path) -> list[Path]:
    cells = {path.parent for path in (out / "cells").glob("*/checkpoint.json")}
    return sorted(cells - {path.parent for path in finished(out)})


def started(out: Path) -> list[int]:
    return [int(pid) for file in out.rglob("starts.txt") for pid in file.read_text().split()]


def state_of(runs: Sequence[Path]) -> dict[Path, tuple[int, bytes]]:
    files = (file for run in runs for file in run.parent.rglob("*") if file.is_file())
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in files}
