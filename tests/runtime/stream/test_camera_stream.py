import http.server
import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Self

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from leansight.runtime.errors import MissingExtraError, SourceError
from leansight.runtime.stream import camera_stream as stream
from leansight.runtime.stream.camera_stream import CameraStream
from leansight.runtime.stream.sources import PiCamera2Source

Picture = NDArray[np.uint8]
EXAMPLE = Path(__file__).parents[3] / "examples" / "camera_stream.py"
BITS = 8


def numbered(number: int) -> Picture:
    """Return a picture of eight black and white blocks: its number in binary."""
    bits = [number >> bit & 1 for bit in range(BITS)]
    blocks = np.array([bits, bits[::-1]], np.uint8) * 255
    return cv2.cvtColor(blocks.repeat(16, 0).repeat(16, 1), cv2.COLOR_GRAY2BGR)


def number_of(picture: Picture) -> int:
    blocks = picture[8, 8::16, 1] > 127
    return int((blocks * 2 ** np.arange(BITS)).sum())


class FakeSource:
    """Gives numbered pictures as planned: None is a loss, an exception is raised."""

    def __init__(self, plan: Sequence[int | Exception | None], delay_s: float = 0) -> None:
        self._plan = iter(plan)
        self._delay_s = delay_s
        self.reads = 0
        self.closed = False

    def read(self) -> Picture | None:
        assert not self.closed
        self.reads += 1
        time.sleep(self._delay_s)
        item = next(self._plan, None)
        if isinstance(item, Exception):
            raise item
        return None if item is None else numbered(item)

    def close(self) -> None:
        self.closed = True


class Opener:
    """Opens one source after the other; an exception in their place is raised."""

    def __init__(self, *sources: FakeSource | Exception) -> None:
        self._sources = iter(sources)
        self.tries = 0

    def __call__(self) -> FakeSource:
        self.tries += 1
        source = next(self._sources, None)
        if source is None:
            raise SourceError("away")
        if isinstance(source, Exception):
            raise source
        return source


class MotionJpegServer:
    """Serves numbered pictures over loopback HTTP, one plan for each connection.

    A plan is the number of pictures until the connection is dropped (0 answers 503); the last
    plan repeats. Numbers go on from one connection to the next.
    """

    def __init__(self, *plans: float, delay_s: float = 0.01) -> None:
        counter, remaining = itertools.count(), list(plans)

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                plan = remaining.pop(0) if len(remaining) > 1 else remaining[0]
                if not plan:
                    self.send_error(503)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    for _ in itertools.takewhile(lambda sent: sent < plan, itertools.count()):
                        self.wfile.write(part(next(counter)))
                        time.sleep(delay_s)
                    self.wfile.write(b"--frame--\r\n")
                except OSError:
                    pass  # the client went away

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/stream.mjpg"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def part(number: int) -> bytes:
    ok, jpeg = cv2.imencode(".jpg", numbered(number))
    assert ok
    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {jpeg.size}\r\n\r\n"
    return head.encode() + jpeg.tobytes() + b"\r\n"


