"""`leansight train` ends in one line, whatever is wrong."""

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapes
from click.testing import Result
from command_line import invoke, refusal

from leansight.sdk.commands import cli
from leansight.sdk.runs.run import Run


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
    done = invoke("train", str(tmp_path), "--out", str(out))
    assert done.exit_code == 130
    assert done.output == f"stopped: {hint.format(out=out)}\n"


def run_main(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["leansight", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


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


def a_killed_beginning(root: Path) -> None:
    a_small_data_set(root)
    (root.parent / "run").mkdir()
    for name in ("run.lock", "train.csv", ".start.json.part"):
        (root.parent / "run" / name).touch()


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
        (a_killed_beginning, ["--resume"], "class b has one video: two or more"),
        (a_killed_beginning, [], "class b has one video: two or more"),
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
    lines = [text for text in written.err.splitlines() if text.strip()]
    assert [text for text in lines if text.startswith("leansight: ")] == lines[-1:]
    assert message in lines[-1]
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


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "epochs", "learnt"), [(1e-9, 1, False), (0.05, 10, True)])
def test_train_says_whether_the_network_has_learnt_anything(
    rate: float,
    epochs: int,
    learnt: bool,  # noqa: FBT001 -- a parameter of the test
    tmp_path: Path,
) -> None:
    data = shapes.write_data_set(tmp_path / "shapes")
    (tmp_path / "tiny.toml").write_text(shapes.RECIPE)
    done = invoke(
        *("train", data, "--recipe", tmp_path / "tiny.toml", "--out", tmp_path / "run"),
        *("--set", f"training.learning_rate={rate}", "--epochs", epochs, "--workers", 0),
    )
    assert done.exit_code == 0, (done.output, done.exception)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("validation: ")]
    interval = r"accuracy \d+\.\d% \(\d+\.\d% to \d+\.\d%, 24 images\)"
    assert re.search(rf"{interval}; chance 33.3%, always the commonest class 33.3%$", line)
    said = [line for line in done.stderr.splitlines() if "learnt" in line]
    if learnt:
        assert said == []
        return
    (line,) = said
    assert line.startswith("the network seems to have learnt nothing: ")
    assert ". Try more epochs (training.epochs), another learning rate " in line


@pytest.mark.slow
def test_a_bank_is_used_again_and_one_made_from_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shapes.write_data_set(tmp_path / "shapes")
    (tmp_path / "tiny.toml").write_text(shapes.RECIPE)

    def train(out: str, *more: str) -> Result:
        return invoke(
            *("train", data, "--recipe", tmp_path / "tiny.toml", "--out", tmp_path / out),
            *("--epochs", 1, "--workers", 0, "--bank", tmp_path / "bank", *more),
        )

    assert train("a", "--bank-views", "2").exit_code == 0
    made = {view: view.stat().st_mtime_ns for view in (tmp_path / "bank").glob("view-*")}
    assert train("b", "--set", "model.width=8", "--bank-views", "2").exit_code == 0
    assert {view: view.stat().st_mtime_ns for view in made} == made
    assert len(made) == 2
    words = ("train", data, "--recipe", tmp_path / "tiny.toml", "--bank", tmp_path / "bank")
    smaller = ("--out", tmp_path / "c", "--set", "preprocessing.size=24")
    line = refusal([*map(str, (*words, *smaller))], monkeypatch, capsys)
    assert line == (
        f"leansight: the bank {tmp_path / 'bank'} was made from other preprocessing: "
        "choose another folder (--bank)"
    )
    assert not (tmp_path / "c").exists()
