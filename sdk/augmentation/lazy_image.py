"""An image whose warps and tone curves wait until they can be made in one pass.

A training image is warped by mirror, crop, rotation and perspective, and toned by exposure, cast
and contrast. Each as a pass of its own resamples and rounds the image again, and costs as much as
all of them together: so maps are multiplied first, and tone curves looked up in one another.
"""

from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.extras import opencv
from leansight.runtime.preprocessing import Image

Fill = Literal["edge", "black"]
Matrix = NDArray[np.float64]
LEVELS: Final = 255
_NO_MAP: Final = np.eye(3)


class LazyImage:
    """Pixels (H, W, 3) uint8 RGB under changes that `pixels` makes when it is read.

    What one warp moves out of the frame, a later one may bring back: nothing is cut off until
    the pixels are read.
    """

    def __init__(self, pixels: Image) -> None:
        self._pixels = pixels
        self._map, self._fill = _NO_MAP, "edge"
        self._levels: NDArray[np.uint8] | None = None  # (256, 3), of each colour
        self.height, self.width = pixels.shape[:2]

    @property
    def pixels(self) -> Image:
        """The image after all changes so far, (height, width, 3) uint8 RGB, not to be written to.

        Warps interpolate between the four nearest pixels.
        """
        if self._map is not _NO_MAP:
            self._pixels = _warped(self._pixels, self._map, (self.width, self.height), self._fill)
            self._map = _NO_MAP
        if self._levels is not None:
            self._pixels = opencv().LUT(self._pixels, self._levels[None])
            self._levels = None
        return self._pixels

    @pixels.setter
    def pixels(self, pixels: Image) -> None:
        self._map, self._levels = _NO_MAP, None
        self._pixels = pixels
        self.height, self.width = pixels.shape[:2]

    def warp(
        self, matrix: Matrix, *, size: tuple[int, int] | None = None, fill: Fill = "edge"
    ) -> Self:
        """Move every point (x, y, 1) to `matrix` (3, 3) times it; x and y are in pixels.

        `size` is the new (width, height); what comes in from outside repeats the edge or is black.
        """
        waits = self._map is not _NO_MAP
        if self._levels is not None or (waits and fill != self._fill):
            self.pixels = self.pixels
        self._map, self._fill = matrix @ self._map, fill
        self.width, self.height = size or (self.width, self.height)
        return self

    def tone(self, levels: NDArray[np.floating]) -> Self:
        """Replace level i by `levels`[i]: (256,) for all colours or (256, 3), any finite number.

        Numbers are rounded to whole levels and cut off at black and white.
        """
        table = np.clip(np.rint(levels), 0, LEVELS).astype(np.uint8)
        table = np.broadcast_to(table.reshape(LEVELS + 1, -1), (LEVELS + 1, 3))
        if self._levels is not None:
            table = np.take_along_axis(table, self._levels.astype(np.intp), axis=0)
        self._levels = np.ascontiguousarray(table)
        return self


def as_image(pixels: NDArray[np.generic]) -> Image:
    """Return what OpenCV gives as an array of bytes."""
    return np.asarray(pixels, np.uint8)


def _warped(pixels: Image, matrix: Matrix, size: tuple[int, int], fill: str) -> Image:
    """Return the warped image, by OpenCV, which repeats the edge without a padded copy."""
    cv2 = opencv()
    border = cv2.BORDER_REPLICATE if fill == "edge" else cv2.BORDER_CONSTANT
    how = {"flags": cv2.INTER_LINEAR, "borderMode": border}
    if (matrix[2] == _NO_MAP[2]).all():
        return as_image(cv2.warpAffine(pixels, matrix[:2], size, **how))
    return as_image(cv2.warpPerspective(pixels, matrix, size, **how))
