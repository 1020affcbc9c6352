import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import STRONG, many, photo

from leansight.sdk.augmentation.catalogue import CHANGES
from leansight.sdk.augmentation.change import Change
from leansight.sdk.augmentation.geometric import Affine, Crop, Elastic, Margins, Mirror, Perspective
from leansight.sdk.augmentation.occlusion import Erase, Sticker
from leansight.sdk.augmentation.photometric import Colour, Exposure, NarrowContrast, Shade, Tone
from leansight.sdk.augmentation.sharpness import Blur, Coarse, Compression, Noise


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
def test_a_seed_repeats_a_change_and_another_makes_another(change: Change) -> None:
    image = photo()
    before = image.clone()
    first, again, other = ([c.numpy() for c in many(change, image, 5, seed)] for seed in (0, 0, 7))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    varies = not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert varies or isinstance(change, Mirror)
    assert torch.equal(image, before)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STRONG), st.integers(4, 30), st.integers(4, 30), st.integers(0, 2**31))
def test_no_size_and_no_seed_breaks_a_change(
    change: Change, height: int, width: int, seed: int
) -> None:
    (seen,) = many(change, photo(height, width), 1, seed)
    assert seen.dtype == torch.uint8
    assert seen.numel() > 0


@pytest.mark.parametrize(
    "change",
    [
        Affine(),
        Margins(),
        Crop(),
        Perspective(),
        Elastic(),
        Colour(),
        Exposure(),
        Tone(),
        NarrowContrast(least=1, darkest=100, brightest=100),
        Shade(),
        Blur(sigma=0),
        Coarse(least=1),
        Noise(sigma=0),
        Sticker(share=0),
    ],
    ids=lambda change: change.kind,
)
def test_a_change_of_nothing_leaves_the_image(change: Change) -> None:
    image = photo()
    if isinstance(change, NarrowContrast):
        image = (image.float() - image.float().mean() + 100).round().clamp(0, 255).to(torch.uint8)
    (seen,) = many(change, image, 1)
    assert (seen.int() - image.int()).abs().max() <= 1


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
        (lambda: Elastic(sigma=0.3), "elastic: sigma must be at most 0.25, not 0.3"),
        (lambda: Elastic(points=1), "elastic: points must be 2 or more, not 1"),
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
        (lambda: Compression(least=96), "compression: least must be at most 95, not 96"),
        (lambda: Sticker(share=0.6), "sticker: share must be at most 0.5, not 0.6"),
        (lambda: Sticker(dirt=1.1), "sticker: dirt must be at most 1, not 1.1"),
        (lambda: Tone(stops=math.inf), "tone: stops must be 0 or more, not inf"),
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
