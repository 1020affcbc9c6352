"""Frames on standard input: of a program that goes on, and of a file."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from streams import number_of, numbered

from leansight.runtime.errors import SourceError, SourceOptionError
from leansight.runtime.stream.camera_stream import CameraStream
from leansight.runtime.stream.sources.options import RawFormat, SourceOptions


def jpeg_of(number: int) -> bytes:
    return cv2.imencode(".jpg", numbered(number))[1].tobytes()


@contextmanager
def standard_input(descriptor: int) -> Iterator[None]:
    """Have this process read from a descriptor, which is closed."""
    before = os.dup(0)
    os.dup2(descriptor, 0)
    os.close(descriptor)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


@contextmanager
def piped() -> Iterator[int]:
    """Have this process read from a pipe, and give the end into which is written."""
    reading, writing = os.pipe()
    with standard_input(reading):
        try:
            yield writing
        finally:
            os.close(writing)


@contextmanager
def redirected(file: Path, data: bytes) -> Iterator[None]:
    file.write_bytes(data)
    with standard_input(os.open(file, os.O_RDONLY)):
        yield


def test_a_file_of_jpegs_is_read_frame_by_frame(tmp_path: Path) -> None:
    seen = []
    with (
        redirected(tmp_path / "drive.mjpeg", b"".join(map(jpeg_of, range(30)))),
        CameraStream("-") as frames,
    ):
        assert not frames.live
        for frame in frames:
            seen.append((frame.number, number_of(frame.image), frame.position_s))
            if frame.number % 10 == 0:
                time.sleep(0.02)
    assert seen == [(number, number, None) for number in range(30)]


def test_a_file_in_y4m_tells_positions(tmp_path: Path) -> None:
    frame = b"FRAME\n" + bytes([100]) * 16 + bytes([128]) * 8
    with (
        redirected(tmp_path / "drive.y4m", b"YUV4MPEG2 W4 H4 F10:1\n" + frame * 3),
        CameraStream("-") as frames,
    ):
        seen = [(frame.image.shape, frame.position_s) for frame in frames]
    assert seen == [((4, 4, 3), 0.0), ((4, 4, 3), 0.1), ((4, 4, 3), 0.2)]


def test_of_a_pipe_the_newest_frame_wins_and_its_end_is_the_end() -> None:
    def write(pipe: int) -> None:
        for number in range(60):
            os.write(pipe, jpeg_of(number))
            time.sleep(0.005)
        os.close(pipe)

    states, seen = [], []
    with piped() as pipe:
        ours = os.dup(pipe)
        writer = threading.Thread(target=write, args=(ours,))
        with CameraStream("-", on_state=lambda state, _: states.append(state)) as frames:
            assert frames.live
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, pipe)  # the writer's copy of the pipe is the last one
            os.close(nowhere)
            writer.start()
            for frame in frames:
                seen.append((frame.number, number_of(frame.image)))
                time.sleep(0.03)
        writer.join()
    assert all(number == picture for number, picture in seen)
    assert len(seen) < 60
    assert seen[-1] == (59, 59)
    assert states == ["running"]


def test_a_pipe_that_falls_silent_is_stale_and_loses_nothing() -> None:
    """The process that reads is not replaced: it holds half of a frame."""
    is_stale = threading.Event()
    states = []

    def note(state: str, _: str) -> None:
        states.append(state)
        if state == "stale":
            is_stale.set()

    with piped() as pipe, CameraStream("-", stale_after_s=0.3, on_state=note) as frames:
        second = jpeg_of(2)
        os.write(pipe, jpeg_of(1) + second[:100])
        taken = [frames.take(10)]
        assert is_stale.wait(10)
        os.write(pipe, second[100:])
        taken.append(frames.take(10))
    assert [frame and number_of(frame.image) for frame in taken] == [1, 2]
    assert states == ["running", "stale", "running"]


def test_every_frame_of_a_pipe_can_be_asked_for() -> None:
    with piped() as pipe, CameraStream("-", live=False) as frames:
        os.write(pipe, b"".join(map(jpeg_of, range(5))))
        for number in range(5):
            time.sleep(0.02)
            frame = frames.take(10)
            assert frame is not None
            assert number_of(frame.image) == number


def test_damaged_frames_are_counted(tmp_path: Path) -> None:
    whole = jpeg_of(6)
    cut = whole[: (whole.index(b"\xff\xda") + len(whole)) // 2]
    with (
        redirected(tmp_path / "damaged.mjpeg", jpeg_of(5) + cut + whole + cut),
        CameraStream("-") as frames,
    ):
        assert [number_of(frame.image) for frame in frames] == [5, 6]
        assert frames.damaged == 2


@pytest.mark.parametrize(
    ("raw", "pixels", "colour"),
    [
        ("bgr24", [1, 2, 3], [1, 2, 3]),
        ("rgb24", [1, 2, 3], [3, 2, 1]),
        ("gray", [7], [7, 7, 7]),
    ],
)
def test_raw_pixels_are_read_as_they_are_declared(
    tmp_path: Path, raw: RawFormat, pixels: list[int], colour: list[int]
) -> None:
    options = SourceOptions(raw=raw, size=(3, 2))
    with (
        redirected(tmp_path / "pixels", bytes(pixels) * 6 * 2),
        CameraStream("-", options=options) as frames,
    ):
        images = [frame.image for frame in frames]
    assert [image.shape for image in images] == [(2, 3, 3)] * 2
    assert (np.array(images) == colour).all()


def test_raw_yuv_is_read_and_half_a_frame_is_damage(tmp_path: Path) -> None:
    options = SourceOptions(raw="yuv420p", size=(2, 2))
    with (
        redirected(tmp_path / "pixels", bytes([235] * 4 + [128] * 2) + bytes(5)),
        CameraStream("-", options=options) as frames,
    ):
        assert [frame.image.tolist() for frame in frames] == [[[[255] * 3] * 2] * 2]
        assert frames.damaged == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "^standard input ended before the first frame$"),
        (
            b"\0\0\0\1\x67\x42",
            r"^standard input is H.264 .*: let rpicam-vid use the codec mjpeg, and",
        ),
        (b"YUV4MPEG2 W2 H2 C444\n", "^Y4M of 2x2 pixels with the layout 444 is not read"),
        (b"YUV4MPEG2 W2 H2\nFRAME\n" + bytes(6) + b"MORE\n", "something else where a frame should"),
        (b"text\n" * 300_000, "bytes have come, and no whole JPEG"),
    ],
)
@pytest.mark.parametrize("live", [None, True])
def test_what_cannot_be_read_is_one_error(
    tmp_path: Path, data: bytes, message: str, live: object
) -> None:
    with (
        redirected(tmp_path / "data", data),
        CameraStream("-", live=True if live else None) as frames,
        pytest.raises(SourceError, match=message),
    ):
        list(frames)


def test_closing_while_nothing_comes_takes_less_than_two_seconds() -> None:
    with piped() as pipe:
        frames = CameraStream("-")
        os.write(pipe, jpeg_of(1))
        assert frames.take(10) is not None
        begin_s = time.monotonic()
        frames.close()
        assert time.monotonic() - begin_s < 2
        frames.close()


def test_a_region_that_does_not_lie_in_the_frame_ends_the_stream() -> None:
    """Opened again, the source would not have larger frames."""
    with (
        piped() as pipe,
        CameraStream("-", options=SourceOptions(roi=(0, 0, 129, 32))) as frames,
    ):
        os.write(pipe, jpeg_of(1))
        with pytest.raises(SourceOptionError, match=r"^the region 0,0,129,32 .* has 128x32 pixels"):
            list(frames)
