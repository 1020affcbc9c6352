"""Print how fast an image is prepared beside the same steps of OpenCV, and fail where it is slower.

    python tests/perf/preprocessing_speed.py [--rounds 40]

Both prepare a 640×480 frame on one thread, in turns: the least time of all rounds, and their ratio.
OpenCV's is version 1 of the preprocessing, which is what one would write by hand. The second
table is CLAHE alone, on gray squares. Exit code 1 if a ratio is above its limit: half of OpenCV's
time for a small picture in colours with CLAHE, all of it for most (a tenth more for CLAHE alone,
whose smallest takes no longer than the call). Blocks of 2 by 2 are where
OpenCV has intrinsics for x86 and gcc has not; on ARM they take less than OpenCV's.
"""

import argparse
import sys
import timeit
from collections.abc import Callable, Iterator
from dataclasses import replace

import cv2
import numpy as np

from leansight.runtime.pixels import compiled
from leansight.runtime.preprocessing import Clahe, Image, Preprocessing

CALLS = 10
LIMITS = {
    (48, "rgb", True): 0.5,
    (64, "rgb", True): 0.6,
    (96, "rgb", True): 0.6,
    (224, "rgb", False): 1.6,
    (224, "gray", False): 1.6,
    (224, "gray", True): 1.1,
}
Way = Callable[[], object]


def main() -> int:
    """Measure in turns and print the least times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    if compiled.library() is None:
        print("prepare.c was not compiled when leansight was installed", file=sys.stderr)
        return 2
    cv2.setNumThreads(1)
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    frame = cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC)
    slow = False
    print(f"{'640×480 to':>24s} {'OpenCV':>9s} {'here':>9s} {'ratio':>6s}")
    for preprocessing in settings():
        old = replace(preprocessing, version=1)
        times = least({"old": lambda: old(frame), "new": lambda: preprocessing(frame)}, rounds)  # noqa: B023
        slow |= row(name_of(preprocessing), times["old"], times["new"], limit_of(preprocessing))
    print(f"{'CLAHE alone, 16-pixel tiles':>24s}")
    for size in (48, 64, 96, 128, 224):
        slow |= clahe_alone(cv2.resize(frame[..., 0], (size, size)), rounds)
    return int(slow)


def settings() -> Iterator[Preprocessing]:
    """Yield settings as recipes have them."""
    for size in (48, 64, 96, 224):
        for clahe in (None, Clahe(tiles=size // 16)):
            yield Preprocessing(size=size, colour="rgb", clahe=clahe)
            yield Preprocessing(size=size, colour="gray", clahe=clahe)


def clahe_alone(plane: Image, rounds: int) -> bool:
    """Print one size of gray square, which is not resized; return whether it is too slow."""
    tiles = len(plane) // 16
    gray = Preprocessing(size=len(plane), colour="gray", clahe=Clahe(tiles=tiles))
    times = least(
        {
            "old": lambda: cv2.createCLAHE(2.0, (tiles, tiles)).apply(plane),
            "new": lambda: gray(plane),
        },
        rounds,
    )
    return row(f"{len(plane)}×{len(plane)}", times["old"], times["new"], 1.1)


def least(ways: dict[str, Way], rounds: int) -> dict[str, float]:
    """Return the least time of a call in microseconds, taken in turns."""
    times = {name: float("inf") for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name] = min(times[name], timeit.timeit(way, number=CALLS) / CALLS * 1e6)
    return times


def row(name: str, old: float, new: float, limit: float) -> bool:
    """Print a row; return whether the ratio is above its limit."""
    slow = new / old > limit
    print(f"{name:>24s} {old:6.0f} µs {new:6.0f} µs {new / old:6.2f} {'TOO SLOW' * slow}".rstrip())
    return slow


def name_of(preprocessing: Preprocessing) -> str:
    """Return what the table calls it."""
    clahe = "" if preprocessing.clahe is None else f" CLAHE {preprocessing.clahe.tiles}"
    return f"{preprocessing.size} {preprocessing.colour}{clahe}"


def limit_of(preprocessing: Preprocessing) -> float:
    """Return the greatest ratio that is allowed."""
    key = (preprocessing.size, preprocessing.colour, preprocessing.clahe is not None)
    return LIMITS.get(key, 1.0)


if __name__ == "__main__":
    sys.exit(main())
