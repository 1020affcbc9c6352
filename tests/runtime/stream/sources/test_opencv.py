import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from streams import MotionJpegServer, number_of, numbered

from leansight.runtime.errors import SourceError
from leansight.runtime.stream.camera_stream import CameraStream
from leansight.runtime.stream.sources.options import SourceOptions


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


def large(_: bytes) -> bytes:
    """Return a JPEG of another size than the others of the server."""
    return cv2.imencode(".jpg", np.full((90, 160, 3), 200, np.uint8))[1].tobytes()


def test_a_live_stream_may_change_the_size_of_its_pictures() -> None:
    with MotionJpegServer(float("inf"), damage=large) as server, CameraStream(server.url) as frames:
        shapes = {frame.image.shape for frame in itertools.islice(frames, 30)}
        assert frames.damaged == 0
    assert shapes == {(32, 128, 3), (90, 160, 3)}


def test_a_file_of_jpegs_may_change_the_size_of_its_pictures(tmp_path: Path) -> None:
    small = [cv2.imencode(".jpg", numbered(number))[1].tobytes() for number in range(4)]
    (tmp_path / "drive.mjpeg").write_bytes(b"".join([*small[:2], large(b""), *small[2:]]))
    with CameraStream(str(tmp_path / "drive.mjpeg")) as frames:
        shapes = [frame.image.shape for frame in frames]
    assert shapes == [(32, 128, 3)] * 2 + [(90, 160, 3)] + [(32, 128, 3)] * 2


@pytest.mark.parametrize(
    ("name", "code"), [("drive.mp4", "mp4v"), ("drive.avi", "MJPG"), ("drive.mkv", "mp4v")]
)
def test_a_frame_of_a_video_tells_its_position(tmp_path: Path, name: str, code: str) -> None:
    """Also where the capture process reads the file, as it does one that is played live."""
    path = tmp_path / name
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 10, (128, 32))
    for number in range(12):
        writer.write(numbered(number))
    writer.release()
    with CameraStream(str(path)) as frames:
        seen = [(number_of(frame.image), frame.position_s) for frame in frames]
    assert seen == [(number, pytest.approx(number / 10, abs=0.002)) for number in range(12)]
    with CameraStream(str(path), live=True) as frames:
        frame = frames.take(10)
    assert frame is not None
    assert frame.position_s == pytest.approx(number_of(frame.image) / 10, abs=0.002)


def test_damaged_pictures_of_a_motion_jpeg_video_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (128, 32))
    for number in range(12):
        writer.write(numbered(number))
    writer.release()
    data = bytearray(path.read_bytes())
    starts = [at for at in range(len(data)) if data[at : at + 3] == b"\xff\xd8\xff"]
    scan = data.index(b"\xff\xda", starts[5]) + 20
    data[scan : scan + 8] = bytes(8)
    path.write_bytes(data)
    with CameraStream(str(path)) as frames:
        seen = [number_of(frame.image) for frame in frames]
        assert frames.damaged == 1
    assert seen == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]


def test_a_video_is_read_at_the_pace_that_is_asked_for(video: Path) -> None:
    with CameraStream(str(video), options=SourceOptions(fps=40)) as frames:
        times = [frame.monotonic_s for frame in frames]
    assert len(times) == 12
    assert times[-1] - times[0] > 10 / 40
