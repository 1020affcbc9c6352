import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapes
import torch
from safetensors.torch import load_file

from leansight.runtime.errors import DataError
from leansight.runtime.preprocessing import Preprocessing
from leansight.sdk import cli
from leansight.sdk.data import Labelled, find_samples, load_labelled, read_samples
from leansight.sdk.recipe import Augmentation, Recipe, load_recipe
from leansight.sdk.run import Run
from leansight.sdk.training import (
    _weights,
    accuracy,
    augmentation,
    one_cycle,
    predict,
    train,
    train_network,
)

pytestmark = [
    # Lightning asks torch in a way that torch would rather not be asked.
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.:DeprecationWarning"),
    # Going on with a run means that its folder is not empty.
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* is not empty:UserWarning"),
    # It advises worker processes; the images are in memory.
    pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes.write_data_set(tmp_path_factory.mktemp("data") / "shapes")


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    file.write_text(shapes.RECIPE)
    return file


@pytest.fixture(scope="module")
def recipe(recipe_file: Path) -> Recipe:
    return load_recipe(str(recipe_file))


@pytest.fixture(scope="module")
def run(data: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(data, recipe, out=tmp_path_factory.mktemp("runs") / "run")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "checkpoints" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def lists(folder: Path) -> list[str]:
    return [(folder / f"{part}.txt").read_text() for part in ("train", "validation", "test")]


# A run


@pytest.mark.slow
def test_three_shapes_are_learnt(run: Run) -> None:
    assert run.metrics["validation accuracy"] > 0.9
    assert run.labels == shapes.LABELS


@pytest.mark.slow
def test_a_run_is_its_recipe_lists_weights_and_scores(run: Run, data: Path, recipe: Recipe) -> None:
    assert {p.name for p in run.path.iterdir()} == {
        *("run.json", "model.safetensors", "checkpoints"),
        *("train.txt", "validation.txt", "test.txt"),
    }
    assert {p.name for p in (run.path / "checkpoints").iterdir()} == {
        *("best.ckpt", "last.ckpt", "metrics.csv"),
    }
    loaded = Run.load(run.path)
    assert (loaded.recipe, loaded.labels, loaded.data) == (recipe, shapes.LABELS, data.resolve())
    split = loaded.split()
    assert (len(split.train), len(split.validation), len(split.test)) == (48, 24, 0)
    assert sorted([*split.train, *split.validation], key=lambda s: s.path) == find_samples(data)


@pytest.mark.slow
def test_the_saved_network_is_the_best_epochs(run: Run, data: Path) -> None:
    loaded = Run.load(run.path)
    samples = read_samples(run.path / "validation.txt")
    preprocessing = loaded.recipe.preprocessing
    images = load_labelled(data, samples, shapes.LABELS, preprocessing, what="reading")
    right = [
        shapes.LABELS[int(logits.argmax())] == sample.path.parts[0]
        for logits, sample in zip(predict(loaded.network(), images.pixels), samples, strict=True)
    ]
    assert accuracy(loaded.network(), images) == np.mean(right)
    by_epoch = [float(row["val_accuracy"]) for row in rows(run.path) if row["val_accuracy"]]
    assert len(by_epoch) == 10
    assert loaded.metrics["validation accuracy"] == pytest.approx(max(by_epoch))
    assert loaded.metrics["validation accuracy"] == np.mean(right)


@pytest.mark.slow
def test_the_seed_decides_the_weights(run: Run, data: Path, recipe: Recipe, tmp_path: Path) -> None:
    again = train(data, recipe, out=tmp_path / "again")
    first, second = (r.path / "model.safetensors" for r in (run, again))
    assert first.read_bytes() == second.read_bytes()
    other = replace(recipe, training=replace(recipe.training, seed=1, epochs=1))
    third = train(data, other, out=tmp_path / "other").path / "model.safetensors"
    assert not torch.equal(load_file(third)["head.weight"], load_file(first)["head.weight"])


@pytest.mark.slow
def test_test_images_are_scored_apart(data: Path, recipe: Recipe, tmp_path: Path) -> None:
    for country in ("north", "south"):
        shutil.copytree(data, tmp_path / "data" / country)
    short = replace(recipe, training=replace(recipe.training, epochs=1))
    run = train(tmp_path / "data", short, out=tmp_path / "run", test_on="south")
    assert set(run.metrics) == {"validation accuracy", "test accuracy"}
    test = lists(run.path)[2].splitlines()
    assert len(test) == 72
    assert all(line.startswith("south/") for line in test)
    assert not any("south" in line for part in lists(run.path)[:2] for line in part.splitlines())


# Going on


def start_training(data: Path, recipe_file: Path, out: Path) -> subprocess.Popen[bytes]:
    script = "from leansight.sdk.cli import main; main()"
    command = [sys.executable, "-c", script, "train", str(data), "--recipe", str(recipe_file)]
    command += ["--out", str(out), "--set", "training.epochs=200"]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)


def an_epoch_is_done(out: Path) -> bool:
    checkpoints = out / "checkpoints"
    if not ((checkpoints / "last.ckpt").exists() and (checkpoints / "metrics.csv").exists()):
        return False
    return sum(bool(row.get("val_accuracy")) for row in rows(out)) >= 2


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
def test_a_killed_run_is_resumed_where_it_was(
    data: Path,
    recipe_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    process = start_training(data, recipe_file, out)
    try:
        wait_until(lambda: an_epoch_is_done(out) or process.poll() is not None, 120)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL

    assert not (out / "run.json").exists()
    with pytest.raises(DataError, match=r"run has not finished: go on with --resume"):
        Run.load(out)

    reached = torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)
    assert reached["epoch"] < 100
    epochs = reached["epoch"] + 4
    before, lists_before = rows(out), lists(out)

    arguments = ["train", str(data), "--recipe", str(recipe_file), "--out", str(out)]
    # Another split now would let the network be judged by images that it has learnt.
    arguments += ["--resume", "--set", "split.seed=7", "--epochs", str(epochs)]
    assert run_main(arguments, monkeypatch) == 0

    assert Run.load(out).network()
    assert lists(out) == lists_before
    after = rows(out)
    steps = [int(row["step"]) for row in after if row["train_loss"]]
    assert steps == list(range(6 * epochs))
    assert [int(row["epoch"]) for row in after if row["val_accuracy"]] == list(range(epochs))
    kept = [row for row in before if int(row["step"]) < reached["global_step"]]
    assert after[: len(kept)] == kept
    assert capsys.readouterr().out.splitlines()[-1] == f"run: {out}"


def run_main(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["leansight", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


# Damage


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Path:
    """A copy of the run's own files, to damage."""
    for name in ("run.json", "model.safetensors", "train.txt", "validation.txt", "test.txt"):
        (tmp_path / name).write_bytes((run.path / name).read_bytes())
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"data": "x"',
        "[]",
        "{}",
        '{"data": 1, "recipe": {}, "labels": [], "metrics": {}}',
        '{"data": "x", "recipe": null, "labels": ["a", "b"], "metrics": {}}',
        '{"data": "x", "recipe": [], "labels": ["a", "b"], "metrics": {}}',
    ],
)
def test_a_damaged_run_file_is_named(copied: Path, content: str) -> None:
    (copied / "run.json").write_text(content)
    with pytest.raises(DataError, match=r"run\.json is damaged: "):
        Run.load(copied)


@pytest.mark.slow
@pytest.mark.parametrize("keep", [0, 7, 1000, -1])
def test_damaged_weights_are_named(copied: Path, keep: int) -> None:
    file = copied / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"model\.safetensors is damaged or of another network"):
        Run.load(copied).network()


