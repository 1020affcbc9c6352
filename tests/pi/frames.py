"""Classify a picture of 640×480 pixels again and again, with marks for the instruction counter.

    frames.py BUNDLE

Run by count-instructions, inside the emulated Pi. For the marks see instruction_counter.c, for
what is between them instructions.py; a line before them names the packages.
"""

import json
import os
import sys
from contextlib import suppress
from importlib.metadata import version

import numpy as np
from pixels import seeded

from leansight.runtime import Classifier

MARK = 0x51AB0000
FRAMES = 5
PACKAGES = ("numpy", "opencv-python-headless", "ai-edge-litert")


def mark(number: int) -> None:
    with suppress(OSError):  # no process has such a number
        os.getsid(MARK + number)


def main(bundle: str) -> None:
    """Mark, for each frame: nothing, preprocessing, inference, and the whole by one call."""
    # Threads that wait run instructions too. OpenCV and LiteRT, loaded later, see one core.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    classifier = Classifier.load(bundle)
    noise = seeded("frame").randbytes(480 * 640 * 3)
    image = np.frombuffer(noise, np.uint8).reshape(480, 640, 3)
    sys.stdout.write(json.dumps({name: version(name) for name in PACKAGES}) + "\n")
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


if __name__ == "__main__":
    main(sys.argv[1])
