"""Random things in front of what an image shows."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from leansight.runtime.extras import opencv
from leansight.sdk.augmentation.change import Change
from leansight.sdk.augmentation.lazy_image import LEVELS, LazyImage, as_image

_ATTEMPTS: Final = 10
_RATIO: Final = 3.3
_WOBBLE: Final = 0.15  # of a sticker's outline, in halves of the image's sides
_WAVES: Final = 5  # random places of it along each side
_FADE: Final = 0.3  # width of the border of dirt, in halves of the sides
_BROWN: Final = np.array([1.0, 0.9, 0.75])


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


@dataclass(frozen=True, kw_only=True)
class Sticker(Change):
    """A patch with a wobbly outline on up to `share` of the area, around a random place.

    It is dirt with the probability `dirt`: dark brown, half transparent, without a sharp border.
    Else it is a sticker of one random colour.
    """

    kind = "sticker"
    share: float = 0.1
    dirt: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most("share", 0.5)
        self._at_most("dirt", 1)

    def __call__(self, image: LazyImage, rng: Generator) -> None:
        """Cover a part of the image."""
        heights = _hill(image.height, image.width, rng)
        share = rng.uniform(self.share / 10, self.share)
        edge = np.quantile(heights, 1 - share, method="higher")
        if rng.random() < self.dirt:
            opacity = np.clip((heights - edge) / _FADE, 0, 1) * rng.uniform(0.4, 0.9)
            colour = rng.uniform(0, 90) * _BROWN
        else:
            opacity = np.where(heights > edge, 1.0, 0.0)
            colour = rng.uniform(0, LEVELS, 3)
        covered = image.pixels + opacity[..., None] * (colour - image.pixels)
        image.pixels = as_image(np.rint(covered))


def _hill(height: int, width: int, rng: Generator) -> NDArray[np.float64]:
    """Return heights (H, W) that fall from a random place to all sides, unevenly."""
    x, y = rng.uniform(-1, 1, 2)
    across, down = np.linspace(-1, 1, width) - x, np.linspace(-1, 1, height) - y
    waves = rng.standard_normal((_WAVES, _WAVES), np.float32)
    cv2 = opencv()
    wobbles = cv2.resize(waves, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(_WOBBLE * wobbles - np.hypot(across, down[:, None]))
