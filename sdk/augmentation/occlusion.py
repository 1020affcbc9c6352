"""Random things in front of what an image shows."""

import math
from dataclasses import dataclass
from typing import Final

from numpy.random import Generator

from leansight.sdk.augmentation.change import Change
from leansight.sdk.augmentation.lazy_image import LEVELS, LazyImage

_ATTEMPTS: Final = 10
_RATIO: Final = 3.3


@dataclass(frozen=True, kw_only=True)
class Erase(Change):
    """Something in front: a rectangle of up to `share` of the area in one random colour."""

    kind = "erase"
    share: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most("share", 0.5)

    def __call__(self, image: LazyImage, rng: Generator) -> None:
        """Cover a part of the image, as torchvision's RandomErasing.

        A rectangle that does not fit is drawn again, ten times at most.
        """
        colour = rng.integers(0, LEVELS, 3, endpoint=True)
        reach = math.log(_RATIO)
        for _ in range(_ATTEMPTS):
            area = image.height * image.width * rng.uniform(self.share / 10, self.share)
            ratio = math.exp(rng.uniform(-reach, reach))
            height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if height < image.height and width < image.width:
                top = rng.integers(image.height - height, endpoint=True)
                left = rng.integers(image.width - width, endpoint=True)
                pixels = image.pixels.copy()
                pixels[top : top + height, left : left + width] = colour
                image.pixels = pixels
                return
