import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import pytest
import shapes
from fake_study import finished, run_json, state_of, wait_until

from leansight.sdk.commands import cli


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Images for the trainer above, which does not look at them."""
    return shapes.write_data_set(tmp_path / "data")


@pytest.fixture(autouse=True)
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "mine.toml"
    file.write_text(shapes.RECIPE)
    return file


def run_main(
    arguments: Sequence[object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> tuple[int, str, str]:
    """Run `leansight study ARGUMENTS`; return its exit code, standard output and error."""
    monkeypatch.setattr(sys, "argv", ["leansight", "study", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    code = stopped.value.code or 0
    assert isinstance(code, int)
    return code, *capsys.readouterr()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--grid", "model.width"], r"model\.width: expected KEY=V1,V2.* \(--grid\)"),
        (["--seeds", "one"], r"--seeds one: expected whole numbers"),
        (["--recipe", "nothing"], r"no recipe nothing"),
        (["--set", "training.epochs=0"], r"training\.epochs must be 1 or more"),
        (
            ["--grid", "data.per_class=0,9", "--bank", "bank"],
            r"differ in data cannot .* \(--bank\)",
        ),
    ],
)
def test_a_mistake_is_one_line(
    data: Path,
    tmp_path: Path,
    options: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [data, "--out", tmp_path / "study", *options]
    code, output, errors = run_main(arguments, monkeypatch, capsys)
    assert (code, output) == (1, "")
    assert re.fullmatch(rf"leansight: .*{message}.*\n", errors)
    assert not (tmp_path / "study").exists()


def test_absent_data_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [tmp_path / "nowhere", "--out", tmp_path / "study"]
    code, _, errors = run_main(arguments, monkeypatch, capsys)
    assert code == 1
    assert re.fullmatch(
        r"leansight: .*nowhere does not exist: expected a folder of labelled images.*\n", errors
    )
    assert not (tmp_path / "study").exists()


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shapes of two countries; the south prints them in negative."""
    root = tmp_path_factory.mktemp("signs")
    for country in ("north", "south"):
        shapes.write_data_set(root / country)
    for file in (root / "south").rglob("*.png"):
        picture = cv2.imread(str(file))
        assert picture is not None
        assert cv2.imwrite(str(file), 255 - picture)
    return root


def start_command(arguments: Sequence[object]) -> subprocess.Popen[str]:
    """Start `leansight study ARGUMENTS` in a process group of its own."""
    script = "from leansight.sdk.commands.cli import main; main()"
    command = [sys.executable, "-P", "-c", script, "study", *map(str, arguments)]
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, **pipes, text=True, start_new_session=True)


@pytest.mark.slow
def test_two_folds_of_two_rates_are_trained_chosen_killed_and_gone_on_with(
    signs: Path, tmp_path: Path, recipe: Path
) -> None:
    out = tmp_path / "study"
    arguments = [signs, "--recipe", recipe, "--out", out, "--test-on", "south", "--folds", 2]
    arguments += ["--grid", "training.learning_rate=0.05,1e-6", "--jobs", 2]
    bank = tmp_path / "bank"
    arguments += ["--set", "training.epochs=4", "--bank", bank, "--bank-views", 2]
    process = start_command(arguments)

    def midway() -> bool:
        cut = set(out.glob("cells/*/checkpoints/last.ckpt"))
        return process.poll() is not None or len(cut) > len(finished(out)) > 0

    try:
        wait_until(midway, 200)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL

    kept = finished(out)
    assert 1 <= len(kept) < 4
    before = state_of(kept)
    process = start_command(arguments)
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert state_of(kept) == before
    views = {f"{view.parent.name}/{view.name}" for view in bank.rglob("view-*")}
    folders = ("fold0", "fold1", "everything")
    assert views == {f"{folder}/view-00{view}.npy" for folder in folders for view in (0, 1)}
    assert re.search(r"learning_rate=0\.05 .* \*", output)
    assert "winner: learning_rate=0.05, trained on everything\ntest accuracy: 0." in output
    results = json.loads((out / "results.json").read_text())
    assert all(result["mean"] > 0 for result in results["candidates"])
    lists = {path.parent.name: path.read_text() for path in out.rglob("train.csv")}
    assert len(lists) == 5
    assert not any("south" in text for text in lists.values())
    assert lists["winner"].count(".png") == 72
    assert "test accuracy" in run_json(out / "winner")["metrics"]
    for cell in finished(out):
        assert not any(name.startswith("test") for name in run_json(cell.parent)["metrics"])


@pytest.mark.slow
def test_a_failure_is_told_with_the_last_line_of_its_log(
    signs: Path, tmp_path: Path, recipe: Path
) -> None:
    out = tmp_path / "study"
    process = start_command([signs, "--recipe", recipe, "--out", out, "--test-on", "nowhere"])
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "winner" not in output
    log = out / "cells" / "01-fold0-seed0.log"
    *block, told, advice = errors.splitlines()
    assert block[0] == f"{signs}:"
    last = log.read_text().splitlines()[-1]
    assert "nowhere" in last
    assert told == f"failed: 01-fold0-seed0: {last.removeprefix('leansight: ')} ({log})"
    assert advice.startswith("1 failed: give the same command again to retry, or add --skip-failed")


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(signs: Path, tmp_path: Path, recipe: Path) -> None:
    out = tmp_path / "study"
    arguments = [signs, "--recipe", recipe, "--out", out, "--set", "training.epochs=1000"]
    process = start_command(arguments)
    try:
        wait_until((out / "cells" / "01-fold0-seed0.log").exists, 100)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, output) == (130, "")
    assert errors.endswith("\nstopped: give the same command again to go on where it was\n")
