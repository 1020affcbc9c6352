"""Contrast-limited adaptive histogram equalisation in whole numbers (Zuiderveld, 1994).

OpenCV mixes the tables of four tiles in floats: where a tile's side is no power of two, a pixel
between two levels goes to one on x86 and to the other on ARM (docs/decisions/0003). Here the
parts of a mix are whole numbers, and half is rounded to even; where the side is a power of two,
OpenCV's floats are exact and the results are equal. `prepare.c` gives the same bytes.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

LEVELS: Final = 256
Pixels = NDArray[np.uint8]


def equalised(plane: Pixels, *, clip_limit: float, tiles: int) -> Pixels:
    """Return a plane of levels (H, W) equalised in `tiles` by `tiles` regions.

    A region's sides are H / tiles and W / tiles, rounded up; what lies beyond the last pixel is
    reflected at it.
    """
    high, wide = (-(-length // tiles) for length in plane.shape)
    rows, columns = (
        _reflected(np.arange(tiles * side), length)
        for side, length in zip((high, wide), plane.shape, strict=True)
    )
    regions = plane[rows[:, None], columns].reshape(tiles, high, tiles, wide).swapaxes(1, 2)
    tables = _tables(regions.reshape(tiles * tiles, high * wide), clip_limit)
    return _mixed(plane, tables.reshape(tiles, tiles, LEVELS).astype(np.int64), (high, wide))


def _reflected(positions: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Return positions within `length` for those beyond: ... c b a b c | b a b c ..."""
    period = max(2 * length - 2, 1)
    positions = positions % period
    return np.where(positions < length, positions, period - positions)


def _tables(regions: Pixels, clip_limit: float) -> Pixels:
    """Return what each region (N, pixels) makes of the 256 levels, (N, 256)."""
    count, pixels = regions.shape
    first = np.arange(count)[:, None] * LEVELS
    histograms = np.bincount((first + regions).ravel(), minlength=count * LEVELS)
    histograms = histograms.reshape(count, LEVELS)
    limit = max(int(min(clip_limit * pixels / LEVELS, pixels)), 1)
    cut = np.maximum(histograms - limit, 0).sum(axis=1, keepdims=True)
    rest = cut % LEVELS
    step = LEVELS // np.maximum(rest, 1)
    level = np.arange(LEVELS)
    extra = (level % step == 0) & (level // step < rest)
    histograms = np.minimum(histograms, limit) + cut // LEVELS + extra
    scale = np.float32(LEVELS - 1) / np.float32(pixels)
    tables: Pixels = np.rint(histograms.cumsum(axis=1).astype(np.float32) * scale).astype(np.uint8)
    return tables


def _mixed(plane: Pixels, tables: NDArray[np.int64], sides: tuple[int, int]) -> Pixels:
    """Return for each pixel the mix of the tables (tiles, tiles, 256) around it."""
    tiles = len(tables)
    (above, below, down), (left, right, across) = (
        _around(length, tiles, side) for length, side in zip(plane.shape, sides, strict=True)
    )
    high, wide = (2 * side for side in sides)
    upper, lower = (
        tables[rows[:, None], left, plane] * (wide - across)
        + tables[rows[:, None], right, plane] * across
        for rows in (above, below)
    )
    whole = high * wide
    total = upper * (high - down)[:, None] + lower * down[:, None] + whole // 2
    levels, left_over = np.divmod(total, whole)
    mixed: Pixels = (levels - (levels & (left_over == 0))).astype(np.uint8)
    return mixed


def _around(
    length: int, tiles: int, side: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return the two tiles around each pixel of a side, and how many parts the second has.

    Of 2 * side parts, for the middle of a tile may lie between two pixels.
    """
    first, parts = np.divmod(2 * np.arange(length) - side, 2 * side)
    return np.maximum(first, 0), np.minimum(first + 1, tiles - 1), parts
