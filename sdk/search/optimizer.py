"""A search for bundles that are right, sure, fast and small: Optuna asks, leansight makes them.

Any number of processes may share a search, on machines that all see its folder; each trial is
held by the process that works on it, and goes on in another if that one dies.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from leansight.exporters.errors import ConversionError, PruningError
from leansight.exporters.options import ExportRefusedError
from leansight.runtime.errors import BundleError, DataError, LeansightError
from leansight.sdk.search.objectives import OBJECTIVES
from leansight.sdk.search.results import Result, State, write_results
from leansight.sdk.search.space import BundleMeasurement, Point, Space
from leansight.sdk.search.storage import (
    JOURNAL,
    keep_definition,
    open_storage,
    refuse_foreign,
)
from leansight.sdk.system.locks import locked, try_lock
from leansight.sdk.training.errors import ReaderError

_REDRAWS: Final = 50  # of what has been tried already, before chance decides
# Of which the estimator takes the best. Of Optuna's 24 that was nearly always one tried already:
# of made-up grids of 144 points 40 trials then found 34 % of the front (chance: 29 %), now 42 %.
_CANDIDATES: Final = 4
_STATES: Final[Mapping[TrialState, State]] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "refused",
    TrialState.FAIL: "failed",
}
_MEASURED: Final = "measured"  # with the reason, what a trial keeps beside its values
_REASON: Final = "reason"


class KilledError(LeansightError):
    """The process that made a bundle was killed, or crashed."""


# What says something of a point alone; anything else ends the search, which may go on later.
FAILURES: Final = (
    *(ConversionError, PruningError, DataError, BundleError),
    *(KilledError, ReaderError),
)


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched, and for what: all that decides which trials there are.

    `objectives`: names of `OBJECTIVES`; `first`: the point to begin with; `made_of`: plain JSON
    values that decide what a point becomes, and by which command (see `sdk.commands.optimize`).
    """

    space: Space
    objectives: tuple[str, ...]
    first: Point
    seed: int
    made_of: Mapping[str, Any]

    def __post_init__(self) -> None:
        known = ", ".join(OBJECTIVES)
        if not self.objectives or len(set(self.objectives)) < len(self.objectives):
            raise DataError(f"name one or more of {known}, each once", parameter="objectives")
        if unknown := [name for name in self.objectives if name not in OBJECTIVES]:
            raise DataError(
                f"there is no objective {unknown[0]}: there are {known}", parameter="objectives"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        values = {"objectives": self.objectives, "seed": self.seed, **asdict(self.space)}
        plain: dict[str, Any] = json.loads(json.dumps(values | dict(self.made_of)))
        return plain


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """Runs the search called `name` in `folder`; what is there goes on.

    The folder holds `optimize.json` (the definition, written first), the journal of the trials
    (unless `storage` names a file or a database URL), `locks/`, `pareto.png`, `pareto.csv`
    (the front), `trials.csv` (all), and what `evaluate` keeps. `evaluate` makes and measures a
    point; `command` says how a point is made again (given its trial's number); `prepare` is called
    once the folder is known to be this search's; `report_line` gets a line of text at the
    beginning and end of each trial; `note` is the small print of the picture.
    """

    search: Search
    name: str
    folder: Path
    evaluate: Callable[[Point], BundleMeasurement]
    command: Callable[[Point, int], str]
    storage: str | None = None
    prepare: Callable[[], object] = lambda: None
    report_line: Callable[[str], None] = lambda _: None
    note: str = ""

    def run(self, *, trials: int | None, hours: float | None) -> list[Result]:
        """Try points until there are so many `trials`, or none begins after so many `hours`.

        `trials` counts those of all processes, earlier ones as well. Each process ends when there
        is no more to begin; the last one's results are of all.

        Raises:
            DataError: the folder is of another search, or the storage cannot be opened.
            LeansightError: something is wrong with more than one point.

        """
        end = math.inf if hours is None else time.monotonic() + 3600 * hours
        results: list[Result] | None = None
        with self._study() as (study, storage):
            while held := self._next(study, storage, trials, end):
                trial, lock = held
                with lock:
                    self._finish(study, storage, trial)
                results = self._write(study)
            return self._write(study) if results is None else results

    def _next(
        self, study: optuna.Study, storage: BaseStorage, trials: int | None, end: float
    ) -> tuple[FrozenTrial, TextIOWrapper] | None:
        """Return a trial that a dead process left behind, or a new one; None if there is none."""
        if time.monotonic() >= end:
            return None
        with locked(self.folder / "locks" / "search.lock"):
            known = study.get_trials(deepcopy=False)
            space = self.search.space
            if left := self._left_behind(study, storage, known):
                self._report_trial(left[0], "goes on", trials)
                return left
            if len(known) >= min(trials or math.inf, len(space.points())):
                return None
            study.sampler = _UntriedPointSampler(self.search, number=len(known))
            new = study.ask({n: CategoricalDistribution(v) for n, v in space.choices.items()})
            lock = self._hold(new.number)
            assert lock is not None  # nobody knew of it
            trial = storage.get_trial(_trial_id(study, storage, new.number))
        self._report_trial(trial, "begins", trials)
        return trial, lock

    def _left_behind(
        self, study: optuna.Study, storage: BaseStorage, known: Sequence[FrozenTrial]
    ) -> tuple[FrozenTrial, TextIOWrapper] | None:
        """Return a trial that was under way in a process that has died; None if there is none."""
        for number in (trial.number for trial in known if trial.state == TrialState.RUNNING):
            if not (lock := self._hold(number)):
                continue
            # Its owner may have ended it, and let go, since the trials were listed.
            trial = storage.get_trial(_trial_id(study, storage, number))
            if trial.state == TrialState.RUNNING:
                if trial.params.keys() == self.search.space.choices.keys():
                    return trial, lock
                study.tell(number, state=TrialState.FAIL)  # killed before it had a point
            lock.close()
        return None

    def _hold(self, number: int) -> TextIOWrapper | None:
        return try_lock(self.folder / "locks" / f"trial-{number}.lock")

    def _finish(self, study: optuna.Study, storage: BaseStorage, trial: FrozenTrial) -> None:
        """Evaluate a trial, and keep what was measured or why there is nothing to measure."""
        objectives = [OBJECTIVES[name] for name in self.search.objectives]
        key = _trial_id(study, storage, trial.number)
        try:
            measured = self.evaluate(Point.from_params(trial.params))
        except (ExportRefusedError, *FAILURES) as error:
            refused = isinstance(error, ExportRefusedError)
            storage.set_trial_user_attr(key, _REASON, str(error))
            study.tell(trial.number, state=TrialState.PRUNED if refused else TrialState.FAIL)
            self.report_line(f"trial {trial.number} {'refused' if refused else 'failed'}: {error}")
            return
        values = measured.to_dict()
        storage.set_trial_user_attr(key, _MEASURED, values)
        study.tell(trial.number, [values[o.field] for o in objectives])
        said = ", ".join(f"{o.name} {o.say(values[o.field])}" for o in objectives)
        self.report_line(f"trial {trial.number}: {said}")

    def _report_trial(self, trial: FrozenTrial, what: str, trials: int | None) -> None:
        point = Point.from_params(trial.params).describe(self.search.space.varied)
        of = min(trials or math.inf, len(self.search.space.points()))
        self.report_line(f"trial {trial.number} (of {of}) {what}: {point}")

    def _write(self, study: optuna.Study) -> list[Result]:
        """Write the picture and the tables of all finished trials, and return these."""
        with locked(self.folder / "locks" / "search.lock"):
            known, names = study.get_trials(deepcopy=False), self.search.space.choices.keys()
            finished = [t for t in known if t.state.is_finished() and t.params.keys() == names]
            objectives = [OBJECTIVES[name] for name in self.search.objectives]
            results = [self._result(trial) for trial in finished]
            varied = self.search.space.varied
            return write_results(
                self.folder, results, objectives, varied=varied, name=self.name, note=self.note
            )

    def _result(self, trial: FrozenTrial) -> Result:
        point, measured = Point.from_params(trial.params), trial.user_attrs.get(_MEASURED)
        return Result(
            trial=trial.number,
            state=_STATES[trial.state],
            point=point,
            measured=BundleMeasurement(**measured) if measured else None,
            reason=trial.user_attrs.get(_REASON, ""),
            command=self.command(point, trial.number),
        )

    @contextmanager
    def _study(self) -> Iterator[tuple[optuna.Study, BaseStorage]]:
        """Open the study of the folder, begun now if there is none."""
        self.folder.mkdir(parents=True, exist_ok=True)
        refuse_foreign(self.folder)
        with locked(self.folder / "locks" / "search.lock"):
            name = keep_definition(self.search.to_dict(), self.folder, self.storage)
            self.prepare()
            storage = open_storage(self.storage or str(self.folder / JOURNAL))
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                directions=[OBJECTIVES[n].direction for n in self.search.objectives],
                load_if_exists=True,
            )
        try:
            yield study, storage
        finally:
            storage.remove_session()


