import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapes
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from leansight.exporters.conversion.inference import predict
from leansight.runtime.errors import DataError
from leansight.sdk.augmentation.geometric import Mirror
from leansight.sdk.augmentation.photometric import Noise
from leansight.sdk.commands import cli
from leansight.sdk.data.images import load_labelled
from leansight.sdk.data.layouts.detect import find_samples
from leansight.sdk.data.lists import read_samples
from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.recipes.schema import Recipe
from leansight.sdk.runs.run import Run, RunConfig, TrainingOptions
from leansight.sdk.training.train import class_weights, fast_memory_format, train
from leansight.sdk.training.trainer import Hardware, moving_average

HERE = Hardware(accelerator="cpu", workers=0)


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
    return train(data, recipe, out=tmp_path_factory.mktemp("runs") / "run", hardware=HERE)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "checkpoints" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def lists(folder: Path) -> list[str]:
    return [(folder / f"{part}.csv").read_text() for part in ("train", "validation", "test")]


# A run


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


def shortened(recipe: Recipe, **training: object) -> Recipe:
    return replace(recipe, training=replace(recipe.training, **{"epochs": 1, **training}))


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
def test_two_processes_share_the_images_of_one_training(
    data: Path, recipe_file: Path, tmp_path: Path
) -> None:
    command = Path(sysconfig.get_path("scripts")) / "leansight"  # Lightning starts it once more
    options = ["--accelerator", "cpu", "--devices", "2", "--strategy", "ddp", "--workers", "0"]
    done = subprocess.run(
        [command, "train", data, "--recipe", recipe_file, "--out", "run", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run: run") == 1  # the first process's alone
    assert Run.load(tmp_path / "run").metrics["validation accuracy"] > 0.9
    steps = [row for row in rows(tmp_path / "run") if row["train_loss"]]
    assert len(steps) == 10 * 48 // (2 * 8)  # epochs x images / (processes x batch)


@pytest.mark.slow
def test_a_teacher_is_learnt_from(run: Run, data: Path, recipe: Recipe, tmp_path: Path) -> None:
    taught = replace(
        shortened(recipe, epochs=3), distillation=replace(recipe.distillation, share=1)
    )
    weights = []
    for teacher in (run.path, None):
        out = tmp_path / str(bool(teacher))
        train(data, taught, out=out, options=TrainingOptions(teacher=teacher), hardware=HERE)
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
            options=TrainingOptions(teacher=run.path),
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
            options=TrainingOptions(teacher=run.path),
            hardware=HERE,
        )
    assert not (tmp_path / "run").exists()
    with_its_lists = TrainingOptions(teacher=run.path, lists=run.path)
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


# Going on


def command(*arguments: object) -> list[str]:
    script = "from leansight.sdk.commands.cli import main; main()"
    return [sys.executable, "-c", script, "train", *map(str, arguments), "--workers", "1"]


def train_and_kill(arguments: Sequence[str], out: Path, *, after_epochs: int) -> None:
    """Run a training in a process of its own and kill it at once after so many epochs."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(arguments, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        wait_until(lambda: epochs_done(out) >= after_epochs or process.poll() is not None, 120)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not (out / "run.json").exists()


def epochs_done(out: Path) -> int:
    file = out / "checkpoints" / "metrics.csv"
    if not (file.exists() and (out / "checkpoints" / "last.ckpt").exists()):
        return 0
    return sum(bool(row.get("val_accuracy")) for row in rows(out))


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


RANDOM = """
[[augmentation]]
change = "affine"
rotation_degrees = 10
shift = 0.1

[[augmentation]]
change = "noise"
sigma = 20
"""


@pytest.mark.slow
def test_a_run_killed_twice_ends_as_an_unbroken_one(data: Path, tmp_path: Path) -> None:
    recipe_file = tmp_path / "tiny.toml"
    text = shapes.RECIPE.replace("dropout = 0", "dropout = 0.3")
    text = text.replace("epochs = 10", "epochs = 24\naverage_decay = 0.9")
    recipe_file.write_text(text + RANDOM)
    whole = train(data, load_recipe(str(recipe_file)), out=tmp_path / "whole", hardware=HERE)

    out = tmp_path / "killed"
    begin = command(data, "--recipe", recipe_file, "--out", out)
    train_and_kill(begin, out, after_epochs=2)
    with pytest.raises(DataError, match=r"killed has not finished: resume its training"):
        Run.load(out)
    recipe_file.unlink()  # the run knows what it is
    go_on = command("--resume", "--out", out)
    train_and_kill(go_on, out, after_epochs=10)
    subprocess.run(go_on, check=True, capture_output=True, timeout=300)
    resumed = Run.load(out)
    assert resumed.metrics == whole.metrics
    assert lists(out) == lists(whole.path)
    ours, theirs = (load_file(r.path / "model.safetensors") for r in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    steps = [int(row["step"]) for row in rows(out) if row["train_loss"]]
    assert steps == list(range(6 * 24))


@pytest.mark.slow
def test_a_full_disk_loses_no_checkpoint(data: Path, recipe_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = load_recipe(str(recipe_file), ["training.epochs=2", "training.schedule=constant"])
    train(data, first, out=out, options=TrainingOptions(), hardware=HERE)
    (out / "run.json").unlink()  # as if it had been killed after two of three epochs
    start = RunConfig.load(out)
    longer = replace(start.recipe, training=replace(start.recipe.training, epochs=3))
    replace(start, recipe=longer).save(out)
    before = (out / "checkpoints" / "last.ckpt").read_bytes()
    script = (
        "import resource, signal, sys; from leansight.sdk.commands.cli import main; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) // 2},) * 2); main()"
    )
    command = [sys.executable, "-c", script, "train", "--resume", "--out", str(out)]
    full = subprocess.run(
        [*command, "--workers", "0"], capture_output=True, text=True, check=False, timeout=120
    )
    assert full.returncode == 1
    assert full.stderr.splitlines()[-1].startswith("leansight: ")
    assert "File too large" in full.stderr.splitlines()[-1]
    assert "Traceback" not in full.stderr
    assert (out / "checkpoints" / "last.ckpt").read_bytes() == before
    train(data, longer, out=out, hardware=HERE)
    assert len([row for row in rows(out) if row["val_accuracy"]]) == 3


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_going_on_alarms_nobody(data: Path, tmp_path: Path) -> None:
    recipe_file, out = tmp_path / "tiny.toml", tmp_path / "two words"
    recipe_file.write_text(shapes.RECIPE.replace("batch_size = 8", "batch_size = 1"))
    begin = command(data, "--recipe", recipe_file, "--out", out, "--epochs", 1)
    process = subprocess.Popen(
        begin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        logged = out / "checkpoints" / "metrics.csv"
        wait_until(lambda: logged.exists() or process.poll() is not None, 120)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    hint = f"stopped: go on with `leansight train --resume --out '{out}'`"
    assert said.splitlines()[-1] == hint
    assert "Traceback" not in said
    # In the first epoch: Lightning warns that it deletes the log of what is learnt again.
    assert not (out / "checkpoints" / "last.ckpt").exists()
    resumed = subprocess.run(
        command("--resume", "--out", out), capture_output=True, text=True, check=True, timeout=120
    )
    assert "delete" not in resumed.stderr
    assert [int(row["step"]) for row in rows(out) if row["train_loss"]] == list(range(48))


@pytest.mark.parametrize(
    ("begun", "hint"),
    [
        (True, "go on with `leansight train --resume --out {out}`"),
        (False, "nothing has begun: give the same command again, with --resume"),
    ],
)
# Before the training, and in it, where Lightning takes it and exits.
@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(1)])
def test_ctrl_c_ends_in_one_line(
    begun: bool,  # noqa: FBT001 -- a parameter of the test
    hint: str,
    stop: BaseException,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "run"

    def train(*_: object, **__: object) -> Run:
        out.mkdir()
        (out / ("start.json" if begun else "train.csv")).touch()
        raise stop

    monkeypatch.setattr("leansight.sdk.training.train.train", train)
    done = CliRunner().invoke(cli.leansight, ["train", str(tmp_path), "--out", str(out)])
    assert done.exit_code == 130
    assert done.output == f"stopped: {hint.format(out=out)}\n"


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
    for name in ("run.json", "model.safetensors", "train.csv", "validation.csv", "test.csv"):
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
        DataError, match=r"model\.safetensors .* of another network: it has 3 classes, not 4"
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
    assert class_weights(classes, 3, recipe).tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    flat = load_recipe("traffic-signs-small", ["training.class_weights=false"])
    assert class_weights(classes, 3, flat).tolist() == [1, 1, 1]


def test_a_moving_average_forgets_its_random_beginning() -> None:
    update = moving_average(0.99)
    average, weights = torch.tensor(100.0), torch.tensor(1.0)
    for count in range(1, 60):
        average = update(average, weights, torch.tensor(count))
    # TensorFlow's rule: the product of min(0.99, (1 + n) / (10 + n)) is all that is left
    left = np.prod([min(0.99, (1 + n) / (10 + n)) for n in range(1, 60)])
    assert float(average) == pytest.approx(1 + 99 * left, rel=1e-4)
    assert float(average) < 1.01


@pytest.mark.slow
def test_a_loss_that_diverges_names_its_batch(data: Path, recipe: Recipe, tmp_path: Path) -> None:
    wild = shortened(recipe, learning_rate=1e30, schedule="constant")
    named = (
        r"not a finite number in epoch 0, batch \d+ \((\w+/\d{5}_\d{5}\.png, ){4}.* and 3 more\)"
    )
    with pytest.raises(DataError, match=named + ": lower training"):
        train(data, wild, out=tmp_path / "run", hardware=HERE)


# The command


def a_small_data_set(root: Path) -> None:
    for name in ("a/00001_0.png", "a/00002_0.png", "b/00001_0.png", "b/00001_1.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(list(root.rglob("*.png")))).integers(0, 256, (8, 8, 3))
        cv2.imwrite(str(root / name), pixels)


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
        (a_full_out, [], "run is not empty: choose another --out (go on with --resume)"),
        (a_full_out, ["--resume"], "run is not empty: choose another --out (it holds no unfinis"),
        (a_broken_image, [], "00002_0.png is not an image"),
        (a_small_data_set, ["--recipe", "signs"], "no recipe signs: there are"),
        (a_small_data_set, ["--set", "training.epochs=x"], "training.epochs must be a whole num"),
        (a_small_data_set, ["--lists", "nowhere"], "nowhere"),
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
    arguments = ["train", str(data), "--out", str(out), "--recipe", "traffic-signs-small"]
    assert run_main([*arguments, *options], monkeypatch) == 1
    written = capsys.readouterr()
    assert written.out == ""
    (line,) = [text for text in written.err.splitlines() if text.strip()]
    assert line.startswith("leansight: ")
    assert message in line
    assert sorted(out.rglob("*")) == before or prepare is a_broken_image


@pytest.mark.slow
def test_a_mistake_ends_in_one_line_without_traceback(tmp_path: Path) -> None:
    script = "from leansight.sdk.commands.cli import main; main()"
    command = [sys.executable, "-c", script, "train", str(tmp_path), "--out", str(tmp_path / "run")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"leansight: {tmp_path} holds no image")


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
