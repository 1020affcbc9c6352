from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import Limit, after, many, photo
from torch import Tensor

from leansight.sdk.augmentation.change import Change
from leansight.sdk.augmentation.photometric import Colour, Exposure, NarrowContrast, Shade, Tone


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
        Limit, "uniform", lambda _, low, high: (low + high + power * (high - low)) / 2
    )
    seen = after(Exposure(gamma=1), flat(0, 64, 255), Limit())[:, 0, 0].tolist()
    assert seen == [0, round(255 * (64 / 255) ** (2**power)), 255]


def test_a_cast_gives_each_colour_a_gain_of_its_own() -> None:
    stops = np.log2(
        np.array([c[:, 0, 0].numpy() / 80 for c in many(Exposure(cast=0.2), flat(80, 80, 80), 800)])
    )
    assert stops.std(0) == pytest.approx([0.2] * 3, rel=0.12)
    assert np.abs(np.corrcoef(stops.T) - np.eye(3)).max() < 0.15


RAMP = torch.arange(256, dtype=torch.uint8).expand(3, 4, 256)


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 3), st.integers(0, 2**31))
def test_a_tone_curve_rises_from_black_to_white(stops: float, seed: int) -> None:
    (seen,) = many(Tone(stops=stops), RAMP, 1, seed)
    curve = seen[0, 0].int()
    assert (seen == seen[0, 0]).all()
    assert (curve[0], curve[-1]) == (0, 255)
    steps = curve.diff()
    assert steps.min() >= 0
    # One step of 2^stops beside two of 2^-stops has the most contrast.
    most = 3 * 2**stops / (2**stops + 2 * 2**-stops)
    assert steps.max() <= most + 1


def test_a_tone_curve_is_the_polynomial_of_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Limit, "uniform", lambda _, _low, high, _size: high * np.array([1.0, 0.0, -1.0])
    )
    seen = after(Tone(stops=1), RAMP, Limit())[0, 0]
    # Steps 2, 1, 1/2 of 3.5: the control points are 0, 4/7, 6/7, 1. At half of the levels the
    # polynomial is (0 + 3 * 4/7 + 3 * 6/7 + 1) / 8 = 37/56; at level 51 (a fifth) it is
    # (3 * 16 * 4/7 + 3 * 4 * 6/7 + 1) / 125 = 271/875.
    assert int(seen[51]) == round(255 * 271 / 875)
    assert (float(seen[127]) + float(seen[128])) / 2 == pytest.approx(255 * 37 / 56, abs=0.5)


def test_tone_curves_are_more_than_gamma() -> None:
    """Some of them lift the shadows and lower the lights, or the other way."""
    curves = torch.stack([c[0, 0] for c in many(Tone(stops=1), RAMP, 200)]).int()
    shadows, lights = curves[:, 64] > 66, curves[:, 192] > 194
    for lifted in (False, True):
        assert ((shadows == lifted) & (lights != lifted)).sum() > 10


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
