"""Cameras that fail, each in its own way, opened in a capture process: light to import.

A process that is started anew knows nothing of the one before: what a camera does next stands in
a file, the plan, one word for each opening; the last one repeats.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.errors import SourceError

Picture = NDArray[np.uint8]
FRAME_S = 0.02


class Camera:
    """Gives pictures whose left half is brighter by one each time, then does as the plan says."""

    def __init__(self, fate: str, frames: int, log: Path) -> None:
        self._fate = fate
        self._frames = frames
        self._log = log
        self.number = 0
        self.notice = "it gives 5 frames a second" if fate == "tells a notice" else ""

    def read(self) -> Picture | None:
        time.sleep(FRAME_S)
        if self.number == self._frames and self._fate not in {"freezes", "moves"}:
            return self._meet_fate()
        self.number += 1
        if self._fate in {"freezes", "moves"}:
            return self._picture()
        picture = np.full((24, 32, 3), self.number % 256, np.uint8)
        picture[:, 16:] = 255
        return picture

    def _picture(self) -> Picture:
        """Return a picture that shows something: always the same, or a brighter one each time."""
        value = 130 + self.number % 100 if self._fate == "moves" else 70
        picture = np.full((24, 32, 3), value, np.uint8)
        picture[::4] //= 2
        return picture

    def _meet_fate(self) -> Picture | None:
        match self._fate:
            case "hangs":
                time.sleep(1000)
            case "raises":
                raise RuntimeError("the driver failed")
            case "crashes":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "grows":
                self._frames = -1
                return np.full((480, 640, 3), 7, np.uint8)
            case "tells its modules":
                raise RuntimeError(" ".join(sorted(sys.modules)))
            case "is gray":
                return np.zeros((24, 32), np.uint8)
        return None

    def close(self) -> None:
        with self._log.open("a") as file:
            file.write("closed\n")


def open_camera(plan: Path, frames: int) -> Camera:
    """Do what the next word of the plan says: a `Camera` with this fate, or no camera."""
    fates = plan.read_text().split(",")
    log = plan.with_suffix(".log")
    with log.open("a") as file:
        file.write("opened\n")
    opened = log.read_text().count("opened")
    fate = fates[min(opened, len(fates)) - 1]
    if fate == "is away":
        raise SourceError("no camera is plugged in")
    if fate == "does not open":
        time.sleep(1000)
    return Camera(fate, frames, log)


def camera(folder: Path, *fates: str, frames: int = 5) -> Callable[[], Camera]:
    """Return what opens a camera with one fate after the other."""
    plan = folder / "plan.txt"
    plan.write_text(",".join(fates))
    return partial(open_camera, plan, frames)


def openings(folder: Path) -> int:
    """Return how often the camera of this folder was opened, or tried to be."""
    log = folder / "plan.log"
    return log.read_text().count("opened") if log.exists() else 0


def wait_for_opening(folder: Path, timeout_s: float = 60) -> None:
    """Wait until the camera of this folder was opened, or tried to be; `AssertionError` if not."""
    deadline = time.monotonic() + timeout_s
    while not openings(folder):  # the log is made before its first word is written
        assert time.monotonic() < deadline, "the camera was never opened"
        time.sleep(0.01)


def was_closed(folder: Path) -> bool:
    return "closed" in (folder / "plan.log").read_text()