def seen_until_lost(frames: CameraStream, message: str, pause_s: float) -> list[tuple[int, int]]:
    """Return the numbers of the frames and of their pictures, read with pauses."""
    seen = []

    def watch() -> None:
        for frame in frames:
            seen.append((frame.number, number_of(frame.image)))
            time.sleep(pause_s)

    with pytest.raises(SourceError, match=message):
        watch()
    return seen


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """An mp4v file of 12 numbered pictures."""
    path = tmp_path / "drive.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 12, (128, 32))
    for number in range(12):
        writer.write(numbered(number))
    writer.release()
    return path


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try a lost source again at once."""
    monkeypatch.setattr(stream, "RETRY_DELAYS_S", (0.01, 0.02))


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 2
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before


# Files


def test_a_video_file_is_read_frame_by_frame_and_ends(video: Path) -> None:
    started = time.time()
    with CameraStream(str(video)) as frames:
        assert not frames.live
        seen = list(frames)
    assert [frame.number for frame in seen] == list(range(12))
    assert [number_of(frame.image) for frame in seen] == list(range(12))
    assert {(frame.image.shape, frame.image.dtype) for frame in seen} == {
        ((32, 128, 3), np.dtype(np.uint8))
    }
    times = [frame.time_s for frame in seen]
    assert times == sorted(times)
    assert started <= times[0] <= times[-1] <= time.time()


def test_a_second_loop_goes_on_where_the_first_one_stopped(video: Path) -> None:
    with CameraStream(str(video)) as frames:
        first = [frame.number for frame in itertools.islice(frames, 5)]
        second = [(frame.number, number_of(frame.image)) for frame in frames]
    assert first == [0, 1, 2, 3, 4]
    assert second == [(number, number) for number in range(5, 12)]


def test_a_slow_reader_of_a_file_misses_nothing(video: Path) -> None:
    with CameraStream(str(video)) as frames:
        seen = []
        for frame in frames:
            time.sleep(0.01)
            seen.append(number_of(frame.image))
    assert seen == list(range(12))


def test_a_file_can_be_played_as_if_it_were_live(video: Path) -> None:
    with CameraStream(str(video), live=True, give_up_after_s=0) as frames:
        assert frames.live
        seen = seen_until_lost(frames, r"drive.mp4 was lost", pause_s=0.01)
    assert seen[-1] == (11, 11)


# Live sources


def test_of_a_live_source_the_newest_frame_wins() -> None:
    source = FakeSource([*range(100), SourceError("end")], delay_s=0.002)
    with CameraStream(Opener(source)) as frames:
        seen = seen_until_lost(frames, "end", pause_s=0.02)
    numbers = [number for number, _ in seen]
    assert [picture for _, picture in seen] == numbers
    assert numbers == sorted(set(numbers))
    assert len(numbers) < 50
    assert max(np.diff(numbers)) > 1
    assert numbers[-1] == 99


def test_a_motion_jpeg_stream_is_live_and_the_last_frame_arrives(impatient: None) -> None:
    del impatient
    with (
        MotionJpegServer(60, 0) as server,
        CameraStream(server.url, give_up_after_s=0.1) as frames,
    ):
        assert frames.live
        message = r"stream.mjpg was lost and did not come back"
        seen = seen_until_lost(frames, message, pause_s=0.05)
    assert all(number == picture for number, picture in seen)
    assert max(np.diff([number for number, _ in seen])) > 1
    assert seen[-1][1] >= 58


def test_a_server_that_comes_back_is_read_on(impatient: None) -> None:
    del impatient
    with (
        MotionJpegServer(20, 0, 0, 20, float("inf")) as server,
        CameraStream(server.url, give_up_after_s=20) as frames,
    ):
        seen = []
        for frame in frames:
            seen.append((frame.number, number_of(frame.image)))
            if seen[-1][1] > 50:
                break
    numbers, pictures = zip(*seen, strict=True)
    assert list(numbers) == sorted(set(numbers))
    assert list(pictures) == sorted(set(pictures))
    assert min(pictures) < 20
    assert any(20 <= picture < 40 for picture in pictures)


def test_a_lost_source_is_closed_and_opened_again(impatient: None) -> None:
    del impatient
    first, second = FakeSource([1, 2, None]), FakeSource([3, None])
    opener = Opener(first, SourceError("away"), SourceError("away"), second)
    seen = []
    with (
        CameraStream(opener, give_up_after_s=0.1) as frames,
        pytest.raises(SourceError, match="did not come back"),
    ):
        seen.extend(number_of(frame.image) for frame in frames)
    assert seen[-1] == 3
    assert opener.tries > 4
    assert first.closed
    assert second.closed


def test_giving_up_takes_no_longer_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "RETRY_DELAYS_S", (30.0,))
    lost_at = time.monotonic()
    with (
        CameraStream(Opener(FakeSource([1])), give_up_after_s=0.2) as frames,
        pytest.raises(SourceError, match="did not come back"),
    ):
        list(frames)
    assert 0.2 <= time.monotonic() - lost_at < 2


def test_a_source_that_opens_but_gives_nothing_counts_as_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a camera in a bad state does; the waits between the tries must grow all the same."""
    monkeypatch.setattr(stream, "RETRY_DELAYS_S", (0.01, 0.02, 0.04, 0.08, 0.16, 0.32))
    opener = Opener(FakeSource([1]), *(FakeSource([]) for _ in range(1000)))
    with (
        CameraStream(opener, give_up_after_s=0.3) as frames,
        pytest.raises(SourceError, match="did not come back"),
    ):
        list(frames)
    assert opener.tries <= 8


def test_a_frame_ends_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "RETRY_DELAYS_S", (0.05, 30.0))
    sources = [FakeSource([number]) for number in range(6)]
    started = time.monotonic()
    with CameraStream(Opener(*sources), give_up_after_s=0.2) as frames:
        for frame in frames:
            if number_of(frame.image) == 5:
                break
    assert 0.25 <= time.monotonic() - started < 2


def test_an_error_of_the_source_is_raised_where_frames_are_read() -> None:
    source = FakeSource([1, RuntimeError("the driver failed")])
    with CameraStream(Opener(source)) as frames:
        time.sleep(0.05)
        reading = iter(frames)
        assert number_of(next(reading).image) == 1
        with pytest.raises(RuntimeError, match="the driver failed"):
            next(reading)
        with pytest.raises(RuntimeError, match="the driver failed"):
            next(iter(frames))