@pytest.mark.slow
def test_weights_of_another_network_are_named(copied: Path) -> None:
    values = json.loads((copied / "run.json").read_text())
    values["labels"].append("square")
    (copied / "run.json").write_text(json.dumps(values))
    with pytest.raises(
        DataError, match=r"model\.safetensors .* of another network: .*head"
    ) as error:
        Run.load(copied).network()
    assert len(str(error.value).splitlines()) == 1


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not a run \(it has no run\.json\)"):
        Run.load(tmp_path)


# Parts


def test_classes_weigh_as_much_as_each_other() -> None:
    recipe = load_recipe("traffic-signs-small")
    classes = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2], np.int64)
    # 10 images / (3 classes × 6, 3 and 1 images)
    assert _weights(classes, 3, recipe).tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    flat = load_recipe("traffic-signs-small", ["training.class_weights=false"])
    assert _weights(classes, 3, flat).tolist() == [1, 1, 1]


@pytest.mark.parametrize("channels", [1, 3])
def test_augmentation_changes_images_and_keeps_their_form(channels: int) -> None:
    change = augmentation(load_recipe("traffic-signs-small").augmentation, 24)
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.integers(0, 256, (channels, 24, 24), dtype=np.uint8))
    before = image.clone()
    torch.manual_seed(0)
    changed = [change(image) for _ in range(20)]
    assert {(c.shape, c.dtype) for c in changed} == {(image.shape, torch.uint8)}
    assert len({c.numpy().tobytes() for c in changed}) == 20
    assert torch.equal(image, before)


