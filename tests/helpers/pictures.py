"""Pictures whose changes can be told, and every change in a strong form."""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from leansight.sdk.augmentation.change import Change
from leansight.sdk.augmentation.geometric import Affine, Crop, Elastic, Margins, Mirror, Perspective
from leansight.sdk.augmentation.lazy_image import LazyImage
from leansight.sdk.augmentation.occlusion import Erase, Sticker
from leansight.sdk.augmentation.photometric import Colour, Exposure, NarrowContrast, Shade, Tone
from leansight.sdk.augmentation.sharpness import Blur, Coarse, Compression, Noise, Stroke

STRONG = (
    Mirror(),
    Affine(rotation_degrees=40, shift=0.3, zoom=0.5, shear_degrees=20),
    Affine(rotation_degrees=20, shift=0.1, zoom=0.2, distribution="normal", fill="black"),
    Margins(inward=0.45, outward=0.5),
    Crop(padding=0.2),
    Perspective(distortion=1),
    Elastic(sigma=0.1, points=3),
    Colour(brightness=0.9, contrast=0.9, saturation=0.9, hue=0.5),
    Exposure(stops=3, gamma=2, cast=1),
    Tone(stops=3),
    NarrowContrast(least=0),
    Shade(amount=1),
    Blur(sigma=0.25),
    Coarse(least=0.1),
    Stroke(),
    Noise(sigma=80),
    Compression(least=0),
    Erase(share=0.5),
    Sticker(share=0.5),
)


KEEP_SIZE = [change for change in STRONG if not isinstance(change, Margins)]


class Limit(np.random.Generator):
    """Draws the upper limit of every even distribution."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def uniform(self, low: float, high: float) -> float:  # type: ignore[override]
        del low
        return high


def photo(height: int = 40, width: int = 40, seed: int = 0) -> Tensor:
    """Return smooth shades with some noise, (3, H, W) uint8."""
    noise = np.random.default_rng(seed).normal(0, 400, (3, height, width))
    smooth = ndimage.gaussian_filter(noise, (0, 3, 3), mode="nearest")
    return torch.from_numpy(np.clip(120 + smooth, 1, 255).astype(np.uint8))


def dot(row: int, column: int, side: int = 41) -> Tensor:
    """Return a black picture with one white square of 3×3 pixels around a place."""
    image = torch.zeros(3, side, side, dtype=torch.uint8)
    image[:, row - 1 : row + 2, column - 1 : column + 2] = 255
    return image


def place(image: Tensor) -> tuple[float, float]:
    """Return the row and column of the centre of the light."""
    return ndimage.center_of_mass(image[0].numpy().astype(float))


def after(change: Change, image: Tensor, rng: np.random.Generator) -> Tensor:
    """Return (3, H', W') uint8 after one random change."""
    lazy = LazyImage(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
    change(lazy, rng)
    assert lazy.pixels.shape == (lazy.height, lazy.width, 3)
    return torch.from_numpy(lazy.pixels.copy()).permute(2, 0, 1)


def many(change: Change, image: Tensor, count: int = 300, seed: int = 0) -> list[Tensor]:
    """Return an image after one random change, for `count` draws of one generator."""
    rng = np.random.default_rng(seed)
    return [after(change, image, rng) for _ in range(count)]
