"""Y4M, held against BT.601 written out by hand."""

import io

import numpy as np
import pytest

from leansight.runtime.errors import DamagedFrameError, DataError
from leansight.runtime.stream.sources.y4m import Y4mStream


def y4m(header: str, *frames: bytes) -> Y4mStream:
    data = f"YUV4MPEG2 {header}\n".encode() + b"".join(b"FRAME\n" + frame for frame in frames)
    return Y4mStream(io.BytesIO(data))


def plane(value: int, count: int) -> bytes:
    return bytes([value]) * count


def bgr_of(luma: float, blue: float, red: float) -> list[float]:
    """Return the colour of limited-range BT.601 values, from ITU-R BT.601-7, 2.5."""
    y, b, r = (luma - 16) / 219, (blue - 128) / 224, (red - 128) / 224
    colours = y + 1.772 * b, y - 0.344136 * b - 0.714136 * r, y + 1.402 * r
    return [min(max(255 * colour, 0), 255) for colour in colours]


@pytest.mark.parametrize(
    "values", [(16, 128, 128), (235, 128, 128), (81, 90, 240), (145, 54, 34), (41, 240, 110)]
)
def test_colours_are_those_of_bt_601(values: tuple[int, int, int]) -> None:
    luma, blue, red = values
    frame = plane(luma, 4 * 2) + plane(blue, 2) + plane(red, 2)
    image = y4m("W4 H2 F25:1 C420jpeg", frame).read()
    assert image is not None
    assert (image.shape, image.dtype) == ((2, 4, 3), np.uint8)
    assert np.abs(image - np.array(bgr_of(*values))).max() <= 2


def test_full_range_is_told_by_the_header() -> None:
    for value in (0, 60, 128, 255):
        frame = plane(value, 16) + plane(128, 8)
        image = y4m("W4 H4 C420jpeg XYSCSS=420JPEG XCOLORRANGE=FULL", frame).read()
        assert image is not None
        assert np.abs(image.astype(int) - value).max() <= 1


def test_the_planes_stand_where_they_are_shown() -> None:
    """Luma of the four corners of 6x4 pixels, and a quarter of the picture in another colour."""
    luma = np.full((4, 6), 100, np.uint8)
    luma[0, 0], luma[0, 5], luma[3, 0], luma[3, 5] = 16, 235, 180, 60
    red = np.full((2, 3), 128, np.uint8)
    red[1, 2] = 240
    frame = luma.tobytes() + plane(128, 6) + red.tobytes()
    image = y4m("W6 H4", frame).read()
    assert image is not None
    greens = image[..., 1].astype(int)
    assert [greens[0, 0], greens[0, 5], greens[3, 0]] == pytest.approx([0, 255, 191], abs=2)
    assert image[2, 4, 2] > image[2, 4, 0] + 100
    assert image[1, 4, 2] == pytest.approx(image[1, 4, 0], abs=2)


@pytest.mark.parametrize(("width", "height"), [(5, 3), (4, 3), (5, 2), (1, 1)])
def test_sizes_may_be_odd(width: int, height: int) -> None:
    generator = np.random.default_rng(1)
    luma = generator.integers(16, 236, (height, width)).astype(np.uint8)
    chroma = (width + 1) // 2 * ((height + 1) // 2)
    image = y4m(f"W{width} H{height}", luma.tobytes() + plane(128, 2 * chroma)).read()
    assert image is not None
    gray = (luma.astype(float) - 16) * 255 / 219
    assert np.abs(image - gray[..., None]).max() <= 2


def test_gray_has_one_plane() -> None:
    image = y4m("W2 H2 Cmono", bytes([16, 235, 16, 235])).read()
    assert image is not None
    assert image[..., 0].tolist() == [[0, 255], [0, 255]]


def test_frames_come_one_after_the_other_with_their_positions() -> None:
    frames = [plane(value, 4) + plane(128, 2) for value in (16, 235)]
    stream = y4m("W2 H2 F30000:1001", *frames)
    seen = []
    while (image := stream.read()) is not None:
        seen.append((int(image.mean()), stream.position_s))
    assert seen == [(0, 0), (255, pytest.approx(1001 / 30000))]


def test_without_a_rate_there_is_no_position() -> None:
    stream = y4m("W2 H2", plane(16, 6))
    assert stream.read() is not None
    assert stream.position_s is None


def test_a_frame_may_have_parameters() -> None:
    stream = Y4mStream(io.BytesIO(b"YUV4MPEG2 W2 H2\nFRAME Ip XA=B\n" + plane(16, 6)))
    assert stream.read() is not None
    assert stream.read() is None


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("W2 H2 C422", "Y4M of 2x2 pixels with the layout 422 is not read: give 4:2:0"),
        ("W2 H2 C420p10", "with the layout 420p10 is not read: .*-pix_fmt yuv420p"),
        ("W0 H2", "Y4M of 0x2 pixels"),
        ("W2", "the first line of Y4M is damaged: b'YUV4MPEG2 W2"),
        ("W2 Hx", "the first line of Y4M is damaged"),
        ("W2 H2 F1:0", "the first line of Y4M is damaged"),
    ],
)
def test_what_is_not_read_is_said(header: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        y4m(header)


def test_a_frame_without_its_end_is_damaged() -> None:
    stream = y4m("W2 H2", plane(16, 6), plane(16, 5))
    assert stream.read() is not None
    with pytest.raises(DamagedFrameError, match="Y4M ends within a frame"):
        stream.read()
    assert stream.read() is None


def test_a_stream_that_has_lost_its_place_is_an_error() -> None:
    stream = Y4mStream(io.BytesIO(b"YUV4MPEG2 W2 H2\nFRAMX\n" + bytes(100)))
    with pytest.raises(DataError, match="something else where a frame should begin"):
        stream.read()
