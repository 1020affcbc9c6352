import numpy as np
import pytest

from leansight.runtime.stream.capture.frame_slot import Frame
from leansight.runtime.stream.frozen import FrozenPicture


def frame(seconds: float, value: int = 0, height: int = 40) -> Frame:
    image = np.zeros((height, 30, 3), np.uint8)
    image[17, 3, 1] = value
    return Frame(image=image, number=0, time_s=0, monotonic_s=seconds)


def test_equal_frames_add_up() -> None:
    frozen = FrozenPicture()
    assert [frozen.equal_s(frame(seconds)) for seconds in (3, 4, 9)] == [0, 1, 6]


@pytest.mark.parametrize("other", [frame(9, value=1), frame(9, height=39)])
def test_one_other_pixel_or_size_begins_anew(other: Frame) -> None:
    frozen = FrozenPicture()
    frozen.equal_s(frame(3))
    assert frozen.equal_s(other) == 0
    assert frozen.equal_s(frame(10)) == 0


def test_what_is_drawn_on_a_frame_does_not_count() -> None:
    frozen, first = FrozenPicture(), frame(3)
    frozen.equal_s(first)
    first.image[:] = 200
    assert frozen.equal_s(frame(5)) == 2
