"""Video4Linux cameras, by a stand-in for OpenCV's capture: no machine of ours has a camera."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from streams import number_of, numbered

from leansight.runtime.errors import DamagedFrameError, SourceError
from leansight.runtime.stream.sources.options import SourceOptions
from leansight.runtime.stream.sources.v4l2 import V4l2Source

YUYV = cv2.VideoWriter.fourcc(*"YUYV")
MJPG = cv2.VideoWriter.fourcc(*"MJPG")


def jpeg_of(number: int) -> NDArray[np.uint8]:
    """Return a frame as OpenCV gives one that it does not convert: (1, N)."""
    return cv2.imencode(".jpg", numbered(number))[1].reshape(1, -1)


class FakeCapture:
    """As OpenCV's cap_v4l.cpp: sizes and rates are clipped, formats refused, by what it grants."""

    def __init__(self, **grants: float) -> None:
        self.opened: tuple[object, ...] = ()
        self.is_open = True
        self.isOpened = lambda: self.is_open
        self.order: list[int] = []
        self.frames: list[NDArray[np.uint8] | None] = []
        self.grants = grants
        self.values: dict[int, float] = {
            cv2.CAP_PROP_FRAME_WIDTH: 640,
            cv2.CAP_PROP_FRAME_HEIGHT: 480,
            cv2.CAP_PROP_FPS: 30,
            cv2.CAP_PROP_FOURCC: YUYV,
            cv2.CAP_PROP_CONVERT_RGB: 1,
        }

    def set(self, what: int, value: float) -> bool:
        self.order.append(what)
        self.values[what] = self.grants.get(str(what), value)
        return self.values[what] == value

    def get(self, what: int) -> float:
        return self.values[what]

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        frame = self.frames.pop(0) if self.frames else None
        return frame is not None, frame

    def release(self) -> None:
        self.is_open = False


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> FakeCapture:
    fake = FakeCapture()

    def open_capture(*arguments: object) -> FakeCapture:
        fake.opened = arguments
        return fake

    monkeypatch.setattr(cv2, "VideoCapture", open_capture)
    return fake


@pytest.mark.parametrize(("name", "opened"), [("3", 3), ("/dev/video3", "/dev/video3")])
def test_a_camera_is_opened_by_its_number_or_path_through_v4l2(
    capture: FakeCapture, name: str, opened: int | str
) -> None:
    V4l2Source(name, SourceOptions())
    assert capture.opened == (opened, cv2.CAP_V4L2)
    assert capture.order == []


def test_the_format_is_set_before_the_size_and_the_rate(capture: FakeCapture) -> None:
    source = V4l2Source("0", SourceOptions(size=(1280, 720), fps=60, mjpg=True))
    assert capture.order[:4] == [
        cv2.CAP_PROP_FOURCC,
        cv2.CAP_PROP_FRAME_WIDTH,
        cv2.CAP_PROP_FRAME_HEIGHT,
        cv2.CAP_PROP_FPS,
    ]
    assert source.notice == ""


@pytest.mark.parametrize(
    ("property_", "granted", "notice"),
    [
        (cv2.CAP_PROP_FRAME_WIDTH, 800, "camera 0 gives 800x720 pixels"),
        (cv2.CAP_PROP_FPS, 10, "camera 0 gives 10 frames a second"),
        (cv2.CAP_PROP_FPS, -1, "camera 0 gives a rate it does not tell"),
        (cv2.CAP_PROP_FPS, 30000 / 1001, ""),
        (cv2.CAP_PROP_FOURCC, YUYV, "camera 0 gives no motion JPEG"),
    ],
)
def test_what_the_camera_does_not_grant_is_said(
    capture: FakeCapture, property_: int, granted: float, notice: str
) -> None:
    capture.grants = {str(property_): granted}
    source = V4l2Source("0", SourceOptions(size=(1280, 720), fps=30, mjpg=True))
    assert source.notice == notice


def test_a_camera_that_was_asked_for_nothing_grants_everything(capture: FakeCapture) -> None:
    assert V4l2Source("0", SourceOptions()).notice == ""
    assert capture.values[cv2.CAP_PROP_CONVERT_RGB] == 1


def test_compressed_frames_are_decoded_here_and_damage_is_seen(capture: FakeCapture) -> None:
    whole = jpeg_of(5)
    large = cv2.imencode(".jpg", np.full((90, 160, 3), 200, np.uint8))[1].reshape(1, -1)
    capture.frames = [whole, whole[:, : whole.shape[1] // 2], large]
    source = V4l2Source("0", SourceOptions(mjpg=True))
    assert capture.values[cv2.CAP_PROP_CONVERT_RGB] == 0
    first = source.read()
    assert first is not None
    assert number_of(first) == 5
    with pytest.raises(DamagedFrameError):
        source.read()
    later = source.read()
    assert later is not None
    assert later.shape == (90, 160, 3)
    assert source.read() is None


def test_a_camera_that_compresses_unasked_is_decoded_here_too(capture: FakeCapture) -> None:
    capture.values[cv2.CAP_PROP_FOURCC] = MJPG
    capture.frames = [jpeg_of(9)]
    frame = V4l2Source("0", SourceOptions()).read()
    assert frame is not None
    assert number_of(frame) == 9


def test_frames_that_opencv_has_converted_are_given_as_they_are(capture: FakeCapture) -> None:
    capture.frames = [numbered(3)]
    frame = V4l2Source("0", SourceOptions()).read()
    assert frame is not None
    assert number_of(frame) == 3


def test_what_cannot_be_opened_is_an_error(capture: FakeCapture) -> None:
    capture.is_open = False
    with pytest.raises(SourceError, match=r"^5 cannot be opened as a camera$"):
        V4l2Source("5", SourceOptions())


def test_closing_releases_the_camera(capture: FakeCapture) -> None:
    V4l2Source("0", SourceOptions()).close()
    assert not capture.is_open
