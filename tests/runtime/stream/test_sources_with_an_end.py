"""Videos behind a URL: one whose end is known is read like a file, and is not started again."""

import functools
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from streams import number_of, numbered

from leansight.runtime.errors import SourceError
from leansight.runtime.stream.camera_stream import CameraStream

FRAMES = 100


class CutOff(http.server.SimpleHTTPRequestHandler):
    """Serves files; of those called "cut…" the whole length is promised and two thirds are sent."""

    def copyfile(self, source: object, outputfile: object) -> None:
        assert hasattr(source, "read")
        assert hasattr(outputfile, "write")
        data = source.read()
        if "/cut" in self.path:
            data = data[: len(data) * 2 // 3]
            self.close_connection = True
        outputfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Serve the folder of the test."""
    handler = functools.partial(CutOff, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def write(path: Path, code: str) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 10, (128, 32))
    for number in range(FRAMES):
        writer.write(numbered(number))
    writer.release()


@pytest.mark.parametrize(
    ("name", "code"), [("drive.mp4", "mp4v"), ("drive.avi", "MJPG"), ("drive.mkv", "mp4v")]
)
def test_a_finite_video_is_read_once_and_a_slow_reader_misses_nothing(
    tmp_path: Path, url: str, name: str, code: str
) -> None:
    write(tmp_path / name, code)
    seen = []
    with CameraStream(f"{url}/{name}", give_up_after_s=0) as frames:
        for frame in frames:
            seen.append((frame.number, number_of(frame.image)))
            if frame.number % 10 == 0:
                time.sleep(0.05)
        assert not frames.live
    assert seen == [(number, number) for number in range(FRAMES)]


def test_a_pause_of_the_reader_is_no_loss(tmp_path: Path, url: str) -> None:
    write(tmp_path / "drive.mp4", "mp4v")
    states = []
    with CameraStream(
        f"{url}/drive.mp4",
        stale_after_s=0.2,
        give_up_after_s=0,
        on_state=lambda state, _: states.append(state),
    ) as frames:
        reading = iter(frames)
        assert next(reading).number == 0
        time.sleep(0.6)
        assert [frame.number for frame in reading] == list(range(1, FRAMES))
    assert states == ["running"]


def test_a_finite_video_that_breaks_off_is_an_error(tmp_path: Path, url: str) -> None:
    write(tmp_path / "cut.avi", "MJPG")
    seen = []
    with (
        CameraStream(f"{url}/cut.avi", give_up_after_s=0) as frames,
        pytest.raises(SourceError, match=rf"cut.avi broke off after \d\d of {FRAMES} frames"),
    ):
        seen.extend(number_of(frame.image) for frame in frames)
    assert seen == list(range(len(seen)))
    assert FRAMES // 2 < len(seen) < 0.9 * FRAMES


def test_a_finite_video_can_be_played_as_if_it_were_live(tmp_path: Path, url: str) -> None:
    write(tmp_path / "drive.mp4", "mp4v")
    with (
        CameraStream(f"{url}/drive.mp4", live=True, give_up_after_s=0) as frames,
        pytest.raises(SourceError, match=r"drive.mp4 was lost"),
    ):
        list(frames)
