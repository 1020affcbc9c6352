"""JPEGs in a stream of bytes, cut into pieces anywhere, damaged or with something else between."""

import io

import cv2
import numpy as np
import pytest
from streams import number_of, numbered

from leansight.runtime.errors import DamagedFrameError, SourceOptionError
from leansight.runtime.stream.sources import jpeg_stream
from leansight.runtime.stream.sources.jpeg_stream import JpegSplitter, JpegStream

PIECES = (1, 2, 3, 7, 100, 4096, 10**9)


def jpeg_of(number: int, *settings: int) -> bytes:
    return cv2.imencode(".jpg", numbered(number), settings)[1].tobytes()


def with_thumbnail(jpeg: bytes, thumbnail: bytes) -> bytes:
    """Return a JPEG with another one inside, as EXIF data has it: in an APP1 segment."""
    content = b"Exif\0\0" + thumbnail
    segment = b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content
    return jpeg[:2] + segment + jpeg[2:]


def split(data: bytes, piece: int) -> list[bytes]:
    splitter, found = JpegSplitter(), []
    for at in range(0, len(data), piece):
        splitter.feed(data[at : at + piece])
        while jpeg := splitter.next():
            found.append(jpeg)
    if rest := splitter.rest():
        found.append(rest)
    return found


@pytest.fixture
def jpegs() -> list[bytes]:
    noise = np.random.default_rng(1).integers(0, 256, (40, 56, 3)).astype(np.uint8)
    progressive = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    restarts = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1].tobytes()
    assert progressive.count(b"\xff\xda") > 1
    assert b"\xff\xd3" in restarts
    return [jpeg_of(1), with_thumbnail(jpeg_of(2), jpeg_of(3)), progressive, restarts, jpeg_of(4)]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize(
    "between", [b"", b"\0\0\0", b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n"]
)
def test_each_jpeg_is_found_however_the_bytes_come(
    jpegs: list[bytes], piece: int, between: bytes
) -> None:
    stream = between + b"".join(jpeg + between for jpeg in jpegs)
    assert split(stream, piece) == jpegs


def test_a_jpeg_is_there_with_its_last_byte(jpegs: list[bytes]) -> None:
    """A live stream would be late by a frame if the next one had to begin."""
    for jpeg in jpegs:
        splitter = JpegSplitter()
        splitter.feed(jpeg[:-1])
        assert splitter.next() is None
        splitter.feed(jpeg[-1:])
        assert splitter.next() == jpeg


@pytest.mark.parametrize("piece", PIECES)
def test_a_jpeg_that_is_cut_does_not_take_the_next_one_with_it(
    jpegs: list[bytes], piece: int
) -> None:
    cut = jpegs[0][: (jpegs[0].index(b"\xff\xda") + len(jpegs[0])) // 2]
    assert split(cut + jpegs[1] + cut, piece) == [cut, jpegs[1], cut]


def test_after_any_damage_later_jpegs_are_found_again(jpegs: list[bytes]) -> None:
    generator = np.random.default_rng(2)
    for _ in range(300):
        damaged = bytearray(jpegs[0] + jpegs[4])
        for at in generator.integers(2, len(jpegs[0]), 5):
            damaged[at] = generator.integers(256)
        # A length that is wrong skips 64 kB at the most.
        assert split(bytes(damaged) + jpegs[4] * 150, 5000)[-1] == jpegs[4]


def stream_over(data: bytes) -> JpegStream:
    return JpegStream(io.BufferedReader(io.BytesIO(data)))


def test_frames_are_decoded_and_damaged_ones_are_errors() -> None:
    whole = jpeg_of(9)
    stream = stream_over(
        jpeg_of(7) + whole[: (whole.index(b"\xff\xda") + len(whole)) // 2] + jpeg_of(8) + whole[:-2]
    )
    first = stream.read()
    assert first is not None
    assert number_of(first) == 7
    with pytest.raises(DamagedFrameError):
        stream.read()
    second = stream.read()
    assert second is not None
    assert number_of(second) == 8
    with pytest.raises(DamagedFrameError):
        stream.read()
    assert stream.read() is None


def test_the_size_may_change() -> None:
    large = cv2.imencode(".jpg", np.zeros((90, 160, 3), np.uint8))[1].tobytes()
    stream = stream_over(jpeg_of(1) + large)
    shapes = []
    while (frame := stream.read()) is not None:
        shapes.append(frame.shape)
    assert shapes == [(32, 128, 3), (90, 160, 3)]


def test_what_has_no_jpegs_is_refused_before_memory_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(SourceOptionError, match="bytes have come, and no whole JPEG"):
        stream_over(b"text\n" * 300_000).read()
    monkeypatch.setattr(jpeg_stream, "_LONGEST_JPEG_BYTES", 2_000_000)
    with pytest.raises(SourceOptionError, match="bytes have come, and no whole JPEG"):
        stream_over(jpeg_of(1)[:-2] + bytes(3_000_000)).read()
