from pathlib import Path

import pytest
from streams import MotionJpegServer

from leansight.runtime.errors import SourceError
from leansight.runtime.stream.camera_stream import CameraStream


def test_what_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no.mp4 does not exist: give a camera's number, a f"):
        CameraStream(str(tmp_path / "no.mp4"))


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is no video")
    with pytest.raises(SourceError, match=r"text.mp4 cannot be opened as a video file or a"):
        CameraStream(str(tmp_path / "text.mp4"))


@pytest.mark.parametrize("source", ["97", "/dev/video97"])
def test_a_camera_that_is_not_there_is_waited_for(source: str) -> None:
    reason = f"{source} cannot be opened as a camera"
    with (
        CameraStream(source, give_up_after_s=0) as frames,
        pytest.raises(SourceError, match=f"^{source} was lost and did not come back: {reason}"),
    ):
        list(frames)


def test_a_server_that_answers_with_an_error_is_waited_for() -> None:
    with (
        MotionJpegServer(0) as server,
        CameraStream(server.url, give_up_after_s=0) as frames,
        pytest.raises(SourceError, match=r"stream.mjpg cannot be opened"),
    ):
        list(frames)
