"""A run as on disk after a training, which has not taken place."""

from pathlib import Path

import shapes

from leansight.sdk.models.build import build_network
from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.runs.begin import begin
from leansight.sdk.runs.run import Run, TrainingOptions


def untrained_run(tmp_path: Path, text: str) -> Run:
    data = shapes.write_data_set(tmp_path / "shapes")
    (tmp_path / "tiny.toml").write_text(text)
    recipe, path = load_recipe(str(tmp_path / "tiny.toml")), tmp_path / "untrained"
    begin(data, recipe, path, TrainingOptions())
    run = Run(path=path, data=data, recipe=recipe, labels=shapes.LABELS, metrics={"score": 0.5})
    run.save(build_network(recipe.model, classes=3, channels=1))
    return run
