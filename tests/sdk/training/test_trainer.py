"""Epochs are cut off, gone on with, and shared by processes."""

import errno
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Never

import numpy as np
import pytest
import pytorch_lightning as pl
import shapes
import torch
from pytorch_lightning.demos.boring_classes import BoringModel
from safetensors.torch import load_file
from tiny_run import HERE, lists, rows, shortened
from torch.utils.data import DataLoader, TensorDataset

from leansight.runtime.errors import DataError
from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.recipes.schema import Recipe
from leansight.sdk.runs.run import Run, RunConfig, TrainingOptions
from leansight.sdk.training.checkpoints import read_checkpoint
from leansight.sdk.training.readers import readers
from leansight.sdk.training.train import train
from leansight.sdk.training.trainer import moving_average, quiet_lightning


class FullDisk(DataLoader[torch.Tensor]):
    """Readers whose processes cannot be started, or something else than a disk that fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__(TensorDataset(torch.zeros(4, 32)))
        self.error = error

    def __iter__(self) -> Never:
        raise self.error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), RuntimeError("no")])
def test_what_stops_the_readers_is_not_hidden_by_the_end_of_lightning(error: Exception) -> None:
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with pytest.raises(type(error)) as raised, readers(), quiet_lightning():
        trainer.fit(BoringModel(), FullDisk(error))
    assert (raised.value is error) == isinstance(error, OSError)  # else Lightning's own, of it


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
    assert "file too large" in full.stderr.splitlines()[-1]
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
    assert "Traceback" not in said, said
    # In the first epoch: Lightning warns that it deletes the log of what is learnt again.
    assert not (out / "checkpoints" / "last.ckpt").exists()
    resumed = subprocess.run(
        command("--resume", "--out", out), capture_output=True, text=True, check=True, timeout=120
    )
    assert "delete" not in resumed.stderr
    assert resumed.stdout.splitlines()[-1] == f"run: {out}"
    assert [int(row["step"]) for row in rows(out) if row["train_loss"]] == list(range(48))


def readers_of(process: int) -> list[int]:
    parents = {
        int(status.parent.name): int(re.search(r"PPid:\t(\d+)", status.read_text())[1])
        for status in Path("/proc").glob("[0-9]*/status")
    }
    return [child for child, parent in parents.items() if parent == process]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="readers are found in /proc")
def test_a_reader_that_is_killed_ends_in_a_line_and_costs_no_epoch(
    data: Path, recipe_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(
        command(data, "--recipe", recipe_file, "--out", out, "--epochs", 200),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(lambda: epochs_done(out) >= 2 or process.poll() is not None, 120)
        for reader in readers_of(process.pid):
            os.kill(reader, signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1
    assert "Traceback" not in said, said
    last = said.splitlines()[-1]
    assert last.startswith("leansight: a process that reads images ")
    assert f"(go on with `leansight train --resume --out {out}`)" in last
    done = epochs_done(out)
    assert done >= 2
    checkpoint = out / "checkpoints" / "last.ckpt"
    assert read_checkpoint(checkpoint)["epoch"] + 1 in (done, done - 1)


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
        r"not a finite number in epoch 0, batch \d+: (\w+/\d{5}_\d{5}\.png; ){4}.* \(and 3 more\)"
    )
    with pytest.raises(DataError, match=named + r"\. Lower training"):
        train(data, wild, out=tmp_path / "run", hardware=HERE)
