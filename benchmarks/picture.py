"""The pictures that models are timed on: of a video, or one that is made where none is given."""

from pathlib import Path
from typing import Final

import numpy as np

from leansight.runtime.errors import DataError
from leansight.runtime.preprocessing import Image
from leansight.runtime.stream.sources.opencv import OpenCvSource

VIDEO_FRAMES: Final = 50


def synthetic_image() -> Image:
    """Return a picture (480, 640, 3) uint8 BGR, always the same: smooth shades and noise."""
    random = np.random.default_rng(0)
    smooth = np.linspace(40, 200, 640)[None, :, None] + np.linspace(-30, 30, 480)[:, None, None]
    noise = random.normal(0, 10, (480, 640, 3))
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def video_frames(path: Path) -> list[Image]:
    """Return up to 50 frames, (H, W, 3) uint8 BGR, from all over a video.

    Raises:
        DataError: it is not there, or no frame of it can be read.

    """
    if not path.is_file():
        raise DataError(f"{path} is no video file", parameter="video")
    video = OpenCvSource(str(path))
    try:
        step = max((video.frame_count or 0) // VIDEO_FRAMES, 1)
        frames = list[Image]()
        number = 0
        while len(frames) < VIDEO_FRAMES and (frame := video.read()) is not None:
            if number % step == 0:
                frames.append(frame)
            number += 1
    finally:
        video.close()
    if not frames:
        raise DataError(f"{path} has no frame that can be read", parameter="video")
    return frames
