"""Pictures that are wider than high, from a recipe to what a Pi says of them."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import shapes
from command_line import invoke
from int8_files import Tflite
from tiny_run import HERE

from leansight.runtime.bundle import Bundle
from leansight.runtime.classifier import Classifier
from leansight.runtime.errors import DataError
from leansight.sdk.recipes.load import load_recipe, override
from leansight.sdk.runs.begin import begin
from leansight.sdk.runs.run import Run, TrainingOptions
from leansight.sdk.training.train import train


@pytest.fixture(scope="module")
def wide(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A network that has seen square photos between bars, first at half the size."""
    folder = tmp_path_factory.mktemp("wide")
    changed = (
        "preprocessing.size=[28, 40]",
        "preprocessing.fit=letterbox",
        "preprocessing.colour=rgb",
        "preprocessing.clahe={clip_limit=2.0, tiles=2}",
        "training.half_size_share=0.2",
        "training.scene_scale=1.5",
    )
    (folder / "tiny.toml").write_text(shapes.RECIPE)
    recipe = load_recipe(str(folder / "tiny.toml"), changed)
    return train(data, recipe, out=folder / "run", hardware=HERE)


@pytest.fixture(scope="module")
def bundle(wide: Run, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("bundle") / "wide.bundle"
    made = invoke("export", wide.path, "--out", out, "--max-drop", 10, "--max-class-drop", 30)
    assert made.exit_code == 0, made.output
    return Bundle.load(out)


@pytest.mark.slow
def test_both_files_take_height_before_width(bundle: Bundle) -> None:
    assert bundle.preprocessing.size == (28, 40)
    assert json.loads((bundle.path / "bundle.json").read_text())["preprocessing"]["size"] == [
        28,
        40,
    ]
    (image,) = onnx.load_model_from_string(bundle.read("model.onnx")).graph.input
    assert [dim.dim_value for dim in image.type.tensor_type.shape.dim] == [1, 3, 28, 40]
    tflite = Tflite(bundle.read("model.tflite"))
    assert list(tflite.tensors[tflite.graph.inputs[0]].shape) == [1, 28, 40, 3]
    assert "28×40" in (bundle.path / "README.md").read_text()


@pytest.mark.slow
def test_a_wide_network_says_what_photos_show(bundle: Bundle, data: Path) -> None:
    photos, classes = shapes.photos(60, seed=9)
    answers = []
    for kind in bundle.formats:
        with Classifier.load(bundle.path, model_format=kind) as classifier:
            classifier.warm_up()
            answers.append([classifier(photo).top[0][0] for photo in photos])
    assert answers[0] == answers[1]
    assert np.mean([shapes.LABELS[c] == a for c, a in zip(classes, answers[0], strict=True)]) > 0.9
    assert invoke("check", bundle.path).exit_code == 0
    timed = invoke("bench", bundle.path, "--runs", 20, "--json")
    assert timed.exit_code == 0, timed.output
    said = invoke("classify", bundle.path, data, "--json")
    assert said.exit_code == 0
    assert len(said.stdout.splitlines()) == 72


@pytest.mark.slow
def test_a_search_around_a_wide_network_is_refused_in_one_line(wide: Run, tmp_path: Path) -> None:
    found = invoke("optimize", wide.path, "--out", tmp_path / "search", "--trials", 1)
    assert found.exit_code != 0
    assert "the images of this run are 28×40: the search tries squares" in str(
        found.exception or found.output
    )


@pytest.mark.slow
def test_a_teacher_of_another_shape_is_refused_where_it_would_see_bars(
    wide: Run, data: Path, tmp_path: Path
) -> None:
    changed = ("preprocessing.size=[40, 28]", "preprocessing.fit=letterbox")
    recipe = override(wide.recipe, changed)
    options = TrainingOptions(teachers=(wide.path,), lists=wide.path)
    with pytest.raises(DataError, match="sees pictures of 28×40, of other proportions than 40×28"):
        train(data, recipe, out=tmp_path / "run", options=options, hardware=HERE)
    begin(data, override(recipe, ("preprocessing.fit=stretch",)), tmp_path / "run", options)
