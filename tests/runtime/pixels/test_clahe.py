"""CLAHE in whole numbers: OpenCV's where OpenCV is exact, and the nearest level everywhere."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from leansight.runtime.pixels.clahe import equalised

Plane = NDArray[np.uint8]
clip_limits = st.sampled_from([0.1, 1.0, 2.0, 3.7, 40.0, 1e9])


def plane(height: int, seed: int, width: int | None = None) -> Plane:
    shape = (height, width or height)
    noise = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.5) if seed % 2 else noise


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 6), st.integers(0, 6), st.integers(1, 9), clip_limits, st.integers(0, 2**32 - 1)
)
def test_it_is_opencvs_where_a_tiles_sides_are_powers_of_two(
    down: int, across: int, tiles: int, clip_limit: float, seed: int
) -> None:
    pixels = plane(2**down * tiles, seed, 2**across * tiles)
    expected = cv2.createCLAHE(min(clip_limit, 1e6), (tiles, tiles)).apply(pixels)
    assert np.array_equal(equalised(pixels, clip_limit=clip_limit, tiles=tiles), expected)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(1, 12),
    clip_limits,
    st.integers(0, 2**32 - 1),
)
def test_it_is_within_one_level_of_opencvs_everywhere(
    height: int, width: int, tiles: int, clip_limit: float, seed: int
) -> None:
    # Where one side alone is not divided without a rest, OpenCV makes the other's tiles longer.
    if (height % tiles == 0) != (width % tiles == 0):
        width = height
    pixels = plane(height, seed, width)
    expected = cv2.createCLAHE(min(clip_limit, 1e6), (tiles, tiles)).apply(pixels)
    found = equalised(pixels, clip_limit=clip_limit, tiles=tiles)
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("height", "width", "tiles"),
    [
        (24, 24, 4),
        (25, 25, 5),
        (30, 30, 4),
        (7, 7, 3),
        (5, 5, 8),
        (24, 40, 4),
        (13, 30, 5),
        (9, 4, 6),
    ],
)
def test_a_mix_of_four_tables_is_the_nearest_level_and_half_goes_to_the_even_one(
    height: int, width: int, tiles: int
) -> None:
    pixels = plane(height, 3, width)
    found = equalised(pixels, clip_limit=2.0, tiles=tiles)
    high, wide = -(-height // tiles), -(-width // tiles)
    tables = [
        [_table(pixels, row, column, high, wide) for column in range(tiles)] for row in range(tiles)
    ]
    ties = 0
    for y, x in np.ndindex(height, width):
        exact = Fraction(0)
        for row, down in _around(y, high, tiles):
            for column, across in _around(x, wide, tiles):
                exact += down * across * tables[row][column][pixels[y, x]]
        assert found[y, x] == round(exact)  # Python rounds half of a Fraction to even
        ties += exact % 1 == Fraction(1, 2)
    assert ties or height != 24  # where OpenCV's floats go one way or the other


def _table(pixels: Plane, row: int, column: int, high: int, wide: int) -> list[int]:
    """What a tile's clipped histogram makes of each level, step by step."""
    padded = np.pad(pixels, ((0, 8 * high), (0, 8 * wide)), mode="reflect")
    tile = padded[row * high :, column * wide :][:high, :wide]
    counts = [int((tile == level).sum()) for level in range(256)]
    limit = max(int(2.0 * high * wide / 256), 1)
    cut = sum(max(count - limit, 0) for count in counts)
    counts = [min(count, limit) + cut // 256 for count in counts]
    for i in range(cut % 256):
        counts[i * (256 // (cut % 256))] += 1
    scale = np.float32(255) / np.float32(high * wide)
    return [int(np.rint(np.float32(sum(counts[: level + 1])) * scale)) for level in range(256)]


def _around(position: int, side: int, tiles: int) -> list[tuple[int, Fraction]]:
    """The two tiles whose middles a pixel lies between, and how much of each it takes."""
    place = Fraction(position, side) - Fraction(1, 2)
    first = place.numerator // place.denominator
    right = place - first
    return [(max(first, 0), 1 - right), (min(first + 1, tiles - 1), right)]


def test_one_level_stays_one_level() -> None:
    found = equalised(np.full((30, 30), 77, np.uint8), clip_limit=2.0, tiles=4)
    assert len(np.unique(found)) == 1
