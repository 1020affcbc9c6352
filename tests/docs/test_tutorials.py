"""The tutorials' commands, run in small from start to end, as a reader gives them."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from command_line import MAIN
from shown_commands import ROOT, ShownCommand, commands

# A tutorial's command is given these options as well, after its own, which they replace.
SMALLER: Final[Mapping[str, str]] = {
    "leansight data signs": "--images 400",
    "leansight data video": "--seconds 2",
    "leansight train": "--epochs 1 --set training.batch_size=16 --set preprocessing.size=32"
    " --set model.name=resnet-custom --set model.body_batch_norm=false --set model.pretrained=false"
    " --set model.widths=[] --set model.stem_stride=1 --set model.width=8 --set model.blocks=[1,1]",
    # After one epoch accuracy is chance's, and so is what int8 changes of it.
    "leansight export": "--accept-untrained --max-drop 100 --max-class-drop 100",
    "leansight bench": "--runs 5",
    # No camera is plugged in here.
    "leansight stream": "--source drive.mp4",
}
# What changes a machine, or needs another one, is left to the reader.
NOT_RUN: Final = (
    *("python3 -m venv", "source ", "pip install", "venv/bin/pip install"),
    *("ssh ", "scp ", "rsync ", "sudo ", "journalctl ", "leansight service "),
)


def run_page(name: str, folder: Path) -> list[str]:
    """Run the commands of a tutorial in a folder; return those that were run."""
    ran = []
    for command in commands(ROOT / f"docs/tutorials/{name}.md"):
        line = " ".join(command.words)
        if not line.startswith(NOT_RUN):
            _run(command, line, folder)
            ran.append(line)
    return ran


def _run(command: ShownCommand, line: str, folder: Path) -> None:
    smaller = next((more for start, more in SMALLER.items() if line.startswith(start)), "")
    program = {"leansight": [sys.executable, "-c", MAIN], "python": [sys.executable]}
    words = [*program[command.words[0]], *command.words[1:], *smaller.split()]
    ended = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert ended.returncode == 0, f"{line}\n{ended.stderr}"
    if command.output:
        (folder / command.output).write_text(ended.stdout)


@pytest.mark.slow
def test_the_first_hour_and_then_the_pi(tmp_path: Path) -> None:
    for clone in (tmp_path, tmp_path / "leansight"):
        shutil.copytree(ROOT / "examples", clone / "examples")
    assert len(run_page("first-hour", tmp_path)) == 10
    assert {path.name for path in (tmp_path / "signs.bundle").iterdir()} == {
        *("bundle.json", "model.tflite", "model.onnx", "golden.npz", "README.md")
    }
    assert (tmp_path / "labelled.mkv").stat().st_size > 0
    assert len(run_page("pi-service", tmp_path)) == 2


@pytest.mark.slow
def test_your_own_photos(tmp_path: Path) -> None:
    drawn = [sys.executable, "-c", MAIN, "data", "signs", "drawn", "--images", "400"]
    subprocess.run(drawn, cwd=tmp_path, check=True, capture_output=True)
    for country, photos in (("northland", "photos"), ("southland", "held-out")):
        (tmp_path / "drawn" / country).rename(tmp_path / photos)
    assert len(run_page("own-photos", tmp_path)) == 7
    assert (tmp_path / "parity/parity.html").is_file()
    assert (tmp_path / "report/report.html").is_file()
