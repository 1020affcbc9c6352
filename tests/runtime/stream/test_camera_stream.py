import itertools
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from streams import FakeSource, MotionJpegServer, Opener, Picture, number_of, seen_until_lost

from leansight.runtime.errors import SourceError
from leansight.runtime.stream import camera_stream as stream
from leansight.runtime.stream.camera_stream import CameraStream


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
