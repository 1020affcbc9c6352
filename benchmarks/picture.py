"""The picture that models are timed on when none is given."""

import numpy as np

from leansight.runtime.preprocessing import Image


def synthetic_image() -> Image:
    """Return a picture (480, 640, 3) uint8 BGR, always the same: smooth shades and noise."""
    random = np.random.default_rng(0)
    smooth = np.linspace(40, 200, 640)[None, :, None] + np.linspace(-30, 30, 480)[:, None, None]
    noise = random.normal(0, 10, (480, 640, 3))
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)
