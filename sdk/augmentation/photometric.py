"""Random changes of an image, as recipes list them: each a validated table and the change itself.

Images are (3, H, W) uint8 RGB tensors before preprocessing, so that what the camera might have
seen is varied, and CLAHE, resizing and colour are those of the Pi. Randomness is torch's global
generator: whoever seeds it repeats the change.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from leansight.runtime.extras import opencv
from leansight.sdk.augmentation.change import (
    LEVELS,
    Change,
    between,
    from_pixels,
    to_levels,
    to_pixels,
    uniform,
)

if TYPE_CHECKING:  # listing recipes must not cost two seconds of importing torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Colour(Change):
    """Brightness, contrast, saturation by a factor of 1 ± the amount; hue by a share of the circle.

    In random order, as torchvision's ColorJitter.
    """

    kind = "colour"
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most("hue", 0.5)

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the image in other colours."""
        from torchvision.transforms import v2

        jitter = v2.ColorJitter(self.brightness, self.contrast, self.saturation, self.hue)
        jittered: Tensor = jitter(image)
        return jittered


@dataclass(frozen=True, kw_only=True)
class Exposure(Change):
    """Under- and over-exposure by up to `stops` (1: half to double the light), clipped.

    `gamma` bends the curve by up to this many powers of two; `cast` is the standard deviation
    of each colour's own gain, in stops.
    """

    kind = "exposure"
    stops: float = 0.0
    gamma: float = 0.0
    cast: float = 0.0

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the image under another light."""
        import torch

        light = (image / LEVELS) ** (2.0 ** uniform(self.gamma))
        gains = uniform(self.stops) + self.cast * torch.randn(3, 1, 1)
        return to_levels(light * LEVELS * 2.0**gains)


@dataclass(frozen=True, kw_only=True)
class NarrowContrast(Change):
    """Squeeze the image into part of the levels: at least `least` of its contrast is left.

    The mean moves anywhere between `darkest` and `brightest` (levels): S1's dark and bright
    signs.
    """

    kind = "narrow-contrast"
    least: float = 0.5
    darkest: float = 40.0
    brightest: float = 215.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most("least", 1)
        self._at_most("darkest", min(self.brightest, LEVELS))
        self._at_most("brightest", LEVELS)

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the image with less contrast around another mean."""
        pixels = image.float()
        mean = between(self.darkest, self.brightest)
        return to_levels((pixels - pixels.mean()) * between(self.least, 1) + mean)


@dataclass(frozen=True, kw_only=True)
class Shade(Change):
    """Light that changes from one side to the other by up to ± `amount` at the edges."""

    kind = "shade"
    amount: float = 0.0

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the image under light from one side."""
        import torch

        height, width = image.shape[-2:]
        across = torch.linspace(-1, 1, width) * uniform(self.amount)
        down = torch.linspace(-1, 1, height)[:, None] * uniform(self.amount)
        return to_levels(image * (1 + across + down))


@dataclass(frozen=True, kw_only=True)
class Blur(Change):
    """Gaussian blur of up to `sigma` (share of the shorter side; 0.01 of 96 pixels: about one)."""

    kind = "blur"
    sigma: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most("sigma", 0.25)

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the blurred image."""
        cv2 = opencv()
        sigma = between(0.1, max(0.1, self.sigma * min(image.shape[-2:])))
        kernel = (2 * math.ceil(2 * sigma) + 1,) * 2
        return from_pixels(cv2.GaussianBlur(to_pixels(image), kernel, sigma))


@dataclass(frozen=True, kw_only=True)
class Coarse(Change):
    """The image as a smaller one shows it: down to `least` (share of the side), and up again."""

    kind = "coarse"
    least: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most("least", 1)

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the image with fewer details."""
        from torchvision.transforms.v2 import functional

        size = [int(side) for side in image.shape[-2:]]
        share = between(self.least, 1)
        small = functional.resize(image, [max(4, round(share * side)) for side in size])
        coarse: Tensor = functional.resize(small, size)
        return coarse


@dataclass(frozen=True, kw_only=True)
class Stroke(Change):
    """Thicker or thinner strokes, as another country's font has: dark or light grows by a pixel."""

    kind = "stroke"

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the image eroded or dilated over 3×3 pixels."""
        cv2 = opencv()
        grow = (cv2.dilate, cv2.erode)[round(between(0, 1))]
        return from_pixels(grow(to_pixels(image), np.ones((3, 3), np.uint8)))


@dataclass(frozen=True, kw_only=True)
class Noise(Change):
    """Gaussian noise of each pixel, of up to `sigma` levels."""

    kind = "noise"
    sigma: float = 8.0

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the noisy image."""
        import torch

        return to_levels(image + torch.randn(image.shape) * between(0, self.sigma))


@dataclass(frozen=True, kw_only=True)
class Erase(Change):
    """Something in front: a rectangle of up to `share` of the area in one random colour."""

    kind = "erase"
    share: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most("share", 0.5)

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return the partly covered image."""
        import torch
        from torchvision.transforms import v2

        colour = torch.randint(0, LEVELS + 1, (3,)).tolist()
        erase = v2.RandomErasing(p=1, scale=(self.share / 10, self.share), value=colour)
        erased: Tensor = erase(image)
        return erased
