"""Random changes of colours, light and sharpness: each a validated table and the change itself.

Images are uint8 RGB before preprocessing, so that what the camera might have seen is varied, and
CLAHE, resizing and colour are those of the Pi.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from leansight.runtime.extras import opencv
from leansight.runtime.preprocessing import Image
from leansight.sdk.augmentation.change import Change
from leansight.sdk.augmentation.lazy_image import LEVELS, LazyImage

_LEVELS: Final = np.arange(LEVELS + 1.0)
# Of red, green and blue in gray (ITU-R BT.601, 2.5.1).
_GRAY: Final = np.array([0.299, 0.587, 0.114])
_ERASE_ATTEMPTS: Final = 10
_ERASE_RATIO: Final = 3.3


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
        image.pixels = _image(cv2.multiply(image.pixels, light, dtype=cv2.CV_8U))


@dataclass(frozen=True, kw_only=True)
class Blur(Change):
    """Gaussian blur of up to `sigma` (share of the shorter side; 0.01 of 96 pixels: about one)."""

    kind = "blur"
    sigma: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most("sigma", 0.25)

    def __call__(self, image: LazyImage, rng: Generator) -> None:
        """Blur the image."""
        most = self.sigma * min(image.width, image.height)
        sigma = rng.uniform(0.1, max(0.1, most))
        kernel = (2 * math.ceil(2 * sigma) + 1,) * 2
        image.pixels = _image(opencv().GaussianBlur(image.pixels, kernel, sigma))


@dataclass(frozen=True, kw_only=True)
class Coarse(Change):
    """The image as a smaller one shows it: down to `least` (share of the side), and up again."""

    kind = "coarse"
    least: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most("least", 1)

    def __call__(self, image: LazyImage, rng: Generator) -> None:
        """Show the image with fewer details: means of areas, interpolated linearly."""
        cv2 = opencv()
        size = (image.width, image.height)
        share = rng.uniform(self.least, 1)
        less = (max(4, round(share * image.width)), max(4, round(share * image.height)))
        small = cv2.resize(image.pixels, less, interpolation=cv2.INTER_AREA)
        image.pixels = _image(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR))


@dataclass(frozen=True, kw_only=True)
class Stroke(Change):
    """Thicker or thinner strokes, as another country's font has: dark or light grows by a pixel."""

    kind = "stroke"

    def __call__(self, image: LazyImage, rng: Generator) -> None:
        """Erode or dilate the image over 3×3 pixels."""
        cv2 = opencv()
        grow = (cv2.dilate, cv2.erode)[rng.integers(2)]
        image.pixels = _image(grow(image.pixels, np.ones((3, 3), np.uint8)))


@dataclass(frozen=True, kw_only=True)
class Noise(Change):
    """Gaussian noise of each pixel, of up to `sigma` levels."""

    kind = "noise"
    sigma: float = 8.0

    def __call__(self, image: LazyImage, rng: Generator) -> None:
        """Add noise to the image."""
        cv2 = opencv()
        shape = (image.height, image.width, 3)
        noise = rng.standard_normal(shape, np.float32) * np.float32(rng.uniform(0, self.sigma))
        image.pixels = _image(cv2.add(image.pixels, noise, dtype=cv2.CV_8U))


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
        reach = math.log(_ERASE_RATIO)
        for _ in range(_ERASE_ATTEMPTS):
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


def _brighten(image: LazyImage, amount: float, rng: Generator) -> None:
    image.tone(_LEVELS * _factor(amount, rng))


def _contrast(image: LazyImage, amount: float, rng: Generator) -> None:
    mean = image.pixels.mean(axis=(0, 1)) @ _GRAY
    image.tone((_LEVELS - mean) * _factor(amount, rng) + mean)


def _saturate(image: LazyImage, amount: float, rng: Generator) -> None:
    factor = _factor(amount, rng)
    matrix = factor * np.eye(3) + (1 - factor) * _GRAY
    image.pixels = _image(opencv().transform(image.pixels, matrix))


def _turn_hue(image: LazyImage, amount: float, rng: Generator) -> None:
    cv2 = opencv()
    hsv = cv2.cvtColor(image.pixels.astype(np.float32), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 360 * rng.uniform(-amount, amount)) % 360
    image.pixels = _image(np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)))


def _factor(amount: float, rng: Generator) -> float:
    return float(rng.uniform(max(0.0, 1 - amount), 1 + amount))


def _image(pixels: NDArray[np.generic]) -> Image:
    """Return what OpenCV gives as an array of bytes."""
    return np.asarray(pixels, np.uint8)
