"""Grid search: candidates (combinations of a recipe's values), each trained in several cells."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from leansight.runtime.errors import DataError
from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.recipes.schema import Recipe
from leansight.sdk.system.text import between_commas

# Candidates that differ in these could not be compared; folds and seeds have their own options.
_NOT_IN_A_GRID: Final = ("split", "training.seed", "training.choose_by", "task")
_NAME_LENGTH: Final = 60  # of a folder, before fold and seed: `ls` stays readable


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a grid: a dotted recipe key and the texts of the values it takes."""

    key: str
    values: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Axis":
        """Read KEY=V1,V2,...; commas inside brackets, braces and quotes belong to a value.

        Raises:
            DataError: no key, no value, a value twice, or a key that is not for a grid.

        """
        key, _, values = text.partition("=")
        axis = cls(key=key.strip(), values=_split(values))
        if not axis.key or not all(axis.values):
            raise DataError(
                f"{text}: expected KEY=V1,V2,..., such as training.learning_rate=0.1,0.01",
                parameter="grid",
            )
        if len(set(axis.values)) < len(axis.values):
            raise DataError(f"{text}: a value is there twice", parameter="grid")
        if axis.key.startswith(tuple(f"{name}." for name in _NOT_IN_A_GRID) + _NOT_IN_A_GRID):
            raise DataError(
                f"{text}: candidates that differ in {axis.key} cannot be compared (folds and "
                "seeds have options of their own)",
                parameter="grid",
            )
        return axis


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One combination of the grid's values: `number` counts from 1, `settings` are (key, value)."""

    number: int
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """Name the combination for people, such as `learning_rate=0.01 model=resnet50`."""
        words = [f"{_short(key)}={value}" for key, value in self.settings]
        return " ".join(words) or "the recipe"

    @property
    def overrides(self) -> tuple[str, ...]:
        """Return the settings as KEY=VALUE."""
        return tuple(f"{key}={value}" for key, value in self.settings)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training of a study: a candidate with a fold to validate on (from 0) and a seed."""

    candidate: Candidate
    fold: int
    seed: int

    @property
    def name(self) -> str:
        """Return the folder of its run: short, safe in every file system, unique in a study."""
        words = "-".join(f"{_short(key)}={value}" for key, value in self.candidate.settings)
        safe = re.sub(r"[^A-Za-z0-9.=_-]+", "_", words)[:_NAME_LENGTH]
        parts = (f"{self.candidate.number:02}", safe, f"fold{self.fold}", f"seed{self.seed}")
        return "-".join(part for part in parts if part)


@dataclass(frozen=True, kw_only=True)
class Study:
    """The definition of a study; every candidate's recipe is valid, and no two are the same.

    `recipe` is a shipped recipe's name or a file, `overrides` are KEY=VALUE as in `load_recipe`.
    `folds` 0 is one split. `test_on` is the country kept for the test, `weights` are local files
    of pretrained ones, `teachers` are runs to learn from; in the folder `bank` is a bank for each
    fold, with `bank_views` views of each image, which all candidates can read; `skip_bad` leaves
    out images that cannot be read.

    Raises:
        DataError: what the recipe, its overrides or the grid say does not fit, or the candidates
            cannot share a bank.

    """

    data: Path
    recipe: str
    overrides: tuple[str, ...] = ()
    grid: tuple[Axis, ...] = ()
    folds: int = 0
    seeds: tuple[int, ...] = (0,)
    test_on: str = ""
    weights: tuple[Path, ...] = ()
    teachers: tuple[Path, ...] = ()
    bank: Path | None = None
    bank_views: int = 10
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise DataError(
                f"{between_commas(self.seeds)}: expected different whole numbers",
                parameter="seeds",
            )
        keys = [axis.key for axis in self.grid]
        if len(set(keys)) < len(keys):
            raise DataError(f"a key is there twice among {', '.join(keys)}", parameter="grid")
        seen: list[tuple[Recipe, Candidate]] = []
        for cell in self.cells():
            recipe = load_recipe(self.recipe, self.settings(cell))
            for other, candidate in seen:
                if recipe == other:
                    raise DataError(
                        f"{cell.candidate.name} is {candidate.name} again", parameter="grid"
                    )
            seen.append((recipe, cell.candidate))
        if self.bank:
            from leansight.sdk.runs.bank import require_same_views

            require_same_views([recipe for recipe, _ in seen])

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """Return every combination of the grid's values; the last key varies fastest."""
        keys = [axis.key for axis in self.grid]
        combinations = itertools.product(*(axis.values for axis in self.grid))
        return tuple(
            Candidate(number=number, settings=tuple(zip(keys, values, strict=True)))
            for number, values in enumerate(combinations, start=1)
        )

    def cells(self) -> Iterator[Cell]:
        """Yield every training, all candidates of a fold and seed before the next."""
        for seed, fold in itertools.product(self.seeds, range(max(self.folds, 1))):
            for candidate in self.candidates:
                yield Cell(candidate=candidate, fold=fold, seed=seed)

    def winner(self, candidate: Candidate) -> Cell:
        """Return the training of the chosen candidate on everything: fold 0 holds nothing out."""
        return Cell(candidate=candidate, fold=0, seed=self.seeds[0])

    @property
    def choose_by(self) -> str:
        """Name the metric of a run that candidates are compared by; more is better."""
        training = load_recipe(self.recipe, self.overrides).training
        shifted = training.choose_by == "shifted accuracy"
        return "shifted accuracy" if shifted else "validation accuracy"

    def settings(self, cell: Cell) -> tuple[str, ...]:
        """Return the KEY=VALUE that make the recipe that of a cell."""
        folds = (f"split.folds={self.folds}", f"split.fold={cell.fold}") if self.folds else ()
        seed = f"training.seed={cell.seed}"
        return (*self.overrides, *cell.candidate.overrides, *folds, seed)

    def to_dict(self) -> dict[str, Any]:
        """Return all that decides the results, as plain JSON values: the recipe by its content."""
        recipe = load_recipe(self.recipe, self.overrides).to_dict()
        del recipe["description"]
        return {
            "data": str(self.data),
            "recipe": recipe,
            "grid": {axis.key: list(axis.values) for axis in self.grid},
            "folds": self.folds,
            "seeds": list(self.seeds),
            "test_on": self.test_on,
            "weights": [str(path) for path in self.weights],
            "teachers": [str(path) for path in self.teachers],
            "bank": str(self.bank) if self.bank else None,
            "bank_views": self.bank_views if self.bank else None,
            "skip_bad": self.skip_bad,
        }


def _short(key: str) -> str:
    """Shorten `training.learning_rate` to `learning_rate`, but `model.name` to `model`."""
    return key.removesuffix(".name").rpartition(".")[2]


def _split(text: str) -> tuple[str, ...]:
    """Split at the commas that are outside brackets, braces and quotes."""
    values, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        depth += (letter in "[{") - (letter in "]}") if not quote else 0
        if letter == "," and not depth and not quote:
            values.append("")
        else:
            values[-1] += letter
    return tuple(value.strip() for value in values)
