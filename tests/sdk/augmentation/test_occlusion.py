import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import many, photo

from leansight.sdk.augmentation.occlusion import Erase, Sticker


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


@settings(max_examples=60, deadline=None)
@given(st.floats(0.01, 0.5), st.integers(16, 60), st.integers(16, 60), st.integers(0, 2**31))
def test_a_sticker_is_of_one_colour_and_of_up_to_its_share(
    share: float, height: int, width: int, seed: int
) -> None:
    image = photo(height, width)
    (changed,) = many(Sticker(share=share, dirt=0), image, 1, seed)
    covered = (changed != image).any(0)
    assert covered.double().mean() <= share
    assert len(changed[:, covered].unique(dim=1).T) <= 1
    assert torch.equal(changed[:, ~covered], image[:, ~covered])


def test_stickers_are_anywhere_of_every_size_and_of_no_straight_outline() -> None:
    image = torch.zeros(3, 50, 50, dtype=torch.uint8)
    covered = [(c > 0).any(0) for c in many(Sticker(share=0.2, dirt=0), image)]
    shares = np.array([float(c.double().mean()) for c in covered])
    assert 0.019 < shares.min() < 0.04
    assert 0.18 < shares.max() <= 0.2
    assert torch.stack(covered).float().mean(0).min() > 0.02
    boxes = [int(c.any(0).sum() * c.any(1).sum()) for c in covered]
    assert np.median([float(c.sum()) / box for c, box in zip(covered, boxes, strict=True)]) < 0.9


def test_dirt_darkens_without_a_sharp_border_and_is_seen_through() -> None:
    change = Sticker(share=0.4, dirt=1)
    dark, bright = (torch.full((3, 60, 60), level, dtype=torch.uint8) for level in (200, 240))
    for on_dark, on_bright in zip(many(change, dark), many(change, bright), strict=True):
        opacity = 1 - (on_bright.float() - on_dark) / 40
        assert opacity.max() <= 0.9 + 1 / 40
        assert (opacity > 1 / 40).any(0).float().mean() <= 0.4
        assert opacity.diff(dim=1).abs().max() < 0.3
        assert on_bright.max() <= 240


def test_so_many_of_the_stickers_are_dirt_as_it_says() -> None:
    white = torch.full((3, 30, 30), 255, dtype=torch.uint8)
    hard = [len(c.unique()) <= 4 for c in many(Sticker(share=0.3, dirt=0.25), white, 400)]
    assert np.mean(hard) == pytest.approx(0.75, abs=0.06)
