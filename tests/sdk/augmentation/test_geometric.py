import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import dot, many, photo, place

from leansight.sdk.augmentation.augment import mirrored_labels
from leansight.sdk.augmentation.geometric import Affine, Crop, Elastic, Margins, Mirror, Perspective
from leansight.sdk.augmentation.sharpness import Blur, Noise


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20))
def test_a_mirror_is_opencvs_flip(height: int, width: int) -> None:
    image = photo(height, width)
    expected = cv2.flip(image.permute(1, 2, 0).numpy(), 1).reshape(height, width, 3)
    (mirrored,) = many(Mirror(), image, 1)
    assert np.array_equal(mirrored.permute(1, 2, 0).numpy(), expected)


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


def test_an_elastic_change_bends_lines_smoothly_by_its_sigma() -> None:
    points = [(row, column) for row in (10, 50, 90) for column in (10, 50, 90)]
    moved = []
    for row, column in points:
        seen = many(Elastic(sigma=0.02, points=3), dot(row, column, 101), 100)
        moved.append(np.array([place(c) for c in seen]) - (row, column))
    moves = np.stack(moved)  # (9, 100, 2), of the same draws
    assert moves.std() == pytest.approx(0.02 * 101, rel=0.35)  # less between the grid's points
    assert np.abs(moves.mean((0, 1))).max() < 0.5
    corner, middle = moves[0, :, 0], moves[4, :, 0]
    assert abs(np.corrcoef(corner, middle)[0, 1]) < 0.5  # not one shift of everything
