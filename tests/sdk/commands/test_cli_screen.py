"""Standard error is for what a command says: no library's log reaches it."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import shapes
import tiny_models
from command_line import MAIN, invoke
from hostile.attacks import forge

from leansight.sdk.commands import cli

# What libraries are known to write: TensorFlow Lite, Abseil, ONNX Runtime, OpenCV, libjpeg and
# libpng, tqdm, Lightning, Python's warnings, Optuna, Ray.
LOG = re.compile(
    r"INFO|WARN|XNNPACK|^[IWEF]\d{4} |onnxruntime|grfmt|libpng|JPEG|it/s|v_num|💡|⚡|\[I |\(raylet"
)


def screen(*arguments: object, exit_code: int = 0) -> list[str]:
    """Return the lines that the command writes to standard error, as without a terminal."""
    command = [sys.executable, "-c", MAIN, *map(str, arguments)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, timeout=600
    )
    assert done.returncode == exit_code, done.stderr
    return done.stderr.splitlines()


def logs(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if LOG.search(line)]


def damaged(folder: Path) -> Path:
    """Write files whose decoders complain: libjpeg, libpng, and OpenCV of a TIFF."""
    folder.mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for suffix in (".jpg", ".png", ".tif"):
        data = cv2.imencode(suffix, picture)[1]
        data[len(data) // 2 : len(data) // 2 + 50] ^= 0x55
        (folder / f"photo{suffix}").write_bytes(data[: len(data) - 40].tobytes())
    return folder


@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
def test_a_photo_is_classified_without_a_word(
    model_format: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), np.zeros((8, 8, 3), np.uint8))
    assert screen("classify", tiny_bundle, photo, "--format", model_format) == []


def test_decoders_are_not_heard(tiny_bundle: Path, tmp_path: Path) -> None:
    lines = screen("classify", tiny_bundle, damaged(tmp_path / "bad"), exit_code=1)
    assert lines
    assert all(line.startswith("leansight: ") for line in lines)


def test_a_benchmark_is_quiet(tiny_bundle: Path) -> None:
    assert screen("bench", tiny_bundle, "--runs", "1", "--most-seconds", "0") == []


@pytest.mark.slow
def test_training_exporting_and_pruning_show_no_log(tmp_path: Path) -> None:
    data = shapes.write_data_set(tmp_path / "shapes")
    recipe, run = tmp_path / "tiny.toml", tmp_path / "run"
    recipe.write_text(shapes.RECIPE)
    said = screen("train", data, "--recipe", recipe, "--out", run, "--workers", "1")
    said += screen("export", run, "--out", tmp_path / "a.bundle", "--report", tmp_path / "parity")
    smaller = ("--share", "0.3", "--epochs", "1", "--workers", "1")
    said += screen("prune", run, "--out", tmp_path / "pruned", *smaller)  # in a process of its own
    assert said  # the bars
    assert not logs(said)


def test_what_a_bundle_says_does_not_steer_the_terminal(tiny_bundle: Path, tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07"

    def change(manifest: dict[str, Any]) -> None:
        manifest["name"] = manifest["labels"][0] = evil
        manifest["decision"]["temperature"] = 2.0
        manifest["guarantee"] = {"judged": evil}

    bundle = forge(tiny_models.golden_bundle(tiny_bundle), change)
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), tiny_models.stripes("plain"))
    installed = tmp_path / "signs"
    for words in (
        ("check", bundle),
        ("classify", bundle, photo),
        ("install", bundle, "--to", installed),
        ("verify", bundle),
    ):
        said = invoke(*words)
        assert "owned" in said.output, words
        assert "\x1b" not in said.output
        assert "\x07" not in said.output


def test_commands_write_by_what_escapes() -> None:
    commands = Path(cli.__file__).parent
    assert not [file for file in commands.rglob("*.py") if "click.echo" in file.read_text()]
