import numpy as np
import pytest

from leansight.runtime.errors import DataError
from leansight.runtime.stream.sources.source import FrameFormat

PIXEL = np.array([[[1, 2, 3]]], np.uint8)


def test_colours_come_in_the_order_that_the_source_declares() -> None:
    assert FrameFormat().to_bgr(PIXEL).tolist() == [[[1, 2, 3]]]
    assert FrameFormat(colour_order="RGB").to_bgr(PIXEL).tolist() == [[[3, 2, 1]]]
    assert FrameFormat(colour_order="GRAY").to_bgr(PIXEL[..., 0]).tolist() == [[[1, 1, 1]]]


def test_a_frame_of_the_declared_order_is_not_copied() -> None:
    assert FrameFormat(size=(1, 1), stride_bytes=3).to_bgr(PIXEL) is PIXEL


@pytest.mark.parametrize(
    ("declared", "frame", "message"),
    [
        (FrameFormat(), np.zeros((2, 4), np.uint8), r"gave \(2, 4\) uint8, and not \(H, W, 3\)"),
        (FrameFormat(), np.zeros((2, 4, 4), np.uint8), r"gave \(2, 4, 4\) uint8, and not"),
        (FrameFormat(), np.zeros((2, 4, 3), np.float32), r"gave \(2, 4, 3\) float32, and not"),
        (FrameFormat(), np.zeros((0, 4, 3), np.uint8), r"gave \(0, 4, 3\) uint8, and not"),
        (FrameFormat(), "no array", "gave str, and not"),
        (FrameFormat(colour_order="GRAY"), PIXEL, r"gave \(1, 1, 3\) uint8, and not \(H, W\)"),
        (
            FrameFormat(size=(4, 2)),
            np.zeros((4, 2, 3), np.uint8),
            r"gave \(4, 2, 3\) uint8, and not \(2, 4, 3\) uint8",
        ),
        (
            FrameFormat(size=(4, 2), stride_bytes=12),
            np.zeros((2, 8, 3), np.uint8)[:, :4],
            r"gave \(2, 4, 3\) uint8 with rows of 24 bytes, and not .* with rows of 12 bytes",
        ),
    ],
)
def test_what_is_not_as_declared_is_refused(
    declared: FrameFormat, frame: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        declared.to_bgr(frame)
