"""Every example is run as its docstring says, on small data, and must say what it is for."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapes
import tiny_models
from house import ROOT

from leansight.runtime.bundle import Bundle, write_bundle

EXAMPLES = ROOT / "examples"
INT8 = r": 100\.0%, decides as torch on 100\.0%"


def run(name: str, *arguments: object, setting: Mapping[str, str] | None = None) -> list[str]:
    """Return the lines that an example prints; its own, without what libraries say on stderr."""
    command = ["env", *(f"{k}={v}" for k, v in (setting or {}).items()), sys.executable]
    command += [str(EXAMPLES / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def video_of(labels: list[str], file: Path) -> Path:
    """Write one frame of stripes for each label."""
    video = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 12, (64, 64))
    for label in labels:
        video.write(cv2.cvtColor(tiny_models.stripes(label, 64), cv2.COLOR_GRAY2BGR))
    video.release()
    return file


# On a Pi: no training library, seconds


@pytest.mark.parametrize("label", tiny_models.LABELS)
def test_01_says_what_a_photo_shows(tiny_bundle: Path, tmp_path: Path, label: str) -> None:
    photo = tmp_path / "photo.png"
    assert cv2.imwrite(str(photo), tiny_models.stripes(label, 64))
    (line,) = run("01_classify_a_photo.py", tiny_bundle, photo)
    assert re.fullmatch(rf"{re.escape(str(photo))}: {label} \({label} \d+\.\d%, .*\)", line)


def test_02_gives_each_frame_its_label(tiny_bundle: Path, tmp_path: Path) -> None:
    video = video_of(["plain", "upright", "level", "upright"], tmp_path / "stripes.avi")
    lines = map(json.loads, run("camera_stream.py", tiny_bundle, "--source", video))
    seen = [line.get("state") or line["label"] for line in lines]
    assert seen == ["unusable", "upright", "level", "upright"]


def test_03_switches_the_pin_on_and_off_once_several_frames_agree(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    shown = ["plain", "upright", "plain", *["upright"] * 4, *["level"] * 4, "upright"]
    video = video_of(shown, tmp_path / "stripes.avi")
    lines = run(
        "03_react_to_a_label.py",
        *(tiny_bundle, "upright", "--source", video, "--pin", 4),
        setting={"GPIOZERO_PIN_FACTORY": "mock"},
    )
    assert lines == ["upright: pin 4 is on", "upright: pin 4 is off"]


# On a workstation: one training and what comes of it


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes.write_data_set(tmp_path_factory.mktemp("examples") / "shapes")


@pytest.fixture(scope="session")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 videos of other pictures than those in `data`."""
    folder = tmp_path_factory.mktemp("examples") / "held-out"
    return shapes.write_data_set(folder, videos=12, seed=1)


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("examples") / "tiny.toml"
    file.write_text(shapes.RECIPE)
    return file


@pytest.fixture(scope="session")
def trained(
    data: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str]]:
    """What example 4 wrote, `run` and `model.bundle`, and what it printed."""
    work = tmp_path_factory.mktemp("examples") / "work"
    return work, run("04_train_and_export.py", data, "--recipe", recipe, "--out", work)


@pytest.fixture(scope="session")
def onnx_file(trained: tuple[Path, list[str]]) -> Path:
    """The network of example 4 as a float ONNX file, as another framework would leave it."""
    work, _ = trained
    code = (
        "import sys, torch; from pathlib import Path; from leansight.sdk import Run\n"
        "network = Run.load(Path(sys.argv[1])).network()\n"
        "torch.onnx.export(network, (torch.zeros(1, 1, 32, 32),), sys.argv[2], dynamo=False)"
    )
    file = work / "network.onnx"
    command = [sys.executable, "-W", "ignore", "-c", code, work / "run", file]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return file


@pytest.mark.slow
def test_04_trains_and_exports(trained: tuple[Path, list[str]]) -> None:
    work, lines = trained
    assert lines[0] == "validation accuracy: 100.0%"
    for kind in ("tflite int8", "onnx int8"):
        assert [line for line in lines if re.fullmatch(kind + INT8, line)]
    assert lines[-1] == f"bundle: {work / 'model.bundle'}"
    (line,) = run("01_classify_a_photo.py", work / "model.bundle", drawn(work, "disc"))
    assert ": disc (disc " in line


def drawn(folder: Path, label: str) -> Path:
    """Write a picture that nothing was trained on."""
    file = folder / f"{label}.png"
    assert cv2.imwrite(str(file), shapes.draw(label, np.random.default_rng(7)))
    return file


