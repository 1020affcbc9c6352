import itertools
from contextlib import closing

import cv2
import numpy as np
import pytest
from streams import MotionJpegServer, Picture, number_of

from leansight.runtime.errors import DamagedFrameError
from leansight.runtime.stream.camera_stream import CameraStream
from leansight.runtime.stream.sources import motion_jpeg
from leansight.runtime.stream.sources.opencv import OpenCvSource


def cut(jpeg: bytes) -> bytes:
    """Return the JPEG with half of the data of its pixels."""
    return jpeg[: (jpeg.index(b"\xff\xda") + len(jpeg)) // 2]


def cut_and_closed(jpeg: bytes) -> bytes:
    return cut(jpeg) + b"\xff\xd9"


@pytest.fixture
def jpeg() -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


def by_opencv_itself(jpeg: bytes) -> Picture:
    image: Picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return image


def test_a_jpeg_that_is_cut_in_a_live_stream_is_counted_and_not_given() -> None:
    """FFmpeg would give it, with the picture before it in the place of what is missing."""
    with MotionJpegServer(float("inf"), damage=cut) as server, CameraStream(server.url) as frames:
        numbers = [number_of(frame.image) for frame in itertools.islice(frames, 30)]
        assert frames.live
        damaged = frames.damaged
    assert {number % 3 for number in numbers} == {1, 2}
    assert 10 <= damaged <= max(numbers) // 3 + 2


def test_a_stream_of_damaged_pictures_alone_is_lost() -> None:
    states = []
    with (
        MotionJpegServer(float("inf"), damage=cut, delay_s=0.4) as server,
        CameraStream(
            server.url, stale_after_s=0.3, on_state=lambda state, _: states.append(state)
        ) as frames,
    ):
        for _ in itertools.islice(frames, 4):
            pass
    assert "stale" in states


@pytest.mark.parametrize("ending", [b"", b"\r\n", b"\0\0\r\n"])
@pytest.mark.parametrize("decoder", ["by_simplejpeg", "by_opencv"])
def test_whole_jpegs_are_decoded_as_by_opencv(jpeg: bytes, decoder: str, ending: bytes) -> None:
    if decoder == "by_simplejpeg":
        pytest.importorskip("simplejpeg")
    assert np.array_equal(getattr(motion_jpeg, decoder)(jpeg + ending), by_opencv_itself(jpeg))


def test_without_simplejpeg_what_ends_early_is_refused(jpeg: bytes) -> None:
    with pytest.raises(DamagedFrameError, match="a JPEG ends too early"):
        motion_jpeg.by_opencv(cut(jpeg))
    with pytest.raises(DamagedFrameError, match="a JPEG cannot be decoded"):
        motion_jpeg.by_opencv(b"no JPEG\xff\xd9")


def test_with_simplejpeg_each_warning_of_the_library_is_damage(jpeg: bytes) -> None:
    pytest.importorskip("simplejpeg")
    for damaged in (cut(jpeg), cut_and_closed(jpeg), jpeg[:300] + bytes(100) + jpeg[400:]):
        with pytest.raises(DamagedFrameError, match="a JPEG is damaged: "):
            motion_jpeg.by_simplejpeg(damaged)


@pytest.mark.parametrize("count", [1, 3, 18])
def test_a_few_bytes_too_many_are_no_damage(jpeg: bytes, count: int) -> None:
    """Some USB cameras write them at the end of each picture."""
    pytest.importorskip("simplejpeg")
    longer = jpeg[:-2] + bytes([0x5A]) * count + jpeg[-2:]
    assert np.array_equal(motion_jpeg.by_simplejpeg(longer), by_opencv_itself(jpeg))
    with pytest.raises(DamagedFrameError, match=r"98 extraneous bytes"):
        motion_jpeg.by_simplejpeg(jpeg[:-2] + bytes([0x5A]) * 102 + jpeg[-2:])


def test_a_picture_without_huffman_tables_is_decoded(jpeg: bytes) -> None:
    """As cameras write motion JPEG: the tables are those of the standard (ITU-T T.81, K.3)."""
    pytest.importorskip("simplejpeg")
    at, short = 2, jpeg[:2]
    while jpeg[at + 1] != 0xDA:
        after = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        short += jpeg[at:after] if jpeg[at + 1] != 0xC4 else b""
        at = after
    short += jpeg[at:]
    assert len(short) < len(jpeg) - 400
    for decode in (motion_jpeg.by_simplejpeg, motion_jpeg.by_opencv):
        assert np.array_equal(decode(short), by_opencv_itself(jpeg))


def test_the_stricter_decoder_is_taken_where_it_is_installed() -> None:
    pytest.importorskip("simplejpeg")
    assert motion_jpeg.strict_decoder() is motion_jpeg.by_simplejpeg
    assert not motion_jpeg.strict_decoder_notice()


def test_what_is_not_noticed_without_simplejpeg_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with MotionJpegServer(10) as server, closing(OpenCvSource(server.url)) as source:
        assert source.notice.endswith("pip install 'leansight[jpeg]'")