def test_closing_stops_the_thread_and_releases_the_source() -> None:
    source = FakeSource(list(range(256)) * 40, delay_s=0.001)
    before = threading.active_count()
    frames = CameraStream(Opener(source))
    assert threading.active_count() == before + 1
    next(iter(frames))
    frames.close()
    assert threading.active_count() == before
    assert source.closed
    reads = source.reads
    time.sleep(0.02)
    assert source.reads == reads
    frames.close()


def test_closing_ends_a_loop_elsewhere() -> None:
    frames = CameraStream(Opener(FakeSource(list(range(256)) * 40, delay_s=0.001)))
    reader = threading.Thread(target=lambda: list(frames))
    reader.start()
    time.sleep(0.02)
    frames.close()
    reader.join(timeout=2)
    assert not reader.is_alive()


def test_closing_during_a_long_wait_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "RETRY_DELAYS_S", (30.0,))
    opener = Opener(FakeSource([]))
    frames = CameraStream(opener)
    time.sleep(0.02)
    started = time.monotonic()
    frames.close()
    assert time.monotonic() - started < 1
    assert opener.tries == 1


def test_a_source_that_hangs_is_not_released_while_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Releasing OpenCV's capture under a read of another thread can crash the process."""
    monkeypatch.setattr(stream, "CLOSE_TIMEOUT_S", 0.05)
    goes_on = threading.Event()
    released_while_reading = []

    class Hanging(FakeSource):
        reading = False

        def read(self) -> Picture | None:
            self.reading = True
            goes_on.wait(5)
            self.reading = False
            return None

        def close(self) -> None:
            released_while_reading.append(self.reading)
            super().close()

    source = Hanging([])
    frames = CameraStream(Opener(source))
    time.sleep(0.02)
    frames.close()
    goes_on.set()
    deadline = time.monotonic() + 2
    while not source.closed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(released_while_reading) == {False}


# What cannot be opened


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


# The Pi's camera


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


def test_without_picamera2_both_ways_to_get_it_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(MissingExtraError, match="sudo apt install python3-picamera2"):
        CameraStream(PiCamera2Source)


@pytest.mark.parametrize("error", [IndexError("list index out of range"), RuntimeError("busy")])
def test_a_pi_without_a_camera_says_so(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail() -> None:
        raise error

    fake_picamera2(monkeypatch, fail)
    with pytest.raises(SourceError, match=f"Pi's camera cannot be opened: {error}. Check its"):
        CameraStream(PiCamera2Source)


# The example


KEYS = ["frame", "time", "label", "score", "status", "top"]


def test_the_example_labels_every_frame_of_a_video(
    tiny_bundle: Path, video: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "labelled.mp4"
    command = [sys.executable, EXAMPLE, tiny_bundle, "--source", video, "--save", saved]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["frame"] for line in lines] == list(range(12))
    assert {tuple(line) for line in lines} == {tuple(KEYS)}
    assert frame_count(saved) == 12


def frame_count(video: Path) -> int:
    with CameraStream(str(video)) as frames:
        return sum(1 for frame in frames if frame.image.shape == (32, 128, 3))


@pytest.mark.parametrize("save", [False, True])
def test_ctrl_c_ends_the_example_in_good_order(
    tiny_bundle: Path, tmp_path: Path, *, save: bool
) -> None:
    saved = tmp_path / "labelled.mp4"
    with MotionJpegServer(float("inf")) as server:
        # A shell that runs the tests in the background has SIGINT ignored, and so would we.
        command = ["env", "--default-signal=INT", sys.executable, str(EXAMPLE), str(tiny_bundle)]
        command += ["--source", server.url]
        if save:
            command += ["--save", str(saved)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            assert process.stderr
            lines = [json.loads(process.stdout.readline()) for _ in range(5)]
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert {tuple(line) for line in lines} == {tuple(KEYS)}
    numbers = [line["frame"] for line in lines]
    assert numbers == sorted(set(numbers))
    if save:
        assert abs(frame_count(saved) - 5 - len(rest.splitlines())) <= 1


@pytest.mark.parametrize("wrong", ["source", "bundle"])
def test_a_wrong_argument_ends_the_example_in_one_line(
    tiny_bundle: Path, video: Path, tmp_path: Path, wrong: str
) -> None:
    paths = {"bundle": tiny_bundle, "source": video, wrong: tmp_path / "nowhere"}
    command = [sys.executable, EXAMPLE, paths["bundle"], "--source", paths["source"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    # LiteRT's own greeting is not ours to silence.
    lines = [line for line in done.stderr.splitlines() if not line.startswith("INFO: Created")]
    assert len(lines) == 1
    assert lines[0].startswith(f"camera_stream: {tmp_path / 'nowhere'} does not exist")
