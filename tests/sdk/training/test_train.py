import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapes
import torch
from safetensors.torch import load_file
from tiny_run import HERE, lists, rows, shortened

from leansight.exporters.conversion.inference import predict
from leansight.runtime.errors import DataError
from leansight.sdk.augmentation.geometric import Mirror
from leansight.sdk.augmentation.sharpness import Noise
from leansight.sdk.data.images import load_labelled
from leansight.sdk.data.layouts.detect import find_samples
from leansight.sdk.data.lists import read_samples
from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.recipes.schema import Recipe
from leansight.sdk.runs.run import Run, TrainingOptions
from leansight.sdk.training.train import class_weights, fast_memory_format, train


@pytest.mark.slow
def test_three_shapes_are_learnt(run: Run) -> None:
    assert run.metrics["validation accuracy"] > 0.9
    assert run.labels == shapes.LABELS


@pytest.mark.slow
def test_a_run_is_its_recipe_lists_weights_and_scores(run: Run, data: Path, recipe: Recipe) -> None:
    assert {p.name for p in run.path.iterdir()} == {
        *("start.json", "run.json", "model.safetensors", "checkpoints"),
        *("train.csv", "validation.csv", "test.csv"),
    }
    assert {p.name for p in (run.path / "checkpoints").iterdir()} == {
        *("best.ckpt", "last.ckpt", "metrics.csv", "tensorboard"),
    }
    last = torch.load(run.path / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] == recipe.training.epochs - 1  # not that of the best
    loaded = Run.load(run.path)
    assert (loaded.recipe, loaded.labels, loaded.data) == (recipe, shapes.LABELS, data.resolve())
    split = loaded.split()
    assert (len(split.train), len(split.validation), len(split.test)) == (48, 24, 0)
    assert sorted([*split.train, *split.validation], key=lambda s: s.path) == find_samples(data)


@pytest.mark.slow
def test_the_saved_network_is_the_best_epochs(run: Run, data: Path) -> None:
    loaded = Run.load(run.path)
    samples = read_samples(run.path / "validation.csv")
    preprocessing = loaded.recipe.preprocessing
    images = load_labelled(data, samples, shapes.LABELS, preprocessing, what="reading")
    right = [
        shapes.LABELS[int(logits.argmax())] == sample.path.parts[0]
        for logits, sample in zip(predict(loaded.network(), images.pixels), samples, strict=True)
    ]
    by_epoch = [float(row["val_accuracy"]) for row in rows(run.path) if row["val_accuracy"]]
    assert len(by_epoch) == 10
    assert loaded.metrics["validation accuracy"] == pytest.approx(max(by_epoch))
    assert loaded.metrics["validation accuracy"] == np.mean(right)


@pytest.mark.slow
def test_the_seed_decides_the_weights(run: Run, data: Path, recipe: Recipe, tmp_path: Path) -> None:
    # Worker processes make no difference.
    again = train(data, recipe, out=tmp_path / "again", hardware=replace(HERE, workers=2))
    first, second = (r.path / "model.safetensors" for r in (run, again))
    assert first.read_bytes() == second.read_bytes()
    other = replace(recipe, training=replace(recipe.training, seed=1, epochs=1))
    third = train(data, other, out=tmp_path / "other", hardware=HERE).path / "model.safetensors"
    one, two = load_file(third), load_file(first)
    assert not any(torch.equal(one[name], two[name]) for name in one if "weight" in name)


