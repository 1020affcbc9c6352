"""Random changes of details: what lens, sensor, noise and a small file leave of them."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator

from leansight.runtime.extras import opencv
from leansight.sdk.augmentation.change import Change
from leansight.sdk.augmentation.lazy_image import LazyImage, as_image

_BEST_QUALITY: Final = 95  # OpenCV's own choice; above, a file grows and looks the same


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
        image.pixels = as_image(opencv().GaussianBlur(image.pixels, kernel, sigma))


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
        image.pixels = as_image(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR))


@dataclass(frozen=True, kw_only=True)
class Stroke(Change):
    """Thicker or thinner strokes, as another country's font has: dark or light grows by a pixel."""

    kind = "stroke"

    def __call__(self, image: LazyImage, rng: Generator) -> None:
        """Erode or dilate the image over 3×3 pixels."""
        cv2 = opencv()
        grow = (cv2.dilate, cv2.erode)[rng.integers(2)]
        image.pixels = as_image(grow(image.pixels, np.ones((3, 3), np.uint8)))


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
        image.pixels = as_image(cv2.add(image.pixels, noise, dtype=cv2.CV_8U))


@dataclass(frozen=True, kw_only=True)
class Compression(Change):
    """The image as a JPEG file shows it, of a quality from `least` (0 to 95) to 95."""

    kind = "compression"
    least: float = 30.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_most("least", _BEST_QUALITY)

    def __call__(self, image: LazyImage, rng: Generator) -> None:
        """Compress the image, and read it again."""
        cv2 = opencv()
        quality = [cv2.IMWRITE_JPEG_QUALITY, round(rng.uniform(self.least, _BEST_QUALITY))]
        bgr = cv2.cvtColor(image.pixels, cv2.COLOR_RGB2BGR)
        _, jpeg = cv2.imencode(".jpg", bgr, quality)
        read = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
        assert read is not None  # it was written just now
        image.pixels = cv2.cvtColor(read, cv2.COLOR_BGR2RGB)
