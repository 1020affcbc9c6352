import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import Limit, after, dot, many, photo
from PIL import Image
from scipy import ndimage
from torch import Tensor

from leansight.sdk.augmentation.sharpness import Blur, Coarse, Compression, Noise, Stroke


def test_blur_is_scipys_gaussian() -> None:
    image = photo()
    seen = after(Blur(sigma=0.05), image, Limit()).numpy().astype(float)  # two of 40 pixels
    expected = ndimage.gaussian_filter(
        image.numpy().astype(float), (0, 2, 2), truncate=2.0, mode="mirror"
    )
    assert np.abs(seen - expected).max() <= 1.5


def test_blur_is_at_most_what_it_says() -> None:
    image = dot(20, 20)
    widths = []
    for changed in many(Blur(sigma=0.05), image, 200):
        light = changed[0].double()
        rows = torch.arange(41.0, dtype=torch.float64) - 20
        variance = float((light.sum(1) * rows**2).sum() / light.sum()) - 2 / 3  # less the dot's own
        widths.append(math.sqrt(max(variance, 0)))
    assert max(widths) <= 0.05 * 41
    assert max(widths) > 0.6 * 0.05 * 41
    assert min(widths) < 0.4


def test_coarse_shows_what_a_smaller_image_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limit, "uniform", lambda _, low, _high: low)
    stripes = torch.zeros(3, 40, 40, dtype=torch.uint8)
    stripes[..., ::2] = 255  # finer than 10 pixels can show
    seen = after(Coarse(least=0.25), stripes, Limit())
    assert (seen.int() - 127).abs().max() <= 12
    halves = torch.zeros(3, 40, 40, dtype=torch.uint8)
    halves[..., 20:] = 255
    seen = after(Coarse(least=0.25), halves, Limit())
    assert seen[..., :15].max() <= 8
    assert seen[..., 25:].min() >= 247


def test_strokes_grow_or_shrink_by_a_pixel() -> None:
    image = dot(20, 20)
    grown = ndimage.grey_dilation(image.numpy(), (1, 3, 3))
    shrunk = ndimage.grey_erosion(image.numpy(), (1, 3, 3))
    seen = [c.numpy() for c in many(Stroke(), image, 200)]
    dilated = sum(np.array_equal(s, grown) for s in seen)
    assert dilated + sum(np.array_equal(s, shrunk) for s in seen) == 200
    assert 70 < dilated < 130


def test_noise_is_of_every_pixel_and_of_up_to_its_levels() -> None:
    grey = torch.full((3, 60, 60), 128, dtype=torch.uint8)
    noise = [c.double() - 128 for c in many(Noise(sigma=20), grey, 200)]
    deviations = [float(n.std()) for n in noise]
    assert 18 < max(deviations) < 21
    assert min(deviations) < 2
    assert np.mean([float(n.mean()) for n in noise]) == pytest.approx(0, abs=0.1)
    strong = noise[int(np.argmax(deviations))].flatten(1).numpy()
    assert np.abs(np.corrcoef(strong) - np.eye(3)).max() < 0.1


def pillow_jpeg(image: Tensor, quality: int) -> Tensor:
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)


@pytest.mark.parametrize("least", [5, 70, 95])
def test_compression_is_a_jpeg_file(least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limit, "uniform", lambda _, low, _high: low)
    image = photo()
    seen = after(Compression(least=least), image, Limit())
    # Both are libjpeg; what is left is how they interpolate the colours between pixels.
    assert (seen.int() - pillow_jpeg(image, least).int()).abs().max() <= 2


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 95), st.integers(0, 2**31))
def test_compression_is_of_its_least_quality_or_better(least: int, seed: int) -> None:
    image = photo(seed=seed % 7)
    (seen,) = many(Compression(least=least), image, 1, seed)
    possible = [pillow_jpeg(image, quality).int() for quality in range(least, 96)]
    assert min(int((seen.int() - p).abs().max()) for p in possible) <= 2
