import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from leansight.benchmarks.measure import Settings, benchmark
from leansight.benchmarks.models import find_models
from leansight.benchmarks.probes.captured_frames import CapturedFrames
from leansight.benchmarks.results.result import Benchmark
from leansight.runtime.errors import SourceError
from leansight.runtime.stream.sources.opencv import OpenCvSource
from leansight.sdk.commands.bench import command

SHADES = (0, 60, 120, 180)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Four gray frames, each brighter than the one before."""
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12, (64, 48))
    for shade in SHADES:
        writer.write(np.full((48, 64, 3), shade, np.uint8))
    writer.release()
    return path


def shades_of(frames: CapturedFrames, count: int) -> list[int]:
    return [int(frames.read()[0].mean().round()) for _ in range(count)]


def test_a_video_begins_again_after_its_end(video: Path) -> None:
    frames = CapturedFrames(str(video))
    with frames.opened():
        assert shades_of(frames, 3) == pytest.approx(SHADES[:3], abs=3)
    with frames.opened():  # it goes on where it was
        assert shades_of(frames, 6) == pytest.approx((*SHADES, *SHADES)[3:9] + SHADES[:1], abs=3)
    frames.close()


def test_a_camera_is_let_go_between(video: Path) -> None:
    frames = CapturedFrames(f"file://{video}")  # what is not known to be finite is treated as one
    for _ in range(2):
        with frames.opened():
            assert shades_of(frames, 2) == pytest.approx(SHADES[:2], abs=3)
    with frames.opened(), pytest.raises(SourceError, match="gives no more frames"):
        shades_of(frames, 5)


def test_a_frame_has_the_time_that_it_took(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = OpenCvSource.read

    def slowly(self: OpenCvSource) -> object:
        time.sleep(0.02)
        return read(self)

    monkeypatch.setattr(OpenCvSource, "read", slowly)
    frames = CapturedFrames(str(video))
    with frames.opened():
        assert min(frames.read()[1] for _ in range(4)) >= 20e6
    frames.close()


def measured(bundle: Path, source: str) -> Benchmark:
    settings = Settings(frames=12, precision=None, profile=False)
    return benchmark(find_models([bundle], "tflite"), [], settings, capture=source)


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_capture_is_a_step_of_the_loop(tiny_bundle: Path, video: Path, scheme: str) -> None:
    longer = video.with_name("longer.avi")
    writer = cv2.VideoWriter(str(longer), cv2.VideoWriter.fourcc(*"MJPG"), 12, (640, 480))
    for shade in SHADES * 5:
        writer.write(np.full((480, 640, 3), shade, np.uint8))
    writer.release()
    (result,) = measured(tiny_bundle, f"{scheme}{longer}").results
    latency = result.latency_ms
    assert latency.capture is not None
    assert 0 < latency.capture.p50 <= latency.capture.p99
    # Of one frame the total is the sum; so the whole is at least the largest part.
    assert latency.total.max >= latency.capture.p50
    assert latency.total.p50 > latency.preprocess.p50 + latency.inference.p50


def test_a_source_that_is_not_there_is_one_line(tiny_bundle: Path) -> None:
    with pytest.raises(SourceError, match=r"nothing\.avi does not exist"):
        CapturedFrames("/nowhere/nothing.avi")
    words = [tiny_bundle, "--camera", "http://127.0.0.1:9/none", "--runs", "1"]
    done = CliRunner().invoke(command, [str(w) for w in words])
    assert done.exit_code == 1
    assert "cannot be opened as a video file or a stream" in str(done.exception)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--camera", "drive.avi"], "--camera drive.avi: a number, picamera2"),
        (["--camera", "-"], "--camera -: a number, picamera2"),
        (["--camera", "0", "--image", "a.png"], "--image or --camera: give one of them"),
        (["--camera", "0", "--with", "openvino"], "--with and --camera"),
    ],
)
def test_a_camera_that_makes_no_sense_is_refused(
    tiny_bundle: Path, words: list[str], message: str
) -> None:
    done = CliRunner().invoke(command, [str(tiny_bundle), *words])
    assert done.exit_code != 0
    assert message in " ".join(f"{done.output} {done.exception}".split())


def test_the_command_tells_capture(tiny_bundle: Path, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    words = [tiny_bundle, "--video", video, "--runs", "4", "--most-seconds", "0", "--out", out]
    done = CliRunner().invoke(command, [str(w) for w in words], catch_exceptions=False)
    assert "Capture" in done.stdout
    assert "of the video drive.avi, captured one by one" in " ".join(done.stdout.split())
    found = json.loads(out.read_text())
    assert all(row["latency_ms"]["capture"]["p50"] > 0 for row in found["results"])
