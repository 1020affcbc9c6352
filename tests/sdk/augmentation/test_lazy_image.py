from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import many, photo
from scipy import stats
from torchvision.transforms import v2

from leansight.sdk.augmentation.change import Change
from leansight.sdk.augmentation.geometric import Affine, Crop, Margins, Mirror, Perspective
from leansight.sdk.augmentation.lazy_image import LazyImage
from leansight.sdk.augmentation.occlusion import Erase
from leansight.sdk.augmentation.photometric import Colour, Exposure, NarrowContrast
from leansight.sdk.augmentation.sharpness import Coarse, Noise

WARPS = (
    Mirror(),
    Affine(rotation_degrees=15, shift=0.05, zoom=0.1, shear_degrees=8),
    Margins(inward=0.1, outward=0.1),
    Perspective(distortion=0.2),
)
TONES = (
    Exposure(stops=1, gamma=0.5, cast=0.2),
    Colour(brightness=0.4),
    NarrowContrast(least=0.3),
)


def smooth(height: int = 60, width: int = 48) -> np.ndarray:
    """Return an image (H, W, 3) whose interpolation loses next to nothing."""
    pixels = photo(height, width).permute(1, 2, 0).numpy()
    return cv2.GaussianBlur(pixels, (0, 0), 3)


def composed(changes: list[Change], seed: int) -> LazyImage:
    lazy, rng = LazyImage(smooth()), np.random.default_rng(seed)
    for change in changes:
        change(lazy, rng)
    return lazy


def one_by_one(changes: list[Change], seed: int) -> np.ndarray:
    """Return the image after changes that are each made before the next."""
    pixels, rng = smooth(), np.random.default_rng(seed)
    for change in changes:
        lazy = LazyImage(pixels)
        change(lazy, rng)
        pixels = lazy.pixels
    return pixels


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(TONES), min_size=1, max_size=4), st.integers(0, 2**31))
def test_tones_in_one_table_are_the_tones_one_by_one(changes: list[Change], seed: int) -> None:
    assert np.array_equal(composed(changes, seed).pixels, one_by_one(changes, seed))


@settings(max_examples=60, deadline=None)
@given(st.permutations(WARPS), st.integers(0, 2**31))
def test_warps_in_one_map_show_what_they_show_one_by_one(changes: list[Change], seed: int) -> None:
    lazy = composed(changes, seed)
    apart = one_by_one(changes, seed)
    assert lazy.pixels.shape == apart.shape == (lazy.height, lazy.width, 3)
    # What one cuts off, the others may bring back: near the border they differ, not in the middle.
    rows, columns = (slice(side // 3, -(side // 3)) for side in apart.shape[:2])
    difference = np.abs(lazy.pixels[rows, columns].astype(int) - apart[rows, columns])
    assert np.median(difference) <= 2
    assert difference.mean() < 4


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from((*TONES, Noise(sigma=5))), max_size=5),
    st.integers(0, 5),
    st.integers(0, 2**31),
)
def test_a_black_border_gets_the_tones_that_come_after_it(
    changes: list[Change], place: int, seed: int
) -> None:
    changes.insert(place, Crop(padding=0.1))
    assert np.array_equal(composed(changes, seed).pixels, one_by_one(changes, seed))


def test_what_is_moved_out_and_back_is_not_lost() -> None:
    pixels = smooth()
    lazy = LazyImage(pixels)
    for x in (-20, 20):
        lazy.warp(np.array([[1.0, 0, x], [0, 1, 0], [0, 0, 1]]))
    assert np.array_equal(lazy.pixels, pixels)


def test_levels_are_rounded_and_cut_off() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    seen = LazyImage(ramp).tone(np.arange(256) * 1.5 - 64).pixels[:, 0, 0]
    expected = [min(max(round(level * 1.5 - 64), 0), 255) for level in range(256)]
    assert seen.tolist() == expected


def covered(image: torch.Tensor) -> float:
    return float((image != 128).any(0).double().mean())


def mean_of(channel: int) -> Callable[[torch.Tensor], float]:
    return lambda image: float(image[channel].double().mean())


@pytest.mark.parametrize(
    ("change", "torchvisions", "measure"),
    [
        (Colour(brightness=0.5), v2.ColorJitter(brightness=0.5), mean_of(0)),
        (Colour(contrast=0.6), v2.ColorJitter(contrast=0.6), lambda i: float(i.double().std())),
        (
            Colour(saturation=0.7),
            v2.ColorJitter(saturation=0.7),
            lambda i: float((i[0].double() - i[2].double()).std()),
        ),
        (Colour(hue=0.3), v2.ColorJitter(hue=0.3), mean_of(1)),
        (
            Colour(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2),
            v2.ColorJitter(0.5, 0.5, 0.5, 0.2),
            mean_of(2),
        ),
    ],
    ids=["brightness", "contrast", "saturation", "hue", "all"],
)
def test_colours_are_distributed_as_torchvisions(
    change: Change, torchvisions: v2.Transform, measure: Callable[[torch.Tensor], float]
) -> None:
    image = photo()
    image[0] = image[0] // 2 + 100  # a colour to turn
    torch.manual_seed(0)
    ours = [measure(seen) for seen in many(change, image, 600)]
    theirs = [measure(torchvisions(image)) for _ in range(600)]
    assert stats.ks_2samp(ours, theirs).pvalue > 0.001


def test_what_is_erased_is_distributed_as_torchvisions() -> None:
    image = torch.full((3, 40, 30), 128, dtype=torch.uint8)
    torch.manual_seed(0)
    theirs = v2.RandomErasing(p=1, scale=(0.02, 0.2), value=0)
    shares = [covered(seen) for seen in many(Erase(share=0.2), image, 600)]
    expected = [covered(theirs(image)) for _ in range(600)]
    assert stats.ks_2samp(shares, expected).pvalue > 0.001


def test_coarse_images_have_the_details_of_torchvisions() -> None:
    image = photo()
    torch.manual_seed(0)
    ours = [float(seen.double().std()) for seen in many(Coarse(least=0.2), image, 400)]
    theirs = []
    for _ in range(400):
        side = round(float(torch.empty(()).uniform_(0.2, 1)) * 40)
        theirs.append(
            float(v2.functional.resize(v2.functional.resize(image, side), 40).double().std())
        )
    assert np.quantile(ours, [0.1, 0.5, 0.9]) == pytest.approx(
        np.quantile(theirs, [0.1, 0.5, 0.9]), rel=0.06
    )
