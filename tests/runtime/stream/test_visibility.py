"""Pictures that show nothing are called so, by their fault; faint ones are not."""

from time import perf_counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leansight.runtime.preprocessing import Image
from leansight.runtime.stream.visibility import REASONS, Fault, find_fault


def picture(level: float, noise: float = 0, *, side: int = 240, seed: int = 0) -> Image:
    """Draw a picture of one level, with independent noise of this standard deviation."""
    values = np.random.default_rng(seed).normal(level, noise, (side, side * 4 // 3, 3))
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def sign(ground: float, contrast: float, noise: float = 0, *, side: int = 240) -> Image:
    """Draw a picture with a disc in its middle that is so many levels brighter."""
    y, x = np.mgrid[-1 : 1 : 1j * side, -1 : 1 : 1j * side]
    disc = np.where(x**2 + y**2 < 0.4, ground + contrast, ground)
    values = disc[..., None] + np.random.default_rng(1).normal(0, noise, (side, side, 3))
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("image", "fault"),
    [
        (picture(0), "covered"),
        (picture(6, 5), "covered"),
        (picture(10, 20), "covered"),
        (picture(255), "blinded"),
        (picture(253, 4), "blinded"),
        (picture(130), "flat"),
        (picture(130, 3), "flat"),
        (picture(128, 60), "noise"),
        (np.random.default_rng(3).integers(0, 256, (480, 640, 3), np.uint8), "noise"),
    ],
)
def test_a_picture_that_shows_nothing_is_called_by_its_fault(image: Image, fault: Fault) -> None:
    assert find_fault(image) == fault
    assert REASONS[fault].startswith("the picture ")


@pytest.mark.parametrize("ground", [8, 40, 120, 230])
@pytest.mark.parametrize("noise", [0, 5])
@pytest.mark.parametrize("side", [16, 48, 240, 720])
def test_a_faint_sign_is_something_at_every_level_and_size(
    ground: float, noise: float, side: int
) -> None:
    assert find_fault(sign(ground, 8, noise, side=side)) is None


@pytest.mark.parametrize("colour", range(3))
def test_contrast_in_one_colour_is_something_to_see(colour: int) -> None:
    image = picture(100)
    image[:, :160, colour] += 20

    assert find_fault(image) is None


@pytest.mark.parametrize("period", [4, 8])
@pytest.mark.parametrize("is_chequered", [False, True])
def test_a_fine_regular_texture_is_something_to_see(period: int, *, is_chequered: bool) -> None:
    y, x = np.mgrid[:240, :320] * 2 // period
    bright = (y + x * is_chequered) % 2
    image = (100 + 40 * bright[..., None].repeat(3, axis=2)).astype(np.uint8)

    assert find_fault(image) is None


def test_a_bright_picture_with_a_corner_to_see_is_not_blinded() -> None:
    image = picture(255)
    image[:60, :80] = 90

    assert find_fault(image) is None


def test_a_sign_is_seen_through_noise_that_is_stronger_than_it() -> None:
    assert find_fault(sign(120, 40, noise=45)) is None


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 255))
def test_any_size_is_judged_and_one_level_is_never_something(
    height: int, width: int, level: int
) -> None:
    assert find_fault(np.full((height, width, 3), level, np.uint8)) is not None


@given(st.integers(0, 3))
def test_a_turned_or_mirrored_picture_is_judged_alike(turns: int) -> None:
    shown, blank = sign(60, 6, 3), picture(60, 3)

    assert find_fault(np.rot90(shown, turns)) is None
    assert find_fault(np.rot90(blank[:, ::-1], turns)) == find_fault(blank) == "flat"


def test_a_picture_is_not_changed_and_a_view_is_judged_like_its_copy() -> None:
    image = sign(90, 12, 4)
    before, view = image.copy(), image[10:-10, 10:-10]

    assert find_fault(view) == find_fault(view.copy())
    np.testing.assert_array_equal(image, before)


def test_a_frame_takes_a_small_part_of_its_time() -> None:
    """A frame of 30 a second is there for 33 ms; the best of many runs is no busy machine's."""
    frame = picture(128, 60, side=480)
    times = []
    for _ in range(20):
        begin = perf_counter()
        find_fault(frame)
        times.append(perf_counter() - begin)

    assert min(times) < 0.003
