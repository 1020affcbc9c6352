import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from leansight.runtime.errors import SourceOptionError
from leansight.runtime.stream.sources.view import Flip, Region, Rotation, View

ROTATIONS: tuple[Rotation, ...] = (0, 90, 180, 270)
FLIPS: tuple[Flip | None, ...] = (None, "h", "v")
REGIONS: tuple[Region | None, ...] = (None, (0, 0, 5, 5), (2, 1, 3, 4), (0.0, 0.25, 0.5, 0.75))


def by_numpy(
    frame: NDArray[np.uint8], rotate: int, flip: str | None, region: Region | None
) -> NDArray[np.uint8]:
    """Rotate clockwise, then flip, then cut: each on the whole picture, by numpy alone."""
    picture = np.rot90(frame, -rotate // 90)
    if flip:
        picture = picture[:, ::-1] if flip == "h" else picture[::-1]
    if region is None:
        return picture
    x, y, width, height = region
    if isinstance(x, float):
        rows, columns = picture.shape[:2]
        left, top = round(x * columns), round(y * rows)
        return picture[top : round((y + height) * rows), left : round((x + width) * columns)]
    return picture[int(y) : int(y + height), int(x) : int(x + width)]


@pytest.mark.parametrize(
    ("rotate", "flip", "region"), list(itertools.product(ROTATIONS, FLIPS, REGIONS))
)
def test_a_frame_is_rotated_then_flipped_then_cut(
    rotate: Rotation, flip: Flip | None, region: Region | None
) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    seen = View(rotate=rotate, flip=flip, roi=region).of(frame)
    assert np.array_equal(seen, by_numpy(frame, rotate, flip, region))
    assert seen.flags.c_contiguous


def test_the_order_matters_in_this_way() -> None:
    """Four corners, numbered: 1 2 above 3 4. Turned clockwise 3 1 above 4 2, flipped 1 3 / 2 4."""
    corners = np.array([[1, 2], [3, 4]], np.uint8)[..., None].repeat(3, axis=2)
    turned = View(rotate=90).of(corners)[..., 0]
    assert turned.tolist() == [[3, 1], [4, 2]]
    flipped = View(rotate=90, flip="h").of(corners)[..., 0]
    assert flipped.tolist() == [[1, 3], [2, 4]]
    right = View(rotate=90, flip="h", roi=(1, 0, 1, 2)).of(corners)[..., 0]
    assert right.tolist() == [[3], [4]]


def test_without_anything_to_do_a_frame_is_not_copied() -> None:
    frame = np.zeros((4, 6, 3), np.uint8)
    assert View().of(frame) is frame


@pytest.mark.parametrize("size", [(4, 6), (1, 1), (3, 7)])
def test_fractions_fit_every_frame(size: tuple[int, int]) -> None:
    for region in ((0.0, 0.0, 1.0, 1.0), (0.99, 0.99, 0.01, 0.01), (0.5, 0.0, 0.001, 0.3)):
        height, width = View(roi=region).of(np.zeros((*size, 3), np.uint8)).shape[:2]
        assert 1 <= height <= size[0]
        assert 1 <= width <= size[1]


@pytest.mark.parametrize("region", [(0, 0, 13, 8), (12, 0, 1, 1), (0, 1, 12, 8)])
def test_a_region_outside_the_frame_is_refused(region: Region) -> None:
    message = r"the region \d+,\d,\d+,\d .* does not lie in the frame, which has 12x8 pixels"
    with pytest.raises(SourceOptionError, match=message) as raised:
        View(roi=region).of(np.zeros((8, 12, 3), np.uint8))
    assert raised.value.parameter == "roi"


def test_the_frame_is_measured_after_it_is_turned() -> None:
    frame = np.zeros((8, 12, 3), np.uint8)
    assert View(rotate=90, roi=(0, 0, 8, 12)).of(frame).shape == (12, 8, 3)
    with pytest.raises(SourceOptionError, match="which has 8x12 pixels"):
        View(rotate=270, roi=(0, 0, 12, 8)).of(frame)
