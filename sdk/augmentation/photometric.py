"""Random changes of colours and light: each a validated table and the change itself.

Images are uint8 RGB before preprocessing, so that what the camera might have seen is varied, and
CLAHE, resizing and colour are those of the Pi.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator

from leansight.runtime.extras import opencv
from leansight.sdk.augmentation.change import Change
from leansight.sdk.augmentation.lazy_image import LEVELS, LazyImage, as_image

_LEVELS: Final = np.arange(LEVELS + 1.0)
# Of red, green and blue in gray (ITU-R BT.601, 2.5.1).
_GRAY: Final = np.array([0.299, 0.587, 0.114])


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

    def __call__(self, image: LazyImage, rng: Generator) -> None:
        """Show the image in other colours."""
        amounts = (self.brightness, self.contrast, self.saturation, self.hue)
        ways = (_brighten, _contrast, _saturate, _turn_hue)
        for way in rng.permutation([way for way, amount in enumerate(amounts) if amount]):
            ways[way](image, amounts[way], rng)


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

    def __call__(self, image: LazyImage, rng: Generator) -> None:
        """Show the image under another light."""
        light = (_LEVELS / LEVELS) ** (2.0 ** rng.uniform(-self.gamma, self.gamma))
        stops = rng.uniform(-self.stops, self.stops) + rng.normal(0, self.cast, 3)
        image.tone(LEVELS * light[:, None] * 2.0**stops)


@dataclass(frozen=True, kw_only=True)
class Tone(Change):
    """A smooth rising tone curve, as of another camera, of more shapes than a gamma.

    The contrast of shadows, middle and lights is drawn for each, up to `stops` apart from what it
    was (1: halved to doubled); black and white stay. The curve is a cubic Bernstein polynomial,
    which rises where its control points do.
    """

    kind = "tone"
    stops: float = 0.0

    def __call__(self, image: LazyImage, rng: Generator) -> None:
        """Show the image with another tone curve."""
        steps = 2.0 ** rng.uniform(-self.stops, self.stops, 3)
        first, second, _ = np.cumsum(steps) / steps.sum()
        x = _LEVELS / LEVELS
        image.tone(LEVELS * (3 * (1 - x) ** 2 * x * first + 3 * (1 - x) * x**2 * second + x**3))


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

    def __call__(self, image: LazyImage, rng: Generator) -> None:
        """Show the image with less contrast around another mean."""
        mean = rng.uniform(self.darkest, self.brightest)
        image.tone((_LEVELS - image.pixels.mean()) * rng.uniform(self.least, 1) + mean)


@dataclass(frozen=True, kw_only=True)
class Shade(Change):
    """Light that changes from one side to the other by up to ± `amount` at the edges."""

    kind = "shade"
    amount: float = 0.0

    def __call__(self, image: LazyImage, rng: Generator) -> None:
        """Show the image under light from one side."""
        across = np.linspace(-1, 1, image.width) * rng.uniform(-self.amount, self.amount)
        down = np.linspace(-1, 1, image.height)[:, None] * rng.uniform(-self.amount, self.amount)
        light = np.repeat((1 + across + down)[..., None], 3, axis=2)
        cv2 = opencv()
        image.pixels = as_image(cv2.multiply(image.pixels, light, dtype=cv2.CV_8U))


def _brighten(image: LazyImage, amount: float, rng: Generator) -> None:
    image.tone(_LEVELS * _factor(amount, rng))


def _contrast(image: LazyImage, amount: float, rng: Generator) -> None:
    mean = image.pixels.mean(axis=(0, 1)) @ _GRAY
    image.tone((_LEVELS - mean) * _factor(amount, rng) + mean)


def _saturate(image: LazyImage, amount: float, rng: Generator) -> None:
    factor = _factor(amount, rng)
    matrix = factor * np.eye(3) + (1 - factor) * _GRAY
    image.pixels = as_image(opencv().transform(image.pixels, matrix))


def _turn_hue(image: LazyImage, amount: float, rng: Generator) -> None:
    cv2 = opencv()
    hsv = cv2.cvtColor(image.pixels.astype(np.float32), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 360 * rng.uniform(-amount, amount)) % 360
    image.pixels = as_image(np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)))


def _factor(amount: float, rng: Generator) -> float:
    return float(rng.uniform(max(0.0, 1 - amount), 1 + amount))