@pytest.mark.slow
def test_05_exports_a_torch_module(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.bundle"
    lines = run("05_export_a_torch_module.py", data, "--out", out)
    assert [line.split(":")[0] for line in lines] == ["torch float32", "tflite int8", "onnx int8"]
    assert all(re.fullmatch(".*" + INT8, line) for line in lines)
    # In colour, from 0 to 1: a normalisation that was lost would show here.
    for label in shapes.LABELS:
        (line,) = run("01_classify_a_photo.py", out, drawn(tmp_path, label))
        assert f": {label} ({label} " in line


@pytest.mark.slow
def test_06_brings_an_onnx_file(onnx_file: Path, held_out: Path, tmp_path: Path) -> None:
    labels, out = tmp_path / "labels.txt", tmp_path / "brought.bundle"
    labels.write_text("\n".join(shapes.LABELS))
    pixels = ["--colour", "gray", "--mean", 128, "--std", 128]
    lines = run("06_bring_an_onnx_file.py", onnx_file, held_out, labels, "--out", out, *pixels)
    found = re.fullmatch(r"torch computes what network.onnx computes, to (\S+)", lines[0])
    assert found
    assert float(found[1]) < 1e-4
    (line,) = run("01_classify_a_photo.py", out, drawn(tmp_path, "cross"))
    assert ": cross (cross " in line


@pytest.mark.slow
def test_07_reads_an_evaluation(trained: tuple[Path, list[str]], held_out: Path) -> None:
    lines = run("07_read_an_evaluation.py", trained[0] / "model.bundle", held_out)
    found = re.match(r"model.bundle \(tflite int8\): (\S+)% right \(95 % interval (\S+)%", lines[0])
    assert found
    assert 90 < float(found[2]) <= float(found[1]) <= 100
    assert lines[0].endswith("144 images of 36 videos)")
    assert lines[1].split()[1].strip(",") in shapes.LABELS
    kept = [float(line.split()[2].strip("%")) for line in lines if line.startswith("threshold")]
    assert len(kept) == 5
    assert kept == sorted(kept, reverse=True)


@pytest.mark.slow
def test_08_certifies_a_threshold(
    trained: tuple[Path, list[str]], held_out: Path, tmp_path: Path
) -> None:
    out = tmp_path / "certified.bundle"
    arguments = [held_out, "--max-error", 0.2, "--out", out]
    lines = run("08_certify_a_threshold.py", trained[0] / "model.bundle", *arguments)
    found = re.search(r"threshold (\S+): .* at most (\S+)% of all, at 95% confidence", lines[0])
    assert found
    assert 0 < float(found[2]) <= 20
    written = json.loads((out / "bundle.json").read_text())
    assert written["decision"]["threshold"] == pytest.approx(float(found[1]), abs=1e-4)
    assert lines[1].startswith("kept: ")


@pytest.fixture
def guess(tmp_path: Path, tiny_bundle: Path) -> Path:
    """A bundle that guesses: the network of the stripes, with the labels of the shapes."""
    stripes = Bundle.load(tiny_bundle)
    files = {name: stripes.read(name) for name in ("model.tflite", "model.onnx")}
    draft = replace(stripes, path=tmp_path / "guess.bundle", labels=shapes.LABELS)
    return write_bundle(draft, files).path


@pytest.mark.slow
def test_09_compares_two_models(
    trained: tuple[Path, list[str]], guess: Path, held_out: Path
) -> None:
    trained_bundle = trained[0] / "model.bundle"
    lines = run("09_compare_two_models.py", trained_bundle, guess, held_out, "--runs", 4)
    assert lines[0].startswith("model.bundle (tflite int8): ")
    assert lines[2].startswith("difference: ")
    assert lines[2].endswith("over 36 videos): model.bundle is better")
    timed = [re.fullmatch(r"(\S+) \((\w+)\): .* KB, .*, (\S+) ms an image", x) for x in lines[3:]]
    assert [(m[1], m[2]) for m in timed if m] == [
        (name, kind) for name in ("model.bundle", "guess.bundle") for kind in ("tflite", "onnx")
    ]
    assert all(float(m[3]) > 0 for m in timed if m)


def notebook_cells() -> list[dict[str, object]]:
    """Return the cells of code."""
    text = (EXAMPLES / "10_workstation.ipynb").read_text()
    return [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]


def test_10_is_committed_without_its_outputs() -> None:
    assert notebook_cells()
    for cell in notebook_cells():
        assert (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.slow
def test_10_runs_from_top_to_bottom(
    trained: tuple[Path, list[str]],
    data: Path,
    tmp_path: Path,
) -> None:
    script = tmp_path / "notebook.py"
    script.write_text("\n".join("".join(map(str, cell["source"])) for cell in notebook_cells()))
    setting = {"DATA": str(data), "WORK": str(trained[0]), "MPLBACKEND": "svg"}
    lines = run(str(script), setting=setting)
    assert lines[0] == "72 images of 3 classes: {'bars': 24, 'cross': 24, 'disc': 24}"
    assert "validation accuracy: 100.0%" in lines
    assert "int8: 100.0% right, says what torch says of 100.0%" in lines
    assert [line.split(":")[0] for line in lines[-2:]] == ["tflite", "onnx"]
