import csv
from pathlib import Path

import optuna

from leansight.sdk.search import results as optimizing_results
from leansight.sdk.search.space import Point
from leansight.sdk.search.storage import JOURNAL


def trials_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def points_of(results: list[optimizing_results.Result]) -> list[Point]:
    return [result.point for result in results]


def optuna_study(folder: Path) -> optuna.Study:
    """Open the study as any other program would."""
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
    )
    return optuna.load_study(study_name=None, storage=storage)