def test_augmentation_that_is_all_off_changes_nothing() -> None:
    change = augmentation(Augmentation(), 24)
    image = torch.arange(24 * 24, dtype=torch.int32).remainder(256).to(torch.uint8)[None]
    image = image.reshape(1, 24, 24)
    assert torch.equal(change(image), image)


@pytest.mark.parametrize(
    "only",
    [
        Augmentation(rotation_degrees=180),
        Augmentation(shift=1),
        Augmentation(scale=0.9),
        Augmentation(exposure=1),
        Augmentation(contrast=1),
        Augmentation(blur_probability=1),
    ],
)
def test_each_augmentation_works_alone_at_its_limit(only: Augmentation) -> None:
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.integers(0, 256, (1, 32, 32), dtype=np.uint8))
    torch.manual_seed(0)
    changed = [augmentation(only, 32)(image) for _ in range(5)]
    assert all(c.shape == image.shape and c.dtype == torch.uint8 for c in changed)
    assert any(not torch.equal(c, image) for c in changed)


def test_what_moves_in_from_outside_repeats_the_edge() -> None:
    image = torch.full((1, 32, 32), 200, dtype=torch.uint8)
    torch.manual_seed(0)
    change = augmentation(Augmentation(rotation_degrees=12, shift=0.1, scale=0.15), 32)
    for _ in range(20):
        assert torch.equal(change(image), image)


def test_a_loss_that_diverges_stops_the_training(recipe: Recipe, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = Labelled(
        pixels=rng.integers(0, 256, (32, 8, 8, 1), dtype=np.uint8),
        classes=np.arange(32, dtype=np.int64) % 3,
    )
    wild = replace(
        recipe,
        preprocessing=Preprocessing(size=8, colour="gray"),
        training=replace(recipe.training, learning_rate=1e30, schedule="constant"),
    )
    with pytest.raises(DataError, match=r"not a finite number in epoch 0: lower training\.learn"):
        train_network(wild, labels=3, train=images, validation=images, folder=tmp_path)


# The command


def a_small_data_set(root: Path) -> None:
    for name in ("a/00001_0.png", "a/00002_0.png", "b/00001_0.png", "b/00001_1.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), np.zeros((8, 8, 3), np.uint8))


def an_empty_folder(root: Path) -> None:
    root.mkdir()


def nothing(root: Path) -> None:
    del root


def a_full_out(root: Path) -> None:
    a_small_data_set(root)
    (root.parent / "run").mkdir()
    (root.parent / "run" / "thesis.txt").touch()


def a_broken_image(root: Path) -> None:
    a_small_data_set(root)
    (root / "b/00002_0.png").write_bytes(b"no image")


MISTAKES = pytest.mark.parametrize(
    ("prepare", "options", "message"),
    [
        (an_empty_folder, [], "data holds no image"),
        (nothing, [], "data is not a folder of labelled images: it does not exist"),
        (a_small_data_set, [], "class b has one video: two or more"),
        (a_full_out, [], "run is not empty: choose another --out, or go on with --resume"),
        (a_broken_image, [], "00002_0.png is not an image"),
        (a_small_data_set, ["--recipe", "signs"], "no recipe signs: there are"),
        (a_small_data_set, ["--set", "training.epochs=x"], "training.epochs must be a whole num"),
    ],
)


@MISTAKES
def test_a_mistake_ends_in_one_line(
    prepare: Callable[[Path], None],
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, out = tmp_path / "data", tmp_path / "run"
    prepare(data)
    before = sorted(out.rglob("*"))
    assert run_main(["train", str(data), "--out", str(out), *options], monkeypatch) == 1
    written = capsys.readouterr()
    assert written.out == ""
    (line,) = [text for text in written.err.splitlines() if text.strip()]
    assert line.startswith("leansight: ")
    assert message in line
    assert sorted(out.rglob("*")) == before or prepare is a_broken_image


@pytest.mark.slow
def test_a_mistake_ends_in_one_line_without_traceback(tmp_path: Path) -> None:
    script = "from leansight.sdk.cli import main; main()"
    command = [sys.executable, "-c", script, "train", str(tmp_path), "--out", str(tmp_path / "run")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"leansight: {tmp_path} holds no image")


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10, 20, 1000])
def test_a_schedule_of_any_length_rises_to_its_peak_and_falls(steps: int) -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    schedule = one_cycle(optimiser, 0.1, steps)
    rates = [schedule.get_last_lr()[0]]
    for _ in range(steps - 1):
        optimiser.step()
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
    assert max(rates) <= 0.1
    if steps >= 4:
        assert max(rates) == pytest.approx(0.1)
        assert rates[-1] < 1e-4
