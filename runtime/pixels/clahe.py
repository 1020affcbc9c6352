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
    """Return a square of levels (S, S) equalised in `tiles` by `tiles` regions.

    A region's side is S / tiles, rounded up; what lies beyond the last pixel is reflected at it.
    """
    size = len(plane)
    side = -(-size // tiles)
    inside = _reflected(np.arange(tiles * side), size)
    regions = plane[inside[:, None], inside].reshape(tiles, side, tiles, side).swapaxes(1, 2)
    tables = _tables(regions.reshape(tiles * tiles, side * side), clip_limit)
    return _mixed(plane, tables.reshape(tiles, tiles, LEVELS).astype(np.int64), side)


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


def _mixed(plane: Pixels, tables: NDArray[np.int64], side: int) -> Pixels:
    """Return for each pixel the mix of the tables (tiles, tiles, 256) around it."""
    whole = 2 * side  # the middle of a tile may lie between two pixels
    first, weight = np.divmod(2 * np.arange(len(plane)) - side, whole)
    second = np.minimum(first + 1, len(tables) - 1)
    first = np.maximum(first, 0)
    upper, lower = (
        tables[rows[:, None], first, plane] * (whole - weight)
        + tables[rows[:, None], second, plane] * weight
        for rows in (first, second)
    )
    total = upper * (whole - weight)[:, None] + lower * weight[:, None] + whole**2 // 2
    levels, left_over = np.divmod(total, whole**2)
    mixed: Pixels = (levels - (levels & (left_over == 0))).astype(np.uint8)
    return mixed
