"""Sources that are late, lost, hanging or crashing: noticed, said, and opened again."""

import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from programs.cameras import camera, openings
from streams import MotionJpegServer, number_of

from leansight.runtime.errors import SourceError
from leansight.runtime.stream.camera_stream import CameraStream
from leansight.runtime.stream.capture import process, supervisor
from leansight.runtime.stream.capture.health import Health

ENDLESS = -1


class States:
    """What `on_state` was told, and when."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.at: dict[str, float] = {}

    def __call__(self, state: str, reason: str) -> None:
        self.told.append((state, reason))
        self.at.setdefault(state, time.monotonic())


@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        ("is lost", "the source gave no more frames"),
        ("raises", "RuntimeError: the driver failed"),
        ("crashes", "its process ended by itself: SIGSEGV"),
        ("is gray", "DataError: the source gave (24, 32) uint8, and not (H, W, 3) uint8"),
    ],
)
def test_a_lost_source_is_opened_again_and_the_numbers_go_on(
    tmp_path: Path, fate: str, reason: str
) -> None:
    states = States()
    with CameraStream(camera(tmp_path, fate, "is lost"), on_state=states) as frames:
        seen = [(frame.number, frame.image[0, 0, 0]) for frame in itertools.islice(frames, 8)]
    assert states.told[:3] == [("running", ""), ("reconnecting", reason), ("running", "")]
    numbers = [number for number, _ in seen]
    assert numbers == sorted(set(numbers))
    assert [brightness for _, brightness in seen if brightness == 1] == [1, 1]


def test_a_read_that_hangs_is_noticed_within_two_seconds_and_its_process_killed(
    tmp_path: Path,
) -> None:
    states = States()
    with CameraStream(camera(tmp_path, "hangs", ""), on_state=states) as frames:
        last = max(frame.monotonic_s for frame in itertools.islice(frames, 5))
        again = next(iter(frames))
    assert states.told[:4] == [
        ("running", ""),
        ("stale", "no frame for 2 s"),
        ("reconnecting", "no frame for 2 s"),
        ("running", ""),
    ]
    assert 2.0 <= states.at["stale"] - last < 2.5
    assert again.monotonic_s - states.at["stale"] < 2
    assert openings(tmp_path) == 2


def test_a_server_that_falls_silent_is_noticed_and_read_again() -> None:
    states = States()
    with (
        MotionJpegServer(-20, float("inf")) as server,
        CameraStream(server.url, on_state=states, stale_after_s=0.5) as frames,
    ):
        assert any(number_of(frame.image) > 25 for frame in frames)
    assert [state for state, _ in states.told] == ["running", "stale", "reconnecting", "running"]


def test_a_server_that_comes_back_is_read_on() -> None:
    with MotionJpegServer(20, 0, 0, 20, float("inf")) as server, CameraStream(server.url) as frames:
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


def test_a_camera_that_is_late_is_waited_for(tmp_path: Path) -> None:
    states = States()
    with CameraStream(camera(tmp_path, "is away", "is away", ""), on_state=states) as frames:
        assert frames.health.state == "reconnecting"
        first = next(iter(frames))
        assert frames.health == Health(state="running")
    assert first.number == 0
    assert states.told == [("reconnecting", "no camera is plugged in"), ("running", "")]


def test_an_opening_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_OPENING_S", 0.5)
    states = States()
    with CameraStream(camera(tmp_path, "does not open", ""), on_state=states) as frames:
        next(iter(frames))
    assert states.told == [("reconnecting", "it did not open in time"), ("running", "")]


@pytest.mark.parametrize("fate", ["is away", "does not open", "raises", "hangs"])
def test_giving_up_takes_no_longer_than_asked(
    tmp_path: Path, fate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_OPENING_S", 0.5)
    opener = camera(tmp_path, fate, frames=0 if fate == "raises" else 1)
    started = time.monotonic()
    with (
        CameraStream(opener, give_up_after_s=1, stale_after_s=0.3) as frames,
        pytest.raises(SourceError, match=r"^open_camera was lost and did not come back: "),
    ):
        list(frames)
    assert 1 <= time.monotonic() - started < 3


def test_a_source_that_gives_few_frames_each_time_counts_as_lost(tmp_path: Path) -> None:
    """The times between the processes must grow all the same, or they would fill a processor."""
    end = time.monotonic() + 10
    with (
        CameraStream(camera(tmp_path, "crashes", frames=2), give_up_after_s=3) as frames,
        pytest.raises(SourceError, match="did not come back: its process ended by itself: SIGSEGV"),
    ):
        list(itertools.takewhile(lambda _: time.monotonic() < end, frames))
    assert 3 <= openings(tmp_path) <= 5  # begun at 0, 0.1 to 0.3, 0.8, 1.8 s


def test_frames_for_a_second_end_the_loss(tmp_path: Path) -> None:
    with CameraStream(camera(tmp_path, "is lost", frames=65), give_up_after_s=2.5) as frames:
        for frame in frames:
            if frame.number >= 215:  # in the fourth process, three seconds after the first loss
                break
    assert openings(tmp_path) == 4


def test_a_process_that_cannot_be_started_is_tried_again_and_leaves_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = States()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", str(tmp_path / "no-python"))
        frames = CameraStream(camera(tmp_path, "", frames=ENDLESS), on_state=states)
        time.sleep(0.3)
        before = descriptors()
        time.sleep(1)
        assert descriptors() == before
    with frames:
        next(iter(frames))
    assert states.told[0][0] == "reconnecting"
    assert states.told[0][1].startswith("no process can be started: [Errno 2] No such file")


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_sixty_lost_cameras_leave_no_descriptor_and_no_thread_behind(tmp_path: Path) -> None:
    fates = ["is lost", "raises", "crashes", "hangs"] * 20
    opener = camera(tmp_path, *fates, frames=3)
    measured = []
    with CameraStream(opener, stale_after_s=0.3) as frames:
        for frame in frames:
            if frame.image[0, 0, 0] == 1 and openings(tmp_path) % 6 == 0:
                measured.append((descriptors(), threading.active_count()))
            if openings(tmp_path) > 66:
                break
    opened, threads = zip(*measured, strict=True)
    assert max(opened) <= opened[0] + 1  # one more while a process starts
    assert set(threads) == {threads[0]}


@pytest.mark.slow
def test_a_process_that_loses_eighty_cameras_holds_no_more_memory() -> None:
    """In a process of its own: what else a test worker has loaded takes and gives back more."""
    script = Path(__file__).parents[3] / "perf" / "reopened_cameras.py"
    ran = subprocess.run(
        [sys.executable, str(script), "--cycles", "80"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_what_hangs_in_the_kernel_is_said_and_nothing_stale_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process in state D does, ours outlives SIGKILL: it is not sent."""
    monkeypatch.setattr(subprocess.Popen, "kill", lambda _: None)
    monkeypatch.setattr(process, "KILL_TIMEOUT_S", 0.2)
    states = States()
    with CameraStream(camera(tmp_path, "hangs", ""), on_state=states, stale_after_s=0.3) as frames:
        numbers = []
        next(iter(frames))
        reader = threading.Thread(target=lambda: numbers.append(next(iter(frames)).number))
        deadline = time.monotonic() + 60
        while "hangs in the kernel" not in frames.health.reason and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)  # four more frames have come, and the last one has grown old
        reader.start()
        time.sleep(0.3)
        assert frames.health.state == "stale"
        pid = int(frames.health.reason.split()[3])
        assert frames.health.reason.startswith(
            f"the capture process {pid} cannot be ended: it hangs in the kernel"
        )
        assert (openings(tmp_path), numbers) == (1, [])
        os.kill(pid, signal.SIGKILL)
        reader.join(timeout=60)
        assert (openings(tmp_path), numbers) == (2, [5])
        monkeypatch.undo()


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_what_hangs_in_the_kernel_is_given_up_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess.Popen, "kill", lambda _: None)
    monkeypatch.setattr(process, "KILL_TIMEOUT_S", 0.2)
    opener = camera(tmp_path, "hangs")
    started = time.monotonic()
    with (
        CameraStream(opener, stale_after_s=0.3, give_up_after_s=1) as frames,
        pytest.raises(SourceError, match=r"did not come back: .* hangs in the kernel") as raised,
    ):
        list(frames)
    assert 1 < time.monotonic() - started < 4
    assert openings(tmp_path) == 1
    pid = int(str(raised.value).partition("process ")[2].split()[0])
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    del frames, raised
    gc.collect()  # the warning that is ignored above, and not in another test


def test_what_a_source_does_not_grant_is_said_once_each_time_that_it_is_opened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with CameraStream(camera(tmp_path, "tells a notice", "is lost"), give_up_after_s=30) as frames:
        list(itertools.islice(frames, 8))
    assert [record.message for record in caplog.records] == ["it gives 5 frames a second"]
