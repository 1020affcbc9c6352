"""What a run of the shapes recipe leaves on disk."""

import csv
from dataclasses import replace
from pathlib import Path

from leansight.sdk.recipes.schema import Recipe
from leansight.sdk.training.trainer import Hardware

HERE = Hardware(accelerator="cpu", workers=0)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "checkpoints" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def lists(folder: Path) -> list[str]:
    return [(folder / f"{part}.csv").read_text() for part in ("train", "validation", "test")]


def shortened(recipe: Recipe, **training: object) -> Recipe:
    return replace(recipe, training=replace(recipe.training, **{"epochs": 1, **training}))
