"""Runs among the models of a benchmark."""

import shutil
from pathlib import Path

import pytest

from leansight.exporters.options import ExportRefusedError
from leansight.runtime.errors import BundleError, DataError
from leansight.sdk.commands.benchmark import runs
from leansight.sdk.commands.benchmark.runs import models_of, runnable_here
from leansight.sdk.deployment import export_run


@pytest.fixture
def run(tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose export is the tiny bundle."""

    def export(path: Path, options: object, *, out: Path) -> None:
        del options
        if path.name == "bad":
            raise ExportRefusedError("it lost 3 points")
        out.parent.mkdir(exist_ok=True)
        shutil.copytree(tiny_bundle, out)

    monkeypatch.setattr(export_run, "export_run", export)
    return run_at(tmp_path / "signs 2")


def run_at(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "run.json").touch()
    return path


def test_a_run_is_exported_and_measured_under_its_own_name(
    run: Path, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = models_of([tiny_bundle, run], "onnx", (), tmp_path / "scratch")
    assert [model.name for model in found] == ["tiny.bundle", "signs 2"]
    assert found[1].path.is_relative_to(tmp_path / "scratch")
    assert found[1].read() == found[0].read()
    said = capsys.readouterr().err
    assert f"{run} is a run: its int8 export is measured" in said
    assert f"leansight export '{run}' --out 'signs 2.bundle'" in said


def test_runs_of_one_name_are_told_apart(run: Path, tmp_path: Path) -> None:
    other = run_at(tmp_path / "other" / run.name)
    found = models_of([run, other], "onnx", (), tmp_path / "scratch")
    assert [model.name for model in found] == [str(run), str(other)]


def test_a_run_that_cannot_be_exported_is_named(run: Path, tmp_path: Path) -> None:
    del run
    bad = run_at(tmp_path / "bad")
    with pytest.raises(DataError, match=rf"^{bad} cannot be exported: it lost 3 points$"):
        models_of([bad], None, (), tmp_path / "scratch")


def test_a_folder_that_is_no_run_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        models_of([tmp_path], None, (), tmp_path / "scratch")


def test_a_format_that_nothing_here_runs_is_left_out_with_a_word(
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = models_of([tiny_bundle], None, (), tmp_path / "scratch")
    assert runnable_here(found) == found
    monkeypatch.setattr(runs, "has_interpreter", lambda kind: kind == "tflite")
    assert [model.format for model in runnable_here(found)] == ["tflite"]
    assert "tiny.bundle (onnx) is left out: nothing that runs it is" in capsys.readouterr().err
    only_onnx = [model for model in found if model.format == "onnx"]
    assert runnable_here(only_onnx) == only_onnx  # measured in vain, and said why
