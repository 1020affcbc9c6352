"""Print by how much a process grows that classifies a million frames.

    python tests/perf/endurance.py BUNDLE [--frames 1000000] [--format onnx]

Growth is that of the resident memory from a fifth of the frames, and 20 seconds, to the last;
a small network shows it as a large one does, and sooner. The exit code is 1 where growth is more
than 64 KB.
"""

import argparse
import itertools
import sys
import time
from pathlib import Path

import numpy as np

from leansight.runtime.classifier import Classifier
from leansight.runtime.interpreter import FORMATS

MOST_KB = 64
SETTLED_SECONDS = 20
STATUS = Path("/proc/self/status")


def resident_kb() -> int:
    """Return the memory of this process that is in RAM."""
    (line,) = (text for text in STATUS.read_text().splitlines() if text.startswith("VmRSS:"))
    return int(line.split()[1])


def main() -> None:
    """Classify noise, and compare the memory after a fifth of it with that at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--format", choices=FORMATS)
    arguments = parser.parse_args()
    classifier = Classifier.load(arguments.bundle, model_format=arguments.format)
    noise = np.random.default_rng(0).integers(0, 256, (16, 240, 320, 3), np.uint8)
    frames = itertools.islice(itertools.cycle(noise), arguments.frames)
    start, before = time.monotonic(), 0
    for number, frame in enumerate(frames):
        classifier(frame)
        if number == arguments.frames // 5:
            time.sleep(max(0, start + SETTLED_SECONDS - time.monotonic()))
            before = resident_kb()
    grown, took = resident_kb() - before, time.monotonic() - start
    print(f"{classifier.name}, {classifier.format}: {arguments.frames} frames in {took:.0f} s, "
          f"{before} KB after a fifth of them, {grown:+} KB at the end")  # fmt: skip
    sys.exit(0 if grown <= MOST_KB else 1)


if __name__ == "__main__":
    main()
