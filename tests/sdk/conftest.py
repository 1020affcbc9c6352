"""A run that has learnt the shapes, trained once for all tests that read it."""

from pathlib import Path

import pytest
import shapes
from tiny_run import HERE

from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.recipes.schema import Recipe
from leansight.sdk.runs.run import Run
from leansight.sdk.training.train import train


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes.write_data_set(tmp_path_factory.mktemp("data") / "shapes")


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    file.write_text(shapes.RECIPE)
    return file


@pytest.fixture(scope="session")
def recipe(recipe_file: Path) -> Recipe:
    return load_recipe(str(recipe_file))


@pytest.fixture(scope="session")
def run(data: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(data, recipe, out=tmp_path_factory.mktemp("runs") / "run", hardware=HERE)
