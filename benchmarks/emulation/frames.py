"""Classify a picture of 640×480 pixels again and again, with marks for the instruction counter.

    python -m leansight.benchmarks.emulation.frames MODEL [FORMAT]

Run by count-instructions, inside the emulated Pi. MODEL is a bundle or a bare file. For the marks
see instruction_counter.c, for what is between them marks.py; a line before them names the packages,
and what prepares pictures.
"""

import json
import os
import random
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, cast

import numpy as np

from leansight.benchmarks.bare_input import BareInput
from leansight.benchmarks.worker import is_bare_model, load_model
from leansight.runtime.classifier import Classifier
from leansight.runtime.interpreter import Format, model_format
from leansight.runtime.pixels import compiled
from leansight.runtime.preprocessing import VERSION, Preprocessing
from leansight.runtime.system.kernel import hold_on_cores

MARK: Final = 0x51AB0000
FRAMES: Final = 5
PACKAGES: Final = ("numpy", "opencv-python-headless", "ai-edge-litert", "onnxruntime")


def mark(number: int) -> None:
    """Mark a place for the counter."""
    with suppress(OSError):  # no process has such a number
        os.getsid(MARK + number)


def main(name: str, wanted: str = "") -> None:
    """Mark, for each frame: nothing, preprocessing, inference, and the whole by one call."""
    # Threads that wait run instructions too. OpenCV and LiteRT, loaded later, see one core.
    hold_on_cores(1)
    classifier = _load(Path(name), wanted)
    noise = random.Random("('frame',)").randbytes(480 * 640 * 3)  # noqa: S311 -- no secret
    image = np.frombuffer(noise, np.uint8).reshape(480, 640, 3)
    used = {"preprocessing": prepared_by(classifier.preprocessing), **_versions()}
    sys.stdout.write(json.dumps(used) + "\n")
    sys.stdout.flush()
    for _ in range(FRAMES):
        mark(0)
        mark(1)
        pixels = classifier.preprocessing(image)
        mark(2)
        classifier.interpreter(pixels)
        mark(3)
        classifier(image)
        mark(4)


def _load(path: Path, wanted: str) -> Classifier:
    if is_bare_model(path):
        return load_model(path, model_format=model_format(path), threads=1)
    return Classifier.load(path, model_format=cast("Format", wanted) if wanted else None)


def prepared_by(preprocessing: Preprocessing) -> str:
    """Name what prepares the pictures."""
    is_ours = preprocessing.version == VERSION and not isinstance(preprocessing, BareInput)
    if is_ours and compiled.library() is not None:
        return "leansight's C library"
    return "OpenCV"


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
