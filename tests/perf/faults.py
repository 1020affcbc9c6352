"""Break every system call by which commands write, and count what is lost.

    python tests/perf/faults.py [COMMAND ...] [--share 0.1]

Each call that writes fails once with ENOSPC, once with EIO, and once the process is killed there.
Then: the command has ended, in one line if it failed; what was there before is whole, and so is
what appeared; and the same command, given again, ends well and leaves what an unbroken one leaves.
"""

import argparse
import importlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

import numpy as np
import shapes
from hostile.faults import Work, command, injections, run, writing_calls

from leansight.runtime.bundle import Bundle
from leansight.sdk.runs.run import Run, RunConfig
from leansight.sdk.training.checkpoints import LAST_CHECKPOINT, read_checkpoint

# What the commands import, imported once.
IMPORTED = (
    "leansight.sdk.training.train",
    "leansight.sdk.deployment.export_run",
    "leansight.sdk.commands.export",
    "leansight.sdk.evaluation.report",
    "litert_torch",
    "onnxscript",
    "matplotlib.pyplot",
    "torch.utils.tensorboard",
)
# Files that have another name each time, or are there only after a fault.
PASSING = (".damaged", "run.lock", "prune.lock", "study.lock")


@dataclass(frozen=True)
class Scenario:
    """A command, what to give after a fault, and what raises where something is broken.

    `before` is a folder whose content is there at the beginning.
    """

    first: Work
    again: Callable[[Path], Work | None]
    whole: Callable[[Path], object]
    before: Path | None = None


def main() -> None:
    """Break what is asked for; exit with 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commands", nargs="*", help="some of: train, go-on, export, ...")
    parser.add_argument("--share", type=float, default=1.0, help="share of the faults, drawn")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for module in IMPORTED:
        importlib.import_module(module)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TMPDIR"] = str(folder / "work" / "tmp")
        scenarios = make_scenarios(folder / "given")
        broken = [
            line
            for command_name in arguments.commands or scenarios
            for line in break_all(
                command_name,
                scenarios[command_name],
                folder,
                arguments.share,
                np.random.default_rng(arguments.seed),
            )
        ]
    sys.exit(bool(broken))


def make_scenarios(given: Path) -> dict[str, Scenario]:
    """Draw images, train a run and export it: what the commands are given."""
    shapes.write_data_set(given / "shapes")
    recipe = given / "tiny.toml"
    recipe.write_text(shapes.RECIPE)
    train = ("train", given / "shapes", "--recipe", recipe, "--epochs", 1, "--workers", 0)
    done, bundle, begun = given / "run", given / "shapes.bundle", given / "begun"
    in_place(given, train, "--out", done)
    in_place(given, ("export", done, "--out", bundle))
    begun.mkdir()
    shutil.copytree(done, begun / "run")
    _as_killed_after_one_of_two_epochs(begun / "run")
    new_run = command(*train, "--out", "run")
    resume = command("train", "--resume", "--workers", 0, "--out", "run")
    new_bundle = command("export", done, "--out", "new.bundle")
    evaluation = command("evaluate", bundle, given / "shapes", "--out", "report")
    video = command("data", "video", "drive.mp4", "--seconds", 1, "--labels", "drive.csv")
    return {
        "train": Scenario(
            new_run,
            lambda work: resume if RunConfig.exists(work / "run") else new_run,
            lambda work: Run.load(work / "run").network() if _has(work, "run/run.json") else None,
        ),
        "go-on": Scenario(
            resume, lambda _: resume, lambda work: _checkpoints(work / "run"), before=begun
        ),
        "export": Scenario(
            new_bundle,
            lambda work: None if _has(work, "new.bundle") else new_bundle,
            lambda work: Bundle.load(work / "new.bundle") if _has(work, "new.bundle") else None,
        ),
        "evaluate": Scenario(evaluation, lambda _: evaluation, _report),
        "video": Scenario(video, lambda _: video, lambda _: None),
    }


def in_place(folder: Path, words: tuple[object, ...], *more: object) -> None:
    """Run a command without faults."""
    (folder.parent / "work" / "tmp").mkdir(parents=True, exist_ok=True)
    end = run(command(*words, *more), folder.parent)
    assert end.code == 0, end.said


def break_all(
    name: str, scenario: Scenario, folder: Path, share: float, drawn: np.random.Generator
) -> list[str]:
    """Give each fault in turn; return a line for each that lost or left something."""
    work = folder / "work"
    _begin(work, scenario)
    unbroken = run(scenario.first, folder)
    assert unbroken.code == 0, unbroken.said
    wanted = _names(work)
    calls = writing_calls(unbroken.trace, work)
    faults = [fault for fault in injections(calls) if drawn.random() < share]
    broken, begun = [], time.monotonic()
    for call, kind, inject in faults:
        _begin(work, scenario)
        trouble = _break(scenario, folder, inject, wanted)
        if trouble:
            broken.append(f"{name}: {call.name} {call.number} {kind}: {trouble}")
            print(broken[-1], flush=True)
    minutes = (time.monotonic() - begun) / 60
    print(
        f"{name}: {len(broken)} broken of {len(faults)} faults at {len(calls)} calls "
        f"({minutes:.0f} minutes)",
        flush=True,
    )
    return broken


def _break(scenario: Scenario, folder: Path, inject: str, wanted: set[str]) -> str:
    """Return what one fault has broken, "" for nothing."""
    work = folder / "work"
    end = run(scenario.first, folder, inject=inject)
    if not end.is_plain:
        return f"ended with {end.code}: {end.said[-300:]!r}"
    if damage := _damage(scenario, work):
        return damage
    again = scenario.again(work)
    if again is None:
        return ""
    second = run(again, folder)
    if second.code != 0:
        return f"given again, it ended with {second.code}: {second.said[-300:]!r}"
    names = _names(work)
    left = f"left over: {sorted(names - wanted)}, missing: {sorted(wanted - names)}"
    return _damage(scenario, work) or left * (names != wanted)


def _damage(scenario: Scenario, work: Path) -> str:
    """Return what is not whole, "" for nothing."""
    try:
        scenario.whole(work)
    except (ValueError, OSError, KeyError, AssertionError) as error:
        return f"not whole: {error!r}"
    return ""


def _begin(work: Path, scenario: Scenario) -> None:
    shutil.rmtree(work, ignore_errors=True)
    if scenario.before is None:
        work.mkdir()
    else:
        shutil.copytree(scenario.before, work)
    (work / "tmp").mkdir()


def _names(work: Path) -> set[str]:
    """Return the names of all files; TensorBoard's have the time in them."""
    names = {str(path.relative_to(work)) for path in work.rglob("*")}
    return {
        name for name in names if "tensorboard/events" not in name and not name.endswith(PASSING)
    }


def _has(work: Path, name: str) -> bool:
    return (work / name).exists()


def _checkpoints(run_folder: Path) -> None:
    assert read_checkpoint(run_folder / "checkpoints" / LAST_CHECKPOINT)["epoch"] in (0, 1)
    if (run_folder / "run.json").exists():
        Run.load(run_folder).network()


def _as_killed_after_one_of_two_epochs(run_folder: Path) -> None:
    (run_folder / "run.json").unlink()
    file = run_folder / "start.json"
    values = json.loads(file.read_text())
    values["recipe"]["training"]["epochs"] = 2
    file.write_text(json.dumps(values))


def _report(work: Path) -> None:
    for file in (work / "report").glob("*.json"):
        json.loads(file.read_text())


if __name__ == "__main__":
    main()