@pytest.mark.slow
def test_test_images_are_scored_apart_and_only_if_wanted(
    data: Path, recipe: Recipe, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    for country in ("north", "south"):
        for path in sorted(data.glob("*/*.png")):
            copy = tmp_path / "data" / country / path.relative_to(data)
            copy.parent.mkdir(parents=True, exist_ok=True)
            # Another country's photos are others: the same ones would be a leak.
            cv2.imwrite(str(copy), shapes.draw(copy.parent.name, rng))
    short = shortened(recipe)
    for score_test in (True, False):
        options = TrainingOptions(test_on="south", score_test=score_test)
        out = tmp_path / str(score_test)
        run = train(tmp_path / "data", short, out=out, options=options, hardware=HERE)
        assert ("test accuracy" in run.metrics) == score_test
        assert "validation accuracy" in run.metrics
    split = run.split()
    assert len(split.test) == 72
    assert {s.country for s in split.test} == {"south"}
    assert {s.country for s in (*split.train, *split.validation)} == {"north"}


@pytest.mark.slow
def test_the_lists_of_a_run_are_used_again(
    run: Run, data: Path, recipe: Recipe, tmp_path: Path
) -> None:
    other = replace(shortened(recipe), split=replace(recipe.split, seed=5))
    options = TrainingOptions(lists=run.path)
    again = train(data, other, out=tmp_path / "again", options=options, hardware=HERE)
    assert lists(again.path) == lists(run.path)


@pytest.mark.slow
def test_training_on_everything_keeps_the_last_epoch(
    data: Path, recipe: Recipe, tmp_path: Path
) -> None:
    options = TrainingOptions(everything=True)
    run = train(data, shortened(recipe), out=tmp_path / "run", options=options, hardware=HERE)
    split = run.split()
    assert (len(split.train), len(split.validation)) == (72, 24)
    assert {p.name for p in (run.path / "checkpoints").glob("*.ckpt")} == {"last.ckpt"}
    assert run.network()


@pytest.mark.slow
def test_a_teacher_is_learnt_from(run: Run, data: Path, recipe: Recipe, tmp_path: Path) -> None:
    taught = replace(
        shortened(recipe, epochs=3), distillation=replace(recipe.distillation, share=1)
    )
    weights = []
    for teachers in ((run.path,), ()):
        out = tmp_path / str(len(teachers))
        train(data, taught, out=out, options=TrainingOptions(teachers=teachers), hardware=HERE)
        weights.append(load_file(out / "model.safetensors"))
    assert weights[0].keys() == weights[1].keys()
    assert not any(torch.equal(weights[0][n], weights[1][n]) for n in weights[0] if "weight" in n)


@pytest.mark.slow
def test_a_teacher_of_other_classes_is_refused(
    run: Run, data: Path, recipe: Recipe, tmp_path: Path
) -> None:
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / "disc").rename(tmp_path / "data" / "ring")
    with pytest.raises(DataError, match=r"the teacher .* knows the classes .*, the images are of"):
        train(
            tmp_path / "data",
            recipe,
            out=tmp_path / "run",
            options=TrainingOptions(teachers=(run.path,)),
            hardware=HERE,
        )


@pytest.mark.slow
def test_a_teacher_that_has_learnt_what_is_held_out_is_refused(
    run: Run, data: Path, recipe: Recipe, tmp_path: Path
) -> None:
    other = replace(recipe, split=replace(recipe.split, seed=1))
    with pytest.raises(DataError, match=r"has learnt \d+ of the images that are held out here"):
        train(
            data,
            other,
            out=tmp_path / "run",
            options=TrainingOptions(teachers=(run.path,)),
            hardware=HERE,
        )
    assert not (tmp_path / "run").exists()
    with_its_lists = TrainingOptions(teachers=(run.path,), lists=run.path)
    short = shortened(other, epochs=1)
    train(data, short, out=tmp_path / "run", options=with_its_lists, hardware=HERE)
    assert lists(tmp_path / "run") == lists(run.path)


@pytest.mark.slow
def test_a_shifted_copy_is_scored_and_can_choose_the_epoch(
    data: Path, recipe: Recipe, tmp_path: Path
) -> None:
    shifted = replace(
        recipe, shift=(Mirror(probability=1), Noise(sigma=60)), augmentation=(Noise(sigma=30),)
    )
    shifted = shortened(shifted, epochs=4, choose_by="shifted accuracy", average_decay=0.5)
    run = train(data, shifted, out=tmp_path / "run", hardware=HERE)
    by_epoch = [float(row["shifted_accuracy"]) for row in rows(run.path) if row["val_accuracy"]]
    assert len(by_epoch) == 4
    assert run.metrics["shifted accuracy"] == pytest.approx(max(by_epoch))


