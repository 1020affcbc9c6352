import itertools
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from programs.cameras import FRAME_S, camera, wait_for_opening, was_closed
from streams import MotionJpegServer, number_of, seen_until_lost

from leansight.runtime.errors import SourceError
from leansight.runtime.stream.camera_stream import CameraStream

ENDLESS = -1


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


def test_of_a_live_source_the_newest_frame_wins(tmp_path: Path) -> None:
    """A frame is never older than an interval and the time that its user took before."""
    pause_s = 0.1
    ages, numbers = [], []
    with CameraStream(camera(tmp_path, "", frames=ENDLESS)) as frames:
        assert frames.live
        for frame in itertools.islice(frames, 15):
            ages.append(time.monotonic() - frame.monotonic_s)
            numbers.append(frame.number)
            assert set(np.unique(frame.image[:, :16])) == {frame.number + 1}
            time.sleep(pause_s)
    assert numbers == sorted(set(numbers))
    assert max(np.diff(numbers)) > 1
    assert np.median(ages) < 2 * FRAME_S
    assert max(ages) < FRAME_S + pause_s


def test_the_last_frame_of_a_lost_source_arrives() -> None:
    with MotionJpegServer(60, 0) as server, CameraStream(server.url, give_up_after_s=0.1) as frames:
        assert frames.live
        message = r"stream.mjpg was lost and did not come back: the source gave no more frames"
        seen = seen_until_lost(frames, message, pause_s=0.05)
    assert all(number == picture for number, picture in seen)
    assert max(np.diff([number for number, _ in seen])) > 1
    assert seen[-1][1] >= 58


def test_a_change_of_size_is_followed(tmp_path: Path) -> None:
    with CameraStream(camera(tmp_path, "grows")) as frames:
        shapes = [frame.image.shape for frame in itertools.islice(frames, 10)]
    assert shapes[0] == shapes[-1] == (24, 32, 3)
    assert (480, 640, 3) in shapes


def test_closing_releases_the_source_and_a_second_time_does_nothing(tmp_path: Path) -> None:
    frames = CameraStream(camera(tmp_path, "", frames=ENDLESS))
    next(iter(frames))
    frames.close()
    assert was_closed(tmp_path)
    frames.close()
    assert list(frames) == []


def test_closing_ends_a_loop_elsewhere(tmp_path: Path) -> None:
    frames = CameraStream(camera(tmp_path, "", frames=ENDLESS))
    reader = threading.Thread(target=lambda: list(frames))
    reader.start()
    next(iter(frames))
    frames.close()
    reader.join(timeout=2)
    assert not reader.is_alive()


@pytest.mark.parametrize("fate", ["hangs", "does not open", "is away"])
def test_closing_takes_less_than_two_seconds(tmp_path: Path, fate: str) -> None:
    with CameraStream(camera(tmp_path, fate)) as frames:
        wait_for_opening(tmp_path)
        started = time.monotonic()
        frames.close()
        assert time.monotonic() - started < 2


def test_closing_at_once_is_in_order(tmp_path: Path) -> None:
    CameraStream(camera(tmp_path, "", frames=ENDLESS)).close()


def test_what_cannot_be_handed_to_another_process_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^camera is opened in a process of its own, and cannot"):
        CameraStream(partial(camera, threading.Lock()))


UNGUARDED = """
import numpy, sys
from leansight.runtime import CameraStream
class Camera:
    frames = 3
    def read(self):
        self.frames -= 1
        return numpy.full((2, 2, 3), 5, numpy.uint8) if self.frames >= 0 else None
    def close(self): pass
print("begun")
with CameraStream(Camera, give_up_after_s=0) as frames:
    try:
        print({frame.image.max() == 5 for frame in frames})
    except OSError as error:
        print(error)
"""


def test_a_class_in_the_script_itself_is_opened_and_the_script_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=30, check=True
    )
    lost = "Camera was lost and did not come back: the source gave no more frames"
    assert (done.stdout.splitlines(), done.stderr) == (["begun", lost], "")


def test_what_a_source_prints_stays_off_the_answers(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED.replace("def close(self): pass", "def close(self): print('bye')"))
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=30, check=True
    )
    assert "bye" not in done.stdout
    assert done.stderr == "bye\n"


def test_an_error_of_the_callback_ends_the_stream(tmp_path: Path) -> None:
    def fail(state: str, reason: str) -> None:
        raise LookupError(state + reason)

    with (
        CameraStream(camera(tmp_path, "", frames=ENDLESS), on_state=fail) as frames,
        pytest.raises(LookupError, match="running"),
    ):
        list(frames)


def test_a_stream_can_be_closed_by_its_callback(tmp_path: Path) -> None:
    with CameraStream(
        camera(tmp_path, "raises"),
        on_state=lambda state, _: state == "reconnecting" and frames.close(),
    ) as frames:
        seen = list(frames)
    assert 1 <= len(seen) <= 5


def test_the_process_imports_neither_torch_nor_an_interpreter(tmp_path: Path) -> None:
    with (
        CameraStream(camera(tmp_path, "tells its modules"), give_up_after_s=0) as frames,
        pytest.raises(SourceError, match="did not come back") as raised,
    ):
        list(frames)
    modules = set(str(raised.value).split(": ")[-1].split())
    assert "numpy" in modules
    assert not modules & {
        "torch",
        "ai_edge_litert",
        "tflite_runtime",
        "onnxruntime",
        "cv2",
        "click",
    }