class _UntriedPointSampler(TPESampler):
    """Optuna's tree-structured Parzen estimator, of points that no trial has had.

    What it draws depends on the seed, the number of the trial and the trials before it alone: a
    search that was stopped goes on as it would have, and processes that share one differ.
    """

    def __init__(self, search: Search, *, number: int) -> None:
        seeds = np.random.SeedSequence([search.seed, number])
        seed = int(seeds.generate_state(1)[0])
        super().__init__(multivariate=True, n_ei_candidates=_CANDIDATES, seed=seed)
        self._search = search
        self._chance = np.random.default_rng(seeds)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return all that there is a choice of."""
        del study, trial
        choices = self._search.space.choices.items()
        return {name: CategoricalDistribution(v) for name, v in choices if len(v) > 1}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw until something is new; the first trial is the search's first point."""
        points = [point.params for point in self._search.space.points()]
        tried = [t.params for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        new = [params for params in points if params not in tried]
        if (first := self._search.first.params) in new:
            return {name: first[name] for name in search_space}
        for _ in range(_REDRAWS):
            drawn = super().sample_relative(study, trial, search_space)
            if not drawn:  # too few trials to learn from
                break
            if any(drawn.items() <= params.items() for params in new):
                return drawn
        chosen = new[self._chance.integers(len(new))]
        return {name: chosen[name] for name in search_space}


def _trial_id(study: optuna.Study, storage: BaseStorage, number: int) -> int:
    of = storage.get_study_id_from_name(study.study_name)
    return storage.get_trial_id_from_study_id_trial_number(of, number)
