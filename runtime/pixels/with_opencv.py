"""The steps one by one with OpenCV and numpy: only what gives the same bytes on every processor.

Each gives the bytes of `prepare.c` (docs/decisions/0003). `*_version_1` are those of bundles from
before `preprocessing.version`, which may differ between x86 and ARM.
"""

import math
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.pixels import clahe
from leansight.runtime.pixels.opencv import Cv2

Pixels = NDArray[np.uint8]
Size = tuple[int, int]
"""Height and width in pixels."""

# Letterbox bars are black, as the zero padding of a photo's surroundings in training is.
BAR_VALUE: Final = 0
NO_EDGE: Final = 128
# Gaussians of 1 and 1.6 pixels (Marr & Hildreth, 1980) in 256ths, and what their difference is
# multiplied by: the sharpest edge from black to white then takes 111 of the 128 levels.
_NARROW: Final = (1, 14, 62, 102, 62, 14, 1)
_WIDE: Final = (3, 11, 29, 53, 64, 53, 29, 11, 3)
_DIFFERENCE_GAIN: Final = 4
_ROUNDED_UP: Final = (2, 2)  # the blocks whose half OpenCV rounds up
_MOST_BETWEEN_BARS: Final = 100_000_000  # pixels that are made, at once, of an image and its bars
_MOST_SUM: Final = 1 << 31  # OpenCV adds up a block in 32 bits


def is_gray(image: Pixels) -> bool:
    """Whether an image (H, W) or (H, W, 3) has no axis of channels."""
    return len(image.shape[2:]) == 0


def gray(cv2: Cv2, image: Pixels) -> Pixels:
    """Return BGR as gray; gray as it is."""
    if is_gray(image):
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def rgb(cv2: Cv2, image: Pixels) -> Pixels:
    """Return BGR, or gray, as RGB."""
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if is_gray(image) else cv2.COLOR_BGR2RGB)