@pytest.mark.slow
@pytest.mark.parametrize(
    "training",
    [
        {"optimiser": "adam", "schedule": "plateau", "plateau_patience": 0},
        {"optimiser": "nadam", "schedule": "steps", "drop_epochs": (1,), "label_smoothing": 0.1},
        {"optimiser": "adamw", "layer_decay": 0.5, "half_size_share": 0.5},
        {"schedule": "constant", "trainable_layers": 0, "unfreeze_epoch": 1, "choose_by": "loss"},
        {"patience": 1, "min_delta": 1.0, "epochs": 9},
    ],
    ids=lambda t: "-".join(map(str, t)),
)
def test_every_way_of_training_runs(
    training: dict[str, object], data: Path, recipe: Recipe, tmp_path: Path
) -> None:
    chosen = shortened(recipe, **{"epochs": 2, "learning_rate": 0.001, **training})
    run = train(data, chosen, out=tmp_path / "run", hardware=HERE)
    epochs = [row["epoch"] for row in rows(run.path) if row["val_accuracy"]]
    assert len(epochs) == 2  # early stopping: nothing can improve by 1.0
    assert run.network()


@pytest.mark.slow
def test_a_frozen_body_keeps_its_weights(data: Path, recipe: Recipe, tmp_path: Path) -> None:
    weights = []
    for epochs in (1, 2):
        frozen = shortened(recipe, epochs=epochs, trainable_layers=0, schedule="constant")
        out = tmp_path / str(epochs)
        train(data, frozen, out=out, options=TrainingOptions(everything=True), hardware=HERE)
        weights.append(load_file(out / "model.safetensors"))
    one, two = weights
    same = {name.split(".")[0] for name in one if torch.equal(one[name], two[name])}
    changed = {name.split(".")[0] for name in one if not torch.equal(one[name], two[name])}
    assert changed == {"head"}
    assert "body" in same


@pytest.mark.slow
def test_a_learning_rate_is_found_and_written_down(
    data: Path, recipe: Recipe, tmp_path: Path
) -> None:
    seeking = shortened(recipe, find_learning_rate=True)
    run = train(data, seeking, out=tmp_path / "run", hardware=HERE)
    assert not run.recipe.training.find_learning_rate
    assert 1e-8 < run.recipe.training.learning_rate < 1
    assert run.recipe.training.learning_rate != recipe.training.learning_rate


def test_classes_weigh_as_much_as_each_other() -> None:
    recipe = load_recipe("traffic-signs-small")
    classes = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2], np.int64)
    # 10 images / (3 classes × 6, 3 and 1 images)
    assert class_weights(classes, 3, recipe).tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    flat = load_recipe("traffic-signs-small", ["training.class_weights=false"])
    assert class_weights(classes, 3, flat).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "safe"),
    [(8, 1, 2, False), (16, 1, 2, True), (8, 1, 1, True), (8, 3, 2, True)],
)
def test_a_layout_in_which_the_gradient_crashes_is_not_used(
    channels: int, kernel: int, stride: int, *, safe: bool
) -> None:
    convolution = torch.nn.Conv2d(channels, 16, kernel, stride, bias=False)
    wanted = fast_memory_format(torch.nn.Sequential(convolution))
    assert (wanted == torch.channels_last) is safe
    # In another process: it would take the tests with it.
    code = f"""
import torch
layer = torch.nn.Conv2d({channels}, 16, {kernel}, {stride}).to(memory_format={wanted})
for _ in range(5):
    image = torch.randn(64, {channels}, 32, 32).to(memory_format={wanted}).requires_grad_()
    layer(image).square().sum().backward()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
