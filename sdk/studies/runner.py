"""A study in its folder: run the cells, choose the best candidate, train it on everything."""

import contextlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from leansight.runtime.errors import DataError
from leansight.runtime.system.whole_files import part_name
from leansight.sdk.studies.executors import CellTask, Executor, Outcome
from leansight.sdk.studies.grid import Candidate, Cell, Study
from leansight.sdk.studies.results import (
    StudyResults,
    choose,
    read_metrics,
    read_score,
    summarise,
    write_picture,
)
from leansight.sdk.system.definition import require_same
from leansight.sdk.system.files import write_json
from leansight.sdk.system.locks import exclusive

LOCK: Final = "study.lock"  # held by the process that runs the study
# What a study that was killed while it began has left.
_BEFORE_DEFINITION: Final = {"recipe.toml", LOCK, part_name("study.json")}


class Arguments(Protocol):
    """Gives the arguments of the command that trains a cell, of the test images or not."""

    def __call__(self, study: Study, cell: Cell, *, out: Path, everything: bool) -> tuple[str, ...]:
        """Return them: the run goes to `out`, and is continued where it is there already.

        With `everything` it learns from the validation images as well, and is tested; else the
        test images are left out and not looked at.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class StudyRunner:
    """Runs a study in `folder`; what is finished there is kept, what is unfinished goes on.

    `folder`, and the paths of the study, are absolute: other machines must find them.
    The folder holds `study.json` (the definition, written first), `recipe.toml` (a copy of a
    user's own recipe), `cells/NAME/` (a run each) with `cells/NAME.log`, `winner/` with
    `winner.log`, `winner.json` (who it is), `results.json` and `results.png`.

    `arguments` are those of the command that trains; `trainer` is that command, if not
    `leansight train`. `report_outcome` gets each outcome, `report_running` how many trainings are
    under way.
    """

    study: Study
    folder: Path
    executor: Executor
    arguments: Arguments
    trainer: tuple[str, ...] = ()
    skip_failed: bool = False
    report_outcome: Callable[[Outcome], None] = lambda _: None
    report_running: Callable[[int], None] = lambda _: None

    def run(self) -> StudyResults:
        """Run all that is not finished and return what was found.

        If a cell fails, the others still run, but there is a winner only with `skip_failed`:
        the best of the candidates whose cells have all finished.

        Raises:
            DataError: the folder is of another study or in use, or a finished run is damaged.

        """
        with exclusive(self.folder / LOCK):
            study = keep_definition(self.study, self.folder)
            if study.bank:
                study.bank.mkdir(parents=True, exist_ok=True)
            cells = list(study.cells())
            failed = self._finish([self._task(study, cell) for cell in cells])
            results = self._results(cells, failed)
            if results.winner and (not failed or self.skip_failed):
                self._keep_choice(results.winner)
                _write(self.folder, results)
                task = self._winner(study, results.winner)
                failed |= self._finish([task])
                metrics = _tested(task.out) if task.finished else None
                results = replace(results, metrics=metrics, failed=failed)
            else:
                results = replace(results, winner=None)
            _write(self.folder, results)
        return results

    def _finish(self, tasks: Sequence[CellTask]) -> dict[str, str]:
        """Run the unfinished tasks; return why the failed ones failed."""
        failed: dict[str, str] = {}
        todo = [task for task in tasks if not task.finished]
        if not todo:
            return failed
        with contextlib.closing(self.executor.run(todo, self.report_running)) as outcomes:
            for outcome in outcomes:
                if outcome.error:
                    failed[outcome.task.name] = outcome.error
                self.report_outcome(outcome)
        return failed

    def _results(self, cells: Sequence[Cell], failed: dict[str, str]) -> StudyResults:
        metric = self.study.choose_by
        runs = {cell: self.folder / "cells" / cell.name for cell in cells}
        scores = {cell: read_score(runs[cell], metric) for cell in cells if cell.name not in failed}
        candidates = summarise(cells, scores)
        return StudyResults(
            choose_by=metric, candidates=candidates, winner=choose(candidates), failed=failed
        )

    def _keep_choice(self, winner: Candidate) -> None:
        """Write down who is trained on everything; refuse another: the test is looked at once."""
        file = self.folder / "winner.json"
        earlier = _read(file).get("candidate") if file.is_file() else winner.name
        if earlier != winner.name:
            raise DataError(
                f"{self.folder / 'winner'} is of {earlier}, chosen while cells had failed, but "
                f"{winner.name} is better: to train that, which looks at the test a second time, "
                f"delete {file} and the folder winner"
            )
        write_json(file, {"candidate": winner.name})

    def _task(self, study: Study, cell: Cell) -> CellTask:
        out = self.folder / "cells" / cell.name
        arguments = self.arguments(study, cell, out=out, everything=False)
        return self._with(study, CellTask(name=cell.name, out=out, arguments=arguments))

    def _winner(self, study: Study, candidate: Candidate) -> CellTask:
        out = self.folder / "winner"
        arguments = self.arguments(study, study.winner(candidate), out=out, everything=True)
        return self._with(study, CellTask(name="winner", out=out, arguments=arguments, alone=True))

    def _with(self, study: Study, task: CellTask) -> CellTask:
        needs = (study.data, self.folder / "study.json", *study.weights, *study.teachers)
        needs += (study.bank,) if study.bank else ()
        return replace(task, needs=needs, trainer=self.trainer)


def keep_definition(study: Study, folder: Path) -> Study:
    """Write the definition to `folder`, or compare it with the one that is there.

    Returns the study with its recipe from the folder: a user's own file may change while cells
    are still to run, and other machines may not see it.

    Raises:
        DataError: the folder holds something else, or another study (says what differs).

    """
    file, own_recipe = folder / "study.json", folder / "recipe.toml"
    values = json.loads(json.dumps(study.to_dict()))
    if file.is_file():
        require_same(_read(file), values, folder)
    elif {path.name for path in folder.iterdir()} - _BEFORE_DEFINITION:
        raise DataError(
            f"{folder} is neither empty nor a study: choose another folder", parameter="out"
        )
    if Path(study.recipe).suffix == ".toml":
        if not file.is_file():
            shutil.copyfile(study.recipe, own_recipe)
        study = replace(study, recipe=str(own_recipe))
    if not file.is_file():
        write_json(file, values)
    (folder / "cells").mkdir(exist_ok=True)
    return study


def _tested(run: Path) -> dict[str, Any]:
    """Return what the winner scored on the test; it has learnt its validation images."""
    return {name: score for name, score in read_metrics(run).items() if name.startswith("test ")}


def _read(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is damaged: {error}") from error
    if not isinstance(values, dict):
        raise DataError(f"{file} is damaged: it holds no study")
    return values


def _write(folder: Path, results: StudyResults) -> None:
    write_json(folder / "results.json", results.to_dict())
    if any(result.scores for result in results.candidates):
        write_picture(results, folder / "results.png")
