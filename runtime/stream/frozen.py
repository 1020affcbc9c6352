"""Notices a camera that gives the same picture again and again."""

from typing import Final

import numpy as np

from leansight.runtime.preprocessing import Image
from leansight.runtime.stream.capture.frame_slot import Frame

_EVERY_ROW: Final = 16  # these rows are compared first: of a camera that works they differ


class FrozenPicture:
    """Tells for how long all frames have been equal, bit for bit.

    A sensor has noise: two frames of a camera that works are never equal.
    """

    def __init__(self) -> None:
        self._image: Image | None = None
        self._since_s = 0.0

    def equal_s(self, frame: Frame) -> float:
        """Return since how many seconds the frames, with this one, have been equal."""
        if self._image is None or not _are_equal(self._image, frame.image):
            self._image = frame.image.copy()  # outputs draw on the frame's own
            self._since_s = frame.monotonic_s
        return frame.monotonic_s - self._since_s


def _are_equal(first: Image, second: Image) -> bool:
    return (
        first.shape == second.shape
        and bool(np.array_equal(first[::_EVERY_ROW], second[::_EVERY_ROW]))
        and bool(np.array_equal(first, second))
    )
