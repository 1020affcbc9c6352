import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from streams import MotionJpegServer, Picture, number_of, numbered

from leansight.runtime.errors import MissingExtraError, SourceError
from leansight.runtime.stream.camera_stream import CameraStream
from leansight.runtime.stream.sources import PiCamera2Source


def test_what_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no.mp4 does not exist: give a camera's number, a f"):
        CameraStream(str(tmp_path / "no.mp4"))


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is no video")
    with pytest.raises(SourceError, match=r"text.mp4 cannot be opened as a camera, a video file"):
        CameraStream(str(tmp_path / "text.mp4"))


def test_a_camera_that_is_not_there_is_refused() -> None:
    with pytest.raises(SourceError, match=r"^97 cannot be opened as a camera"):
        CameraStream("97")


def test_a_server_that_answers_with_an_error_is_refused() -> None:
    with (
        MotionJpegServer(0) as server,
        pytest.raises(SourceError, match=r"stream.mjpg cannot be opened"),
    ):
        CameraStream(server.url)


def fake_picamera2(
    monkeypatch: pytest.MonkeyPatch, fail: Callable[[], None] = lambda: None
) -> list[object]:
    """Put a picamera2 in place that notes what is done with it."""
    done: list[object] = []

    class Picamera2:
        def __init__(self) -> None:
            fail()

        def create_video_configuration(self, main: dict[str, object]) -> dict[str, object]:
            return {"main": main}

        def configure(self, configuration: dict[str, object]) -> None:
            done.append(configuration)

        def start(self) -> None:
            done.append("start")

        def capture_array(self) -> Picture:
            time.sleep(0.001)
            return numbered(7)

        def close(self) -> None:
            done.append("close")

    module = ModuleType("picamera2")
    module.Picamera2 = Picamera2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", module)
    return done


def test_the_pis_camera_is_configured_read_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    done = fake_picamera2(monkeypatch)
    with CameraStream(PiCamera2Source) as frames:
        assert frames.live
        frame = next(iter(frames))
    assert number_of(frame.image) == 7
    configuration = {"main": {"size": (640, 480), "format": "RGB888"}}
    assert done == [configuration, "start", "close"]


def test_without_picamera2_the_way_to_get_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(MissingExtraError, match=r"Type: sudo apt install python3-picamera2 \("):
        CameraStream(PiCamera2Source)


@pytest.mark.parametrize("error", [IndexError("list index out of range"), RuntimeError("busy")])
def test_a_pi_without_a_camera_says_so(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail() -> None:
        raise error

    fake_picamera2(monkeypatch, fail)
    with pytest.raises(SourceError, match=f"Pi's camera cannot be opened: {error}. Check its"):
        CameraStream(PiCamera2Source)
