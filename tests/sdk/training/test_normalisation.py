"""S3's normalisation: by the mean and deviation of the images that a run learns from."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapes
import timm
from safetensors.torch import save_file
from tiny_run import HERE

from leansight.exporters.conversion.inference import predict
from leansight.exporters.options import Promise
from leansight.runtime.classifier import Classifier
from leansight.sdk.data.images import ImageSet
from leansight.sdk.deployment.export_run import export_run
from leansight.sdk.deployment.options import DeploymentOptions
from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.recipes.schema import Recipe
from leansight.sdk.runs.run import RunConfig, TrainingOptions
from leansight.sdk.training.normalisation import measure_normalisation
from leansight.sdk.training.train import train


@pytest.fixture
def published() -> Recipe:
    """S3's recipe with the lightest body, for drawn shapes."""
    return load_recipe(
        "driving-weather-published",
        [
            "model.name=mobilenetv2_100",
            "preprocessing.size=32",
            "split.by=video",
            "split.validation=0.34",
            "split.test=0",
            "training.epochs=1",
            "training.batch_size=8",
            "training.find_learning_rate=false",
        ],
    )


def begun(recipe: Recipe, out: Path) -> RunConfig:
    out.mkdir()
    return RunConfig(data=out, recipe=recipe, labels=("a", "b"))


def test_each_colour_is_measured_over_all_images_and_written_down(
    published: Recipe, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, (60, 120, 256), (5, 8, 8, 3)).astype(np.uint8)
    pixels[0] //= 2  # the deviation is between images too, not within them alone
    scenes = ImageSet(pixels=pixels, classes=np.zeros(5, np.int64))
    start = begun(published, tmp_path / "run")
    model = measure_normalisation(start, scenes, tmp_path / "run").recipe.model
    values = pixels.reshape(-1, 3) / 255
    assert model.mean == pytest.approx(values.mean(0), abs=5e-5)
    assert model.deviation == pytest.approx(values.std(0), abs=5e-5)
    assert RunConfig.load(tmp_path / "run").recipe.model == model


def test_flat_images_still_have_a_deviation_to_divide_by(published: Recipe, tmp_path: Path) -> None:
    flat = ImageSet(pixels=np.full((2, 8, 8, 3), 51, np.uint8), classes=np.zeros(2, np.int64))
    start = begun(published, tmp_path / "run")
    model = measure_normalisation(start, flat, tmp_path / "run").recipe.model
    assert model.mean == (0.2, 0.2, 0.2)
    assert model.deviation == (0.001, 0.001, 0.001)


@pytest.mark.slow
def test_a_run_knows_its_training_images_and_its_bundle_answers_alike(
    data: Path, published: Recipe, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model("mobilenetv2_100").state_dict(), weights)
    options = TrainingOptions(weights=(weights,))
    run = train(data, published, out=tmp_path / "run", options=options, hardware=HERE)
    # The training images alone, cropped to the centre and resized.
    seen = [
        published.preprocessing(cv2.imread(str(data / sample.path))) for sample in run.split().train
    ]
    values = np.concatenate(seen).reshape(-1, 3) / 255
    assert run.recipe.model.mean == pytest.approx(values.mean(0), abs=5e-5)
    assert run.recipe.model.deviation == pytest.approx(values.std(0), abs=5e-5)
    assert replace(run.recipe.model, mean=(), deviation=()) == published.model
    told = DeploymentOptions(
        promise=Promise(max_drop=100, max_class_drop=100),
        precision="float32",
        accept_untrained=True,
    )
    export_run(run.path, told, out=tmp_path / "bundle")
    classifier = Classifier.load(tmp_path / "bundle")
    photos, _ = shapes.photos(6, seed=1)
    logits = predict(run.network(), np.concatenate([published.preprocessing(p) for p in photos]))
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for photo, probabilities in zip(photos, expected, strict=True):
        answers = dict(classifier(photo, top=3).top)
        assert [answers[label] for label in run.labels] == pytest.approx(probabilities, abs=1e-4)
