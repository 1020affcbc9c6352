"""What a bare model is shown: pictures stretched to its input, of any height, width and depth."""

from dataclasses import dataclass

import numpy as np

from leansight.runtime.extras import opencv
from leansight.runtime.pixels import with_opencv
from leansight.runtime.preprocessing import (
    CHANNELS,
    MAX_ASPECT,
    MAX_SIZE,
    Image,
    Preprocessing,
    check_image,
)


@dataclass(frozen=True, kw_only=True)
class BareInput(Preprocessing):
    """A `Preprocessing` for inputs that a bundle cannot have: `size` rows of `columns` pixels.

    With another number of channels (`depth`) than gray's or RGB's, each holds the gray picture:
    that has a time, but no meaning.
    """

    columns: int
    depth: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The batch that a call returns: (1, height, width, channels)."""
        return (1, self.height, self.columns, self.depth)

    def __call__(self, image: Image) -> Image:
        """Return (1, height, width, channels) uint8 of (H, W, 3) BGR or (H, W) gray uint8."""
        check_image(image)
        cv2 = opencv()
        rgb = self.depth == CHANNELS["rgb"]
        coloured = with_opencv.rgb(cv2, image) if rgb else with_opencv.gray(cv2, image)
        pixels = cv2.resize(coloured, (self.columns, self.height), interpolation=cv2.INTER_AREA)
        if not rgb:
            pixels = np.repeat(pixels[..., None], self.depth, axis=-1)
        return np.ascontiguousarray(pixels, np.uint8).reshape(self.shape)


def bare_input(height: int, width: int, channels: int) -> Preprocessing:
    """Return how the input of a bare model is made, (1, height, width, channels) uint8."""
    colours = {number: colour for colour, number in CHANNELS.items()}
    sides = sorted((height, width))
    if channels in colours and sides[1] <= min(MAX_SIZE, MAX_ASPECT * sides[0]):
        return Preprocessing(size=(height, width), colour=colours[channels])
    return BareInput(size=height, columns=width, depth=channels)
