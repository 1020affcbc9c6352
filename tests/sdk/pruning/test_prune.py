"""A pruned run is a run that has learnt again, and is gone on with where it was interrupted."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import shapes
import torch
from click.testing import Result
from command_line import invoke
from tiny_run import untrained_run

from leansight.exporters.pruning.channels import (
    count_macs,
)
from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import DataError
from leansight.sdk.pruning import prune as pruning
from leansight.sdk.pruning.prune import ASKED, PRUNED, prune_run
from leansight.sdk.pruning.target import PruningTarget
from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.runs.run import Run, RunConfig
from leansight.sdk.training.train import train
from leansight.sdk.training.trainer import Hardware


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("pruning")
    data = shapes.write_data_set(folder / "shapes")
    recipe = folder / "tiny.toml"
    recipe.write_text(shapes.RECIPE.replace("width = 4", "width = 16"))
    return train(data, load_recipe(str(recipe)), out=folder / "run", hardware=Hardware(workers=0))


def macs(run: Run) -> int:
    return count_macs(run.network(), torch.zeros(1, 1, 32, 32))


@pytest.mark.slow
def test_a_pruned_run_is_a_run_that_has_learnt_again(run: Run, tmp_path: Path) -> None:
    target = 0.4 * macs(run)
    small, smaller = tmp_path / "small", tmp_path / "smaller"
    done = invoke(
        "prune", run.path, "--macs", f"{target / 1e6}M", "--steps", 2, "--workers", 0,
        "--set", "training.learning_rate=0.02", "--out", small,
    )  # fmt: skip
    assert done.exit_code == 0, (done.output, done.exception)
    pruned = Run.load(small)
    assert f"multiply-accumulates: {macs(pruned) / 1e6:.1f} M (of {macs(run) / 1e6:.1f} M)" in (
        done.output.splitlines()
    )
    assert f"(before: {run.metrics['validation accuracy']:.4f})" in done.output
    assert 0.3 * macs(run) < macs(pruned) <= target
    assert target < macs(Run.load(small / "step-1")) < macs(run)
    assert pruned.metrics["validation accuracy"] > 0.9
    assert [s.path for s in pruned.split().train] == [s.path for s in run.split().train]
    again = invoke("prune", small, "--share", 0.3, "--workers", 0, "--out", smaller)
    assert again.exit_code == 0, (again.output, again.exception)
    assert macs(Run.load(smaller)) < macs(pruned)
    # It was made shorter and gentler once, not twice.
    assert Run.load(smaller).recipe.training == pruned.recipe.training
    bundle = tmp_path / "small.bundle"
    exported = invoke("export", small, "--out", bundle, "--max-drop", 20)
    assert exported.exit_code == 0, (exported.output, exported.exception)
    assert Bundle.load(bundle).metrics["validation"]["images"] == 24


def test_more_multiply_accumulates_than_there_are_is_no_target(
    untrained: Run, tmp_path: Path
) -> None:
    done = invoke("prune", untrained.path, "--macs", "1G", "--out", tmp_path / "out")
    assert isinstance(done.exception, DataError)
    assert re.search(r"untrained is at [0-9.]+ M multiply-accumulates already: ask for less",
                     str(done.exception))  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_images_that_have_moved_are_asked_for(untrained: Run, tmp_path: Path) -> None:
    moved = replace(untrained, data=tmp_path / "gone")
    moved.save(moved.network())
    done = invoke("prune", untrained.path, "--share", 0.5, "--out", tmp_path / "out")
    assert isinstance(done.exception, DataError)
    assert f"no longer at {tmp_path / 'gone'}: say where they are now" in str(done.exception)


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ("run.json", "holds a finished run: choose another --out"),
        ("start.json", "go on with `leansight train --resume --out "),
        ("photo.png", r"is not empty \(photo.png\): choose another --out"),
    ],
)
def test_nothing_is_written_into_what_is_there(
    there: str, message: str, untrained: Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / there).touch()
    with pytest.raises(DataError, match=message):
        invoke("prune", untrained.path, "--share", 0.5, "--out", out, catch_exceptions=False)
    assert [path.name for path in out.iterdir()] == [there]


def test_a_file_is_no_folder_for_a_run(untrained: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tiny.toml is a file: choose another --out"):
        invoke(
            "prune",
            untrained.path,
            "--share",
            0.5,
            "--out",
            tmp_path / "tiny.toml",
            catch_exceptions=False,
        )


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 2])
def test_a_training_that_was_interrupted_goes_on(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = untrained_run(tmp_path, shapes.RECIPE.replace("width = 4", "width = 16"))
    out = tmp_path / "out"

    def pruned(share: float, *options: object) -> Result:
        arguments = ["--share", share, "--steps", steps, "--epochs", 1, "--workers", 0, *options]
        return invoke("prune", before.path, *arguments, "--out", out)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("leansight.sdk.training.train.train_network", stop)
        assert pruned(0.5).exit_code == 130
    begun = out if steps == 1 else out / "step-1"
    assert RunConfig.exists(begun)
    assert not (begun / "run.json").exists()
    file = begun / PRUNED
    there, weights = file.stat(), file.read_bytes()

    other = pruned(0.25, "--images", 7)
    assert isinstance(other.exception, DataError)
    said = str(other.exception)
    assert (
        "out was begun with other settings: share was 0.5, not 0.25; images was 256, not 7. "
        "Repeat those to go on, or choose another folder" in said
    )

    again = pruned(0.5)
    assert again.exit_code == 0, (again.output, again.exception)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (there.st_ino, there.st_mtime_ns)
    assert file.read_bytes() == weights
    assert macs(Run.load(out)) <= macs(Run.load(begun)) < macs(before)
    assert Run.load(out).recipe.training.epochs == 1


def test_a_damaged_note_of_what_was_asked_is_named(untrained: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ASKED).write_text("[1]")
    with pytest.raises(DataError, match=r"prune.json is damaged: "):
        invoke(
            "prune",
            untrained.path,
            "--share",
            0.5,
            "--out",
            tmp_path / "out",
            catch_exceptions=False,
        )


PRUNE_BY_SIZE = """
import sys
from pathlib import Path
from leansight.runtime.errors import DataError
from leansight.sdk.pruning.prune import prune_run
from leansight.sdk.pruning.target import PruningTarget
from leansight.sdk.training.trainer import Hardware

