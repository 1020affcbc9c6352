"""Runs of the shapes recipe, and what they leave on disk."""

import csv
from dataclasses import replace
from pathlib import Path

import shapes

from leansight.sdk.models.build import build_network
from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.recipes.schema import Recipe
from leansight.sdk.runs.begin import begin
from leansight.sdk.runs.run import Run, TrainingOptions
from leansight.sdk.training.trainer import Hardware

HERE = Hardware(accelerator="cpu", workers=0)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "checkpoints" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def lists(folder: Path) -> list[str]:
    return [(folder / f"{part}.csv").read_text() for part in ("train", "validation", "test")]


def shortened(recipe: Recipe, **training: object) -> Recipe:
    return replace(recipe, training=replace(recipe.training, **{"epochs": 1, **training}))


def untrained_run(tmp_path: Path, text: str) -> Run:
    """Return a run as on disk after a training, which has not taken place."""
    data = shapes.write_data_set(tmp_path / "shapes")
    (tmp_path / "tiny.toml").write_text(text)
    recipe, path = load_recipe(str(tmp_path / "tiny.toml")), tmp_path / "untrained"
    begin(data, recipe, path, TrainingOptions())
    run = Run(path=path, data=data, recipe=recipe, labels=shapes.LABELS, metrics={"score": 0.5})
    run.save(build_network(recipe.model, classes=3, channels=1))
    return run