def framed(image: Pixels, fit: str, size: Size) -> Size:
    """Return the sides of the part, or of the frame, of the image that has the shape of `size`.

    It is as large as fits in (centre-crop), or as small as holds the image (letterbox).
    """
    (height, width), (rows, columns) = image.shape[:2], size
    is_taller = height * columns > width * rows
    match fit:
        case "centre-crop" if is_taller:
            return max(1, width * rows // columns), width
        case "centre-crop":
            return height, max(1, height * columns // rows)
        case "letterbox" if is_taller:
            return height, -(-height * columns // rows)
        case "letterbox":
            return -(-width * rows // columns), width
    return height, width


def fitted(image: Pixels, fit: str, size: Size) -> Pixels:
    """Give the image the shape of `size` by cutting or by adding bars; a stretch leaves it."""
    height, width = image.shape[:2]
    rows, columns = framed(image, fit, size)
    if (rows, columns) == (height, width):
        return image
    if fit == "centre-crop":
        top, left = (height - rows) // 2, (width - columns) // 2
        return image[top : top + rows, left : left + columns]
    if rows * columns > _MOST_BETWEEN_BARS:
        raise ValueError(f"an image of {width:,} × {height:,} pixels is too long for a letterbox")
    frame = np.full((rows, columns, *image.shape[2:]), BAR_VALUE, np.uint8)
    top, left = (rows - height) // 2, (columns - width) // 2
    frame[top : top + height, left : left + width] = image
    return frame


def letterboxed(cv2: Cv2, image: Pixels, size: Size, interpolation: str) -> Pixels:
    """Return what `resized` makes of the image between its bars, without making the bars.

    Between bars, a picture of 30,000 × 1 pixels would take 2.7 GB.
    """
    frame = framed(image, "letterbox", size)
    if frame == size:
        return fitted(image, "letterbox", size)
    if interpolation == "nearest":
        return _gathered(image, frame, *_nearest_places(frame, size))
    blocks = _blocks(frame, size)
    if interpolation == "area" and blocks != (1, 1):
        means = _means_between_bars(image, frame, blocks)
        return cv2.resize(means, size[::-1], interpolation=cv2.INTER_LINEAR_EXACT)
    return _interpolated(image, frame, size)


def _nearest_places(frame: Size, size: Size) -> list[NDArray[np.int64]]:
    """Return the rows and columns in which the middles of the result's pixels lie."""
    return [
        (2 * np.arange(length) + 1) * side // (2 * length)
        for side, length in zip(frame, size, strict=True)
    ]


def _gathered(
    image: Pixels, frame: Size, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> Pixels:
    """Return the pixels at these rows and columns of the image between its bars."""
    rows = rows - (frame[0] - image.shape[0]) // 2
    columns = columns - (frame[1] - image.shape[1]) // 2
    seen_rows = (rows >= 0) & (rows < image.shape[0])
    seen_columns = (columns >= 0) & (columns < image.shape[1])
    pixels = np.full((len(rows), len(columns), *image.shape[2:]), BAR_VALUE, np.uint8)
    pixels[np.ix_(seen_rows, seen_columns)] = image[np.ix_(rows[seen_rows], columns[seen_columns])]
    return pixels


def _means_between_bars(image: Pixels, frame: Size, blocks: Size) -> Pixels:
    """Return the means of the blocks of the image between its bars, which add nothing to sums."""
    sums: NDArray[Any] = image
    for axis in (0, 1) if image.shape[0] >= image.shape[1] else (1, 0):  # less is left
        length, side, block = image.shape[axis], frame[axis], blocks[axis]
        count, cut_off = side // block, side % block // 2
        edges = np.arange(count + 1) * block + cut_off - (side - length) // 2
        lines = np.moveaxis(sums, axis, 0)
        parts = [
            lines[begin:end].sum(axis=0, dtype=np.int64)
            for begin, end in pairwise(np.clip(edges, 0, length).tolist())
        ]
        sums = np.moveaxis(np.stack(parts), 0, axis)
    if blocks == _ROUNDED_UP:
        means: Pixels = ((sums + 2) >> 2).astype(np.uint8)
        return means
    return _rounded_means(sums, math.prod(blocks))


def _interpolated(image: Pixels, frame: Size, size: Size) -> Pixels:
    """Interpolate in 256ths as OpenCV's INTER_LINEAR_EXACT, half rounded up."""
    (rows, down), (columns, across) = (
        _linear_places(side, length) for side, length in zip(frame, size, strict=True)
    )
    both = _gathered(image, frame, rows, columns)
    down = down.reshape(-1, *(1,) * (image.ndim - 1))
    across = across.reshape(-1, *(1,) * (image.ndim - 2))
    between = (256 - down) * both[0::2] + down * both[1::2]
    mixed = (256 - across) * between[:, 0::2] + across * between[:, 1::2]
    pixels: Pixels = ((mixed + (1 << 15)) >> 16).astype(np.uint8)
    return pixels


def _linear_places(side: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Return the two places between which each of `length` pixels lies, and parts of the second."""
    positions = 1.0 / (length / side) * (np.arange(length) + 0.5) - 0.5
    first = np.floor(positions).astype(np.int64)
    weights = np.rint((positions - first) * 256).astype(np.uint32)
    weights[(first < 0) | (first >= side - 1)] = 0
    first = np.clip(first, 0, side - 1)
    return np.stack((first, np.minimum(first + 1, side - 1)), 1).ravel(), weights


def resized(cv2: Cv2, image: Pixels, size: Size, interpolation: str) -> Pixels:
    """Return the image with `size` pixels: height, width."""
    if image.shape[:2] == size:
        return image
    if interpolation == "nearest":
        rows, columns = _nearest_places((image.shape[0], image.shape[1]), size)
        nearest: Pixels = image[rows[:, None], columns]
        return nearest
    if interpolation == "area":
        image = _averaged(cv2, image, size)
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR_EXACT)


def resized_version_1(cv2: Cv2, image: Pixels, size: Size, interpolation: str) -> Pixels:
    """Return the image with `size` pixels, as old bundles have it."""
    if image.shape[:2] == size:
        return image
    if interpolation == "nearest":
        return cv2.resize(image, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    if interpolation == "area":
        whole, (down, across) = _whole_blocks(image, size)
        smaller = (whole.shape[1] // across, whole.shape[0] // down)
        image = cv2.resize(whole, smaller, interpolation=cv2.INTER_AREA)
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR_EXACT)


def equalised(cv2: Cv2, pixels: Pixels, clip_limit: float, tiles: int) -> Pixels:
    """Equalise gray pixels, or the lightness of RGB ones in CIELAB."""
    if is_gray(pixels):
        return clahe.equalised(pixels, clip_limit=clip_limit, tiles=tiles)
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)
    lab[..., 0] = clahe.equalised(lab[..., 0], clip_limit=clip_limit, tiles=tiles)
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def equalised_version_1(cv2: Cv2, pixels: Pixels, clip_limit: float, tiles: int) -> Pixels:
    """Equalise as old bundles do."""
    equalise = cv2.createCLAHE(clip_limit, (tiles, tiles)).apply
    if is_gray(pixels):
        return equalise(pixels)
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)
    lab[..., 0] = equalise(lab[..., 0])
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def edges(cv2: Cv2, pixels: Pixels) -> Pixels:
    """Return the difference of two Gaussian blurs of gray or RGB pixels, around 128.

    In float32, yet exact: every sum is a whole number of at most 255 × 256², which is below
    2²⁴, so no order of additions and no fused instruction can change it. Rounding is half to even.
    """
    levels = pixels if is_gray(pixels) else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    narrow, wide = (
        cv2.sepFilter2D(levels, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
        for kernel in (np.array(_NARROW, np.float32), np.array(_WIDE, np.float32))
    )
    difference = (narrow - wide) * (_DIFFERENCE_GAIN / 256**2)
    around: Pixels = np.clip(np.rint(difference) + NO_EDGE, 0, 255).astype(np.uint8)
    return around


def _averaged(cv2: Cv2, image: Pixels, size: Size) -> Pixels:
    """Average blocks of pixels, of which at least `size` are left."""
    whole, (down, across) = _whole_blocks(image, size)
    return whole if (down, across) == (1, 1) else _means(cv2, whole, down, across)


def _means(cv2: Cv2, whole: Pixels, down: int, across: int) -> Pixels:
    """Return the means of blocks of so many pixels."""
    rows, columns = whole.shape[0] // down, whole.shape[1] // across
    exact = _adds_up_whole_blocks(rows, down) and _adds_up_whole_blocks(columns, across)
    if exact and down * across * 255 < _MOST_SUM:
        return cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    blocks = whole.reshape(rows, down, columns, across, *whole.shape[2:])
    return _rounded_means(blocks.sum(axis=(1, 3), dtype=np.int64), down * across)


def _rounded_means(sums: NDArray[np.int64], count: int) -> Pixels:
    scale = np.float32(1) / np.float32(count)
    means: Pixels = np.rint(sums.astype(np.float32) * scale).astype(np.uint8)
    return means


def _blocks(frame: Size, size: Size) -> Size:
    """Return the sides of blocks: as large as leave `size` of them."""
    down, across = (max(1, side // length) for side, length in zip(frame, size, strict=True))
    return down, across


def _whole_blocks(image: Pixels, size: Size) -> tuple[Pixels, Size]:
    """Return the image and the sides of its blocks.

    What is left over of a block, less than one pixel of the result, is cut off on both sides.
    """
    down, across = _blocks((image.shape[0], image.shape[1]), size)
    height, width = image.shape[0] // down * down, image.shape[1] // across * across
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width], (down, across)


def _adds_up_whole_blocks(blocks: int, side: int) -> bool:
    """Whether OpenCV finds that blocks of so many pixels are whole ones.

    It divides twice: 1 / (1 / 49) is not 49. Then it weighs every pixel, and x86 and ARM differ.
    """
    return bool(abs(1 / (blocks / (blocks * side)) - side) < np.finfo(np.float64).eps)