def pruned(size):
    prune_run(
        Path(sys.argv[1]), out=Path(sys.argv[2]), target=PruningTarget(kind="size", value=size),
        importance="magnitude", images=16, steps=1, overrides=["training.epochs=1"], data=None,
        hardware=Hardware(accelerator="cpu", workers=1),
    )

try:
    pruned(1e6)
except DataError as error:
    print(error)
assert not Path(sys.argv[2]).exists()
pruned(40e3)
print([name for name in ("jax", "litert_torch") if name in sys.modules])
"""


@pytest.mark.slow
def test_nothing_is_converted_in_a_process_that_forks_readers(run: Run, tmp_path: Path) -> None:
    # JAX in it would make a warning of every fork, and so an error.
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error::RuntimeWarning",
            "-c",
            PRUNE_BY_SIZE,
            run.path,
            tmp_path / "small",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    refusal, *_, loaded = done.stdout.splitlines()
    assert re.fullmatch(rf"{run.path} is at \d\d\.\d+ KB already: ask for less", refusal)
    assert loaded == "[]"
    assert "fork" not in done.stderr
    assert macs(Run.load(tmp_path / "small")) < macs(run)


def test_a_second_pruning_in_a_folder_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = untrained_run(tmp_path, shapes.RECIPE.replace("width = 4", "width = 16"))
    out, write_pruned = tmp_path / "out", pruning.write_pruned
    refusals: list[str] = []

    def prune_to(share: float) -> None:
        prune_run(
            before.path,
            out=out,
            target=PruningTarget(kind="share", value=share),
            importance="magnitude",
            images=8,
            steps=1,
            overrides=["training.epochs=1"],
            data=None,
            hardware=Hardware(accelerator="cpu", workers=0),
        )

    def another_begins(*arguments: object, **options: object) -> None:
        if not refusals:
            refusals.append("")
            with pytest.raises(DataError) as refused:
                prune_to(0.25)
            refusals.append(str(refused.value))
        write_pruned(*arguments, **options)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pruning, "write_pruned", another_begins)
    monkeypatch.setattr(pruning, "train", stop)
    with pytest.raises(KeyboardInterrupt):
        prune_to(0.5)
    assert refusals[1] == f"{out} is in use: another process works there"
    assert json.loads((out / ASKED).read_text())["share"] == 0.5
