import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from leansight.sdk.augmentation.catalogue import CHANGES, mirrored_labels
from leansight.sdk.augmentation.change import Change
from leansight.sdk.augmentation.geometric import Affine, Crop, Margins, Mirror, Perspective
from leansight.sdk.augmentation.photometric import (
    Blur,
    Coarse,
    Colour,
    Erase,
    Exposure,
    NarrowContrast,
    Noise,
    Shade,
    Stroke,
)

STRONG = (
    Mirror(),
    Affine(rotation_degrees=40, shift=0.3, zoom=0.5, shear_degrees=20),
    Affine(rotation_degrees=20, shift=0.1, zoom=0.2, distribution="normal", fill="black"),
    Margins(inward=0.45, outward=0.5),
    Crop(padding=0.2),
    Perspective(distortion=1),
    Colour(brightness=0.9, contrast=0.9, saturation=0.9, hue=0.5),
    Exposure(stops=3, gamma=2, cast=1),
    NarrowContrast(least=0),
    Shade(amount=1),
    Blur(sigma=0.25),
    Coarse(least=0.1),
    Stroke(),
    Noise(sigma=80),
    Erase(share=0.5),
)
KEEP_SIZE = [change for change in STRONG if not isinstance(change, Margins)]


def photo(height: int = 40, width: int = 40, seed: int = 0) -> Tensor:
    """Return smooth shades with some noise, (3, H, W) uint8."""
    noise = np.random.default_rng(seed).normal(0, 400, (3, height, width))
    smooth = ndimage.gaussian_filter(noise, (0, 3, 3), mode="nearest")
    return torch.from_numpy(np.clip(120 + smooth, 1, 255).astype(np.uint8))


def dot(row: int, column: int, side: int = 41) -> Tensor:
    """Return a black picture with one white square of 3×3 pixels around a place."""
    image = torch.zeros(3, side, side, dtype=torch.uint8)
    image[:, row - 1 : row + 2, column - 1 : column + 2] = 255
    return image


def place(image: Tensor) -> tuple[float, float]:
    """Return the row and column of the centre of the light."""
    return ndimage.center_of_mass(image[0].numpy().astype(float))


def many(change: Change, image: Tensor, count: int = 300) -> list[Tensor]:
    torch.manual_seed(0)
    return [change(image) for _ in range(count)]


# Every change


def test_every_change_is_tried_here() -> None:
    assert {type(change) for change in STRONG} == set(CHANGES.values())


@pytest.mark.parametrize("change", STRONG, ids=lambda change: change.kind)
def test_a_changed_image_is_an_image(change: Change) -> None:
    for height, width in ((40, 40), (64, 24), (16, 50), (8, 8)):
        image = photo(height, width)
        for changed in many(change, image, 25):
            assert changed.dtype == torch.uint8
            assert changed.ndim == 3
            assert changed.shape[0] == 3
            assert changed.numel() > 0
            if not isinstance(change, Margins):
                assert changed.shape == image.shape


@pytest.mark.parametrize("change", STRONG, ids=lambda change: change.kind)
def test_torchs_seed_repeats_a_change_and_another_makes_another(change: Change) -> None:
    image = photo()
    before = image.clone()
    first, again = ([c.numpy() for c in many(change, image, 5)] for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    torch.manual_seed(7)
    other = [change(image).numpy() for _ in range(5)]
    varies = not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert varies or isinstance(change, Mirror)
    assert torch.equal(image, before)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STRONG), st.integers(4, 30), st.integers(4, 30), st.integers(0, 2**31))
def test_no_size_and_no_seed_breaks_a_change(
    change: Change, height: int, width: int, seed: int
) -> None:
    torch.manual_seed(seed)
    changed = change(photo(height, width))
    assert changed.dtype == torch.uint8
    assert changed.numel() > 0


@pytest.mark.parametrize(
    "change",
    [
        Affine(),
        Margins(),
        Crop(),
        Perspective(),
        Colour(),
        Exposure(),
        NarrowContrast(least=1, darkest=100, brightest=100),
        Shade(),
        Blur(sigma=0),
        Coarse(least=1),
        Noise(sigma=0),
    ],
    ids=lambda change: change.kind,
)
def test_a_change_of_nothing_leaves_the_image(change: Change) -> None:
    image = photo()
    if isinstance(change, NarrowContrast):
        image = (image.float() - image.float().mean() + 100).round().clamp(0, 255).to(torch.uint8)
    torch.manual_seed(0)
    assert (change(image).int() - image.int()).abs().max() <= 1


