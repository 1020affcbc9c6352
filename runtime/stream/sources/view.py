"""Which part of each frame is given, and which way up: rotation, flip, region."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from leansight.runtime.errors import SourceOptionError
from leansight.runtime.extras import opencv
from leansight.runtime.preprocessing import Image

Rotation = Literal[0, 90, 180, 270]
Flip = Literal["h", "v"]
Region = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class View:
    """Turns a frame clockwise by `rotate` degrees, then flips it, then gives its region `roi`.

    `flip`: "h" swaps left and right, "v" top and bottom. `roi`: x, y, width and height in
    the frame that was turned and flipped; whole numbers are pixels, and where one of them is a
    float, all are fractions of the frame from 0 to 1.
    """

    rotate: Rotation = 0
    flip: Flip | None = None
    roi: Region | None = None

    def of(self, frame: Image) -> Image:
        """Return the view of a frame (H, W, 3); the region alone is turned and copied.

        Raises:
            SourceOptionError: the region does not lie in the frame.

        """
        image = frame
        if self.roi is not None:
            x, y, width, height = self._source_region(frame)
            image = frame[y : y + height, x : x + width]
        if self.rotate:
            image = _rotated(image, self.rotate)
        if self.flip:
            image = opencv().flip(image, 1 if self.flip == "h" else 0)
        return np.ascontiguousarray(image)

    def _source_region(self, frame: Image) -> tuple[int, int, int, int]:
        """Return where the region lies in the frame as it came."""
        height, width = frame.shape[:2]
        if self.rotate in (90, 270):
            width, height = height, width
        x, y, w, h = self._region_in(width, height)
        if self.flip == "h":
            x = width - x - w
        if self.flip == "v":
            y = height - y - h
        match self.rotate:
            case 90:
                return y, width - x - w, h, w
            case 180:
                return width - x - w, height - y - h, w, h
            case 270:
                return height - y - h, x, h, w
        return x, y, w, h

    def _region_in(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return the region in whole pixels of a frame of this size, turned and flipped."""
        assert self.roi is not None
        x, y, w, h = self.roi
        if are_fractions(self.roi):
            left, top = min(round(x * width), width - 1), min(round(y * height), height - 1)
            right, bottom = round((x + w) * width), round((y + h) * height)
            return left, top, max(right - left, 1), max(bottom - top, 1)
        if x + w > width or y + h > height:
            region = ",".join(map(str, self.roi))
            raise SourceOptionError(
                f"the region {region} (x, y, width, height) does not lie in the frame, which has "
                f"{width}x{height} pixels",
                parameter="roi",
            )
        return int(x), int(y), int(w), int(h)


def are_fractions(region: Region) -> bool:
    """Return whether a region is given in fractions of the frame, and not in pixels."""
    return any(isinstance(number, float) for number in region)


def _rotated(image: Image, degrees: Rotation) -> Image:
    cv2 = opencv()
    codes = {
        90: cv2.ROTATE_90_CLOCKWISE,
        180: cv2.ROTATE_180,
        270: cv2.ROTATE_90_COUNTERCLOCKWISE,
    }
    turned: Image = cv2.rotate(image, codes[degrees])
    return turned
