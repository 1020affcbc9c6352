"""Pictures for networks that are no squares."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from leansight.runtime.pixels import compiled
from leansight.runtime.preprocessing import Clahe, Interpolation, Preprocessing

Pixels = NDArray[np.uint8]
INTERPOLATIONS = ("area", "linear", "nearest")


@pytest.fixture(autouse=True, scope="module", params=["in C", "with OpenCV"])
def _implementation(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test of this file holds for both ways to prepare an image."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "with OpenCV":
            patch.setattr(compiled, "library", lambda: None)
        elif compiled.library() is None:
            pytest.skip("prepare.c was not compiled when leansight was installed")
        yield


def photo(height: int, width: int, *, channels: int | None = 3) -> Pixels:
    shape = (height, width) if channels is None else (height, width, channels)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


WIDE = Preprocessing(size=(48, 80))


@pytest.mark.parametrize(
    ("size", "shape", "expected"),
    [
        ((2, 4), (8, 8), (4, 8)),  # twice as wide as high: half of the height
        ((4, 2), (8, 8), (8, 4)),
        ((2, 4), (4, 8), (4, 8)),
        ((2, 4), (3, 16), (3, 6)),
        ((3, 5), (7, 100), (7, 11)),  # 7 × 5 / 3 = 11.7
        ((5, 160), (1, 1), (1, 1)),
    ],
)
def test_a_crop_has_the_shape_of_the_network(
    size: tuple[int, int], shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    image = photo(*shape)
    top, left = ((side - part) // 2 for side, part in zip(shape, expected, strict=True))
    middle = image[top : top + expected[0], left : left + expected[1]]
    found = Preprocessing(size=size, fit="centre-crop")(image)
    assert np.array_equal(found, Preprocessing(size=size)(middle))


@pytest.mark.parametrize(
    ("size", "shape", "frame"),
    [
        ((2, 4), (8, 8), (8, 16)),
        ((4, 2), (8, 8), (16, 8)),
        ((48, 80), (48, 80), (48, 80)),
        ((48, 80), (120, 100), (120, 200)),
        ((3, 5), (7, 7), (7, 12)),  # 7 × 5 / 3 = 11.7
        ((5, 3), (31, 100), (167, 100)),
    ],
)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_letterbox_has_the_shape_of_the_network(
    size: tuple[int, int],
    shape: tuple[int, int],
    frame: tuple[int, int],
    interpolation: Interpolation,
) -> None:
    image = photo(*shape)
    top, left = ((side - part) // 2 for side, part in zip(frame, shape, strict=True))
    between_bars = np.zeros((*frame, 3), np.uint8)
    between_bars[top : top + shape[0], left : left + shape[1]] = image
    found = Preprocessing(size=size, fit="letterbox", interpolation=interpolation)(image)
    stretched = Preprocessing(size=size, interpolation=interpolation)(between_bars)
    assert np.array_equal(found, stretched)


def test_height_comes_before_width() -> None:
    assert (WIDE.height, WIDE.width, WIDE.shape) == (48, 80, (1, 48, 80, 3))
    expected = cv2.resize(photo(37, 51), (80, 48), interpolation=cv2.INTER_LINEAR_EXACT)
    assert np.array_equal(WIDE(photo(37, 51))[0], expected[..., ::-1])


def test_clahe_has_as_many_tiles_on_both_sides() -> None:
    image = photo(64, 128, channels=None)
    setting = Preprocessing(size=(64, 128), colour="gray", clahe=Clahe(clip_limit=2.0, tiles=4))
    expected = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(4, 4)).apply(image)
    assert np.array_equal(setting(image)[0, ..., 0], expected)


def test_edges_of_a_wide_picture_are_scipys() -> None:
    smooth = ndimage.gaussian_filter(photo(40, 90, channels=None), 2)
    setting = Preprocessing(size=(40, 90), colour="gray", difference_of_gaussians=True)
    seen = setting(smooth)[0, ..., 1].astype(int)
    narrow, wide = (
        ndimage.gaussian_filter(smooth.astype(float), sigma, mode="nearest", truncate=6)
        for sigma in (1, 1.6)
    )
    exact = np.clip(128 + 4 * (narrow - wide), 0, 255)
    assert np.abs(seen - exact).max() <= 2


def test_two_equal_sides_are_a_square() -> None:
    square = Preprocessing(size=(64, 64))
    assert square == Preprocessing(size=64)
    assert square.to_dict()["size"] == 64
    assert WIDE.to_dict()["size"] == [48, 80]