# Mirror


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20))
def test_a_mirror_is_opencvs_flip(height: int, width: int) -> None:
    image = photo(height, width)
    expected = cv2.flip(image.permute(1, 2, 0).numpy(), 1).reshape(height, width, 3)
    assert np.array_equal(Mirror()(image).permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize(
    ("mirror", "expected"),
    [
        (Mirror(), [0, 1, 2, 3]),
        (Mirror(labels=("stop",)), [-1, -1, 2, -1]),
        (Mirror(swapped=(("left", "right"),)), [1, 0, -1, -1]),
        (Mirror(labels=("stop", "yield"), swapped=(("right", "left"),)), [1, 0, 2, 3]),
    ],
)
def test_what_a_class_is_in_the_mirror(mirror: Mirror, expected: list[int]) -> None:
    labels = ["left", "right", "stop", "yield"]
    assert mirrored_labels([Noise(), mirror, Blur()], labels) == expected


def test_without_a_mirror_every_class_stays() -> None:
    assert mirrored_labels([Noise()], ["a", "b"]) == [0, 1]


def test_what_would_become_a_class_that_is_not_there_is_not_mirrored() -> None:
    mirror = Mirror(labels=("stop", "halt"), swapped=(("left", "right"),))
    assert mirrored_labels([mirror], ["left", "stop"]) == [-1, 1]


def test_the_mirror_of_the_mirror_is_the_class_itself() -> None:
    mirror = Mirror(labels=("c",), swapped=(("a", "b"), ("d", "e")))
    become = mirrored_labels([mirror], list("abcdef"))
    assert [become[b] for b in become if b >= 0] == [0, 1, 2, 3, 4]


# Affine: what happens to a dot


def test_a_shift_moves_by_up_to_its_share_of_each_side() -> None:
    places = np.array([place(c) for c in many(Affine(shift=0.2, fill="black"), dot(20, 20))])
    moved = places - 20
    assert np.abs(moved).max() <= 0.2 * 41 + 0.01
    assert (moved.min(0) < -6).all()
    assert (moved.max(0) > 6).all()
    assert abs(np.corrcoef(moved.T)[0, 1]) < 0.2  # the two sides move on their own


def test_a_zoom_moves_a_dot_away_from_or_towards_the_middle() -> None:
    places = np.array([place(c) for c in many(Affine(zoom=0.3), dot(20, 30))])
    assert np.abs(places[:, 0] - 20).max() < 0.05
    factors = (places[:, 1] - 20) / 10
    assert 0.69 < factors.min() < 0.75
    assert 1.25 < factors.max() < 1.31


def test_a_zoom_above_one_shows_things_larger() -> None:
    big = torch.zeros(3, 41, 41, dtype=torch.uint8)
    big[:, 12:29, 12:29] = 255
    pairs = zip(
        many(Affine(zoom=0.4), big, 30), many(Affine(zoom=0.4), dot(20, 30), 30), strict=True
    )
    for square, beside in pairs:  # of the same amounts
        factor = (place(beside)[1] - 20) / 10
        assert float(square[0].sum()) / (255 * 17**2) == pytest.approx(factor**2, rel=0.05)


def test_a_rotation_turns_around_the_middle_by_up_to_its_degrees() -> None:
    places = np.array([place(c) for c in many(Affine(rotation_degrees=30), dot(20, 32))]) - 20
    degrees = np.degrees(np.arctan2(places[:, 0], places[:, 1]))
    assert np.hypot(*places.T) == pytest.approx(12, abs=0.3)
    assert np.abs(degrees).max() <= 30.5
    assert degrees.min() < -25
    assert degrees.max() > 25


def test_a_shear_moves_rows_sideways() -> None:
    places = np.array([place(c) for c in many(Affine(shear_degrees=20), dot(10, 20))]) - 20
    # Sheared by s: a dot 10 rows above the middle moves by 10 tan s.
    assert np.abs(places[:, 0] + 10).max() < 0.6
    sideways = np.abs(places[:, 1]).max()
    assert 0.9 * 10 * math.tan(math.radians(20)) < sideways < 10.6 * math.tan(math.radians(20))


def test_normal_amounts_have_their_deviation() -> None:
    change = Affine(shift=0.08, distribution="normal", fill="black")
    rows = np.array([place(c)[0] for c in many(change, dot(50, 50, 101), 800)]) - 50
    assert abs(rows.mean()) < 1
    assert rows.std() == pytest.approx(0.08 * 101, rel=0.1)
    assert np.abs(rows).max() > 0.08 * 101 * 2  # beyond any limit of that size
    assert (np.abs(rows) < rows.std()).mean() == pytest.approx(0.683, abs=0.05)


def test_uniform_amounts_fill_their_range_evenly() -> None:
    rows = np.array([place(c)[0] for c in many(Affine(shift=0.2), dot(50, 50, 101), 800)]) - 50
    shares, _ = np.histogram(rows, bins=4, range=(-20.2, 20.2))
    assert shares / 800 == pytest.approx([0.25] * 4, abs=0.06)


def test_what_comes_in_is_the_edge_or_black() -> None:
    white = torch.full((3, 30, 30), 255, dtype=torch.uint8)
    moves = {"rotation_degrees": 30.0, "shift": 0.2, "zoom": 0.2}
    for changed in many(Affine(**moves), white, 100):
        assert changed.min() == 255
    assert min(int(c.min()) for c in many(Affine(**moves, fill="black"), white, 20)) == 0


# Other geometry


def test_margins_cut_or_add_at_each_side_on_its_own() -> None:
    image = photo(60, 40)
    sizes = np.array([c.shape[1:] for c in many(Margins(inward=0.2, outward=0.1), image)])
    assert sizes.min(0).tolist() == pytest.approx([60 * 0.6, 40 * 0.6], abs=4)
    assert sizes.max(0).tolist() == pytest.approx([60 * 1.2, 40 * 1.2], abs=4)
    assert abs(np.corrcoef(sizes.T)[0, 1]) < 0.2


def test_margins_inward_are_parts_of_the_image() -> None:
    image = torch.arange(30 * 30, dtype=torch.int32).reshape(30, 30)
    coded = torch.stack([image % 256, image // 256, image * 0]).to(torch.uint8)
    for changed in many(Margins(inward=0.3), coded, 50):
        values = changed[0].int() + 256 * changed[1].int()
        top, left = divmod(int(values[0, 0]), 30)
        height, width = values.shape
        assert torch.equal(values, image[top : top + height, left : left + width])
        assert max(top, left, 30 - top - height, 30 - left - width) <= 9


def test_margins_outward_repeat_the_edge() -> None:
    image = photo(20, 20)
    for changed in many(Margins(outward=0.4), image, 20):
        assert set(changed[0].unique().tolist()) == set(image[0].unique().tolist())
        assert torch.equal(changed[:, 0, 0], image[:, 0, 0])
        assert torch.equal(changed[:, -1, -1], image[:, -1, -1])


def test_a_crop_moves_the_picture_over_black() -> None:
    image = torch.full((3, 40, 20), 200, dtype=torch.uint8)
    seen = {
        (int((c[0] > 0).any(1).sum()), int((c[0] > 0).any(0).sum()))
        for c in many(Crop(padding=0.1), image)
    }
    assert {rows for rows, _ in seen} == set(range(36, 41))
    assert {columns for _, columns in seen} == {18, 19, 20}


@pytest.mark.parametrize("distortion", [0.3, 0.7, 1.0])
def test_another_point_of_view_shows_no_black(distortion: float) -> None:
    white = torch.full((3, 40, 40), 255, dtype=torch.uint8)
    for changed in many(Perspective(distortion=distortion), white, 200):
        assert changed.min() == 255


def test_another_point_of_view_moves_corners_as_far_as_it_says() -> None:
    places = np.array([place(c) for c in many(Perspective(distortion=0.4), dot(2, 2))])
    moved = places - 2
    assert 6 < moved.max() <= 0.4 * 41 / 2 + 0.5
    assert (moved > -0.5).all()  # inwards


# Light and colours


def hsv(image: Tensor) -> np.ndarray:
    return cv2.cvtColor(image.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2HSV_FULL).astype(float)


def flat(red: int, green: int, blue: int) -> Tensor:
    return torch.tensor([red, green, blue], dtype=torch.uint8)[:, None, None].expand(3, 8, 8)


@pytest.mark.parametrize(
    ("change", "measure", "low", "high"),
    [
        # Of the colour (100, 50, 50): its light; its saturation; its hue, 0 of 256.
        (Colour(brightness=0.2), lambda c: float(c[0, 0, 0]) / 100, 0.8, 1.2),
        (Colour(saturation=0.4), lambda c: float(c[0, 0, 0] - c[1, 0, 0]) / 50, 0.6, 1.4),
        (Colour(hue=0.1), lambda c: (hsv(c)[0, 0, 0] / 256 + 0.5) % 1 - 0.5, -0.1, 0.1),
    ],
    ids=["brightness", "saturation", "hue"],
)
def test_colours_change_within_their_limits(
    change: Change, measure: Callable[[Tensor], float], low: float, high: float
) -> None:
    values = np.array([measure(c) for c in many(change, flat(100, 50, 50), 400)])
    reach = high - low
    assert low - 0.05 * reach <= values.min() < low + 0.1 * reach
    assert high - 0.1 * reach < values.max() <= high + 0.05 * reach


def test_contrast_is_around_the_mean() -> None:
    image = torch.full((3, 8, 8), 80, dtype=torch.uint8)
    image[..., ::2] = 120
    for changed in many(Colour(contrast=0.3), image, 200):
        assert float(changed.float().mean()) == pytest.approx(100, abs=1.5)
        assert 0.65 * 40 <= int(changed.max()) - int(changed.min()) <= 1.35 * 40


def test_an_exposure_of_a_stop_doubles_or_halves_the_light() -> None:
    values = [int(c[0, 0, 0]) for c in many(Exposure(stops=1), flat(60, 60, 60), 600)]
    assert 30 <= min(values) <= 31
    assert 119 <= max(values) <= 120
    # Stops are even, so a half of them are below the middle.
    assert np.median(values) == pytest.approx(60, abs=4)


def test_over_exposed_light_is_clipped_at_white() -> None:
    values = torch.stack(many(Exposure(stops=2), flat(200, 30, 120), 200))
    assert values[:, 0].max() == 255
    assert values[:, 1].max() <= 120
    assert (values[:, 0] == 255).float().mean() > 0.3


@pytest.mark.parametrize("power", [-1, 0.5, 1])
def test_gamma_bends_the_curve_by_powers_of_two(
    power: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "leansight.sdk.augmentation.photometric.uniform", lambda limit: power * limit
    )
    seen = Exposure(gamma=1)(flat(0, 64, 255))[:, 0, 0].tolist()
    assert seen == [0, round(255 * (64 / 255) ** (2**power)), 255]


def test_a_cast_gives_each_colour_a_gain_of_its_own() -> None:
    stops = np.log2(
        np.array([c[:, 0, 0].numpy() / 80 for c in many(Exposure(cast=0.2), flat(80, 80, 80), 800)])
    )
    assert stops.std(0) == pytest.approx([0.2] * 3, rel=0.12)
    assert np.abs(np.corrcoef(stops.T) - np.eye(3)).max() < 0.15


def test_narrowed_contrast_keeps_the_pattern_in_fewer_levels() -> None:
    image = (photo(seed=3).float() / 4 + 90).to(torch.uint8)  # far from black and white
    pixels = image.float()
    change = NarrowContrast(least=0.2, darkest=60, brightest=180)
    shares, means = [], []
    for changed in many(change, image):
        seen = changed.float()
        shares.append(float(seen.std() / pixels.std()))
        means.append(float(seen.mean()))
        assert np.corrcoef(seen.flatten(), pixels.flatten())[0, 1] > 0.97
    assert 0.18 < min(shares) < 0.25
    assert 0.95 < max(shares) <= 1.02
    assert 59 < min(means) < 65
    assert 175 < max(means) < 181


def test_shade_leaves_the_middle_and_changes_the_sides() -> None:
    grey = torch.full((3, 41, 41), 100, dtype=torch.uint8)
    for changed in many(Shade(amount=0.4), grey, 100):
        values = changed[0].float()
        assert values[20, 20] == 100
        assert (values[:, 0] + values[:, -1]).mean() == pytest.approx(200, abs=1)
        assert (values[20] - 100).abs().max() <= 40.5
    assert max(float(c[0, 20, 0]) for c in many(Shade(amount=0.4), grey)) > 135


# Detail


def test_blur_is_scipys_gaussian(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leansight.sdk.augmentation.photometric.between", lambda _low, high: high)
    image = photo()
    seen = Blur(sigma=0.05)(image).numpy().astype(float)  # two of 40 pixels
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
    monkeypatch.setattr("leansight.sdk.augmentation.photometric.between", lambda low, _high: low)
    stripes = torch.zeros(3, 40, 40, dtype=torch.uint8)
    stripes[..., ::2] = 255  # finer than 10 pixels can show
    seen = Coarse(least=0.25)(stripes)
    assert (seen.int() - 127).abs().max() <= 12
    halves = torch.zeros(3, 40, 40, dtype=torch.uint8)
    halves[..., 20:] = 255
    seen = Coarse(least=0.25)(halves)
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


def test_something_in_front_is_a_rectangle_of_one_colour() -> None:
    image = torch.zeros(3, 50, 50, dtype=torch.uint8)
    shares = []
    for changed in many(Erase(share=0.2), image, 200):
        covered = (changed > 0).any(0)
        rows, columns = covered.any(1), covered.any(0)
        assert covered.sum() == rows.sum() * columns.sum()
        assert len(changed[:, covered].unique(dim=1).T) <= 1
        shares.append(float(covered.float().mean()))
    assert max(shares) <= 0.22
    assert max(shares) > 0.17
    assert min(shares) > 0.01


# Settings


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Blur(probability=1.1), "blur: probability must be from 0 to 1, not 1.1"),
        (lambda: Blur(probability=-0.1), "blur: probability must be 0 or more, not -0.1"),
        (lambda: Blur(sigma=math.nan), "blur: sigma must be 0 or more, not nan"),
        (lambda: Blur(sigma=2), "blur: sigma must be at most 0.25, not 2"),
        (lambda: Noise(sigma=math.inf), "noise: sigma must be 0 or more, not inf"),
        (lambda: Affine(rotation_degrees=-1), "affine: rotation_degrees must be 0 or more, not -1"),
        (lambda: Affine(zoom=1), "affine: zoom must be at most 0.9, not 1"),
        (lambda: Affine(shift=1.5), "affine: shift must be at most 1, not 1.5"),
        (
            lambda: Affine(distribution="flat"),  # type: ignore[arg-type]
            "affine: distribution must be one of uniform, normal, not 'flat'",
        ),
        (
            lambda: Affine(fill="white"),  # type: ignore[arg-type]
            "affine: fill must be one of edge, black, not 'white'",
        ),
        (lambda: Margins(inward=0.5), "margins: inward must be at most 0.45, not 0.5"),
        (lambda: Perspective(distortion=2), "perspective: distortion must be at most 1, not 2"),
        (lambda: Colour(hue=0.6), "colour: hue must be at most 0.5, not 0.6"),
        (lambda: NarrowContrast(least=1.1), "narrow-contrast: least must be at most 1, not 1.1"),
        (
            lambda: NarrowContrast(darkest=200, brightest=100),
            "narrow-contrast: darkest must be at most 100, not 200",
        ),
        (
            lambda: NarrowContrast(brightest=256),
            "narrow-contrast: brightest must be at most 255, not 256",
        ),
        (lambda: Coarse(least=2), "coarse: least must be at most 1, not 2"),
        (lambda: Erase(share=0.6), "erase: share must be at most 0.5, not 0.6"),
        (
            lambda: Mirror(swapped=(("a",),)),  # type: ignore[arg-type]
            "mirror: swapped holds pairs of class names",
        ),
    ],
)
def test_amounts_out_of_range_are_refused(make: Callable[[], Change], message: str) -> None:
    with pytest.raises(ValueError, match=f"^augmentation {message}$"):
        make()
