"""GStreamer pipelines: with GStreamer where it is installed, else with a stand-in."""

import shutil
import sys
import time
from pathlib import Path

import pytest

from leansight.runtime.errors import SourceError, SourceOptionError
from leansight.runtime.stream.camera_stream import CameraStream

# Does what the first element of its pipeline says; "fd=N" is where frames go.
STAND_IN = """#!{python}
import os, sys, time
elements = sys.argv[2:]
what = elements[0]
pipe = int(elements[-1].removeprefix("fd="))
assert sys.argv[1] == "-q" and "!" in elements and "y4menc" in elements, elements
if what == "unknown":
    print('WARNING: erroneous pipeline: no element "unknown"', file=sys.stderr)
    sys.exit(1)
if what == "unplugged":
    print("ERROR: from element /GstPipeline:p/GstV4l2Src:v: Cannot identify device '/dev/video9'.")
    print("Additional debug info:", file=sys.stderr)
    sys.exit(1)
os.write(pipe, b"YUV4MPEG2 C420jpeg W4 H2 Ip F30:1\\n")
for value in (16, 235, 126):
    os.write(pipe, b"FRAME\\n" + bytes([value] * 8 + [128] * 4))
    print("chatter " * 10000)
if what == "breaks":
    print("ERROR: from element /GstPipeline:p/GstV4l2Src:v: Could not read from resource.")
    sys.exit(1)
if what == "hangs":
    time.sleep(1000)
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "gst-launch-1.0"
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("stand_in")
def test_the_frames_of_a_pipeline_come_as_they_are() -> None:
    with CameraStream("gst:ends ! and so on", live=False) as frames:
        seen = [(frame.image.shape, round(frame.image.mean())) for frame in frames]
    assert seen == [((2, 4, 3), 0), ((2, 4, 3), 255), ((2, 4, 3), 128)]


@pytest.mark.usefixtures("stand_in")
def test_a_pipeline_that_cannot_be_is_one_error() -> None:
    message = r'^erroneous pipeline: no element "unknown". What is not installed may be in gstr'
    with (
        CameraStream("gst:unknown ! sink") as frames,
        pytest.raises(SourceError, match=message),
    ):
        list(frames)


@pytest.mark.usefixtures("stand_in", "impatient")
@pytest.mark.parametrize(
    ("pipeline", "reason"),
    [
        ("unplugged", "GStreamer: from element .*: Cannot identify device '/dev/video9'."),
        ("breaks", "GStreamer: from element .*: Could not read from resource."),
        ("ends", "the source gave no more frames"),
    ],
)
def test_a_pipeline_that_is_lost_says_why_and_is_opened_again(pipeline: str, reason: str) -> None:
    states = []
    message = f"^gst:{pipeline} was lost and did not come back: {reason}"
    with (
        CameraStream(
            f"gst:{pipeline}", give_up_after_s=0.5, on_state=lambda *told: states.append(told)
        ) as frames,
        pytest.raises(SourceError, match=message),
    ):
        list(frames)
    assert "reconnecting" in {state for state, _ in states}


@pytest.mark.usefixtures("stand_in")
def test_a_pipeline_that_hangs_is_ended_with_its_reader(tmp_path: Path) -> None:
    states = []
    with CameraStream(
        "gst:hangs", stale_after_s=0.5, on_state=lambda state, _: states.append(state)
    ) as frames:
        assert frames.take(20) is not None
        deadline = time.monotonic() + 20
        while "stale" not in states and time.monotonic() < deadline:
            time.sleep(0.01)
        assert frames.take(20) is not None  # of the next one
    assert "stale" in states
    deadline = time.monotonic() + 10
    while running(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not running(tmp_path)


def running(folder: Path) -> list[str]:
    """Return the command lines of processes that run this test's stand-in."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text()
        except OSError:  # it has ended
            continue
        if str(folder / "gst-launch-1.0") in command:
            found.append(command)
    return found


needs_gstreamer = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None, reason="needs GStreamer's tools"
)


@needs_gstreamer
def test_gstreamer_itself_gives_frames_in_the_right_colours() -> None:
    """Blue of 0x2060c0 is 0xc0: the pipeline's colours come through, whatever their matrix."""
    pipeline = (
        "gst:videotestsrc pattern=solid-color foreground-color=0xff2060c0 num-buffers=3 "
        "! video/x-raw,width=1280,height=720,framerate=10/1"
    )
    with CameraStream(pipeline, live=False) as frames:
        images = [frame.image for frame in frames]
    assert [image.shape for image in images] == [(720, 1280, 3)] * 3
    assert images[0][300, 300].tolist() == pytest.approx([0xC0, 0x60, 0x20], abs=4)


@needs_gstreamer
@pytest.mark.parametrize("pipeline", ["nosuchelement", "videotestsrc ! ! fakesink"])
def test_gstreamer_itself_refuses_what_is_no_pipeline(pipeline: str) -> None:
    with (
        CameraStream(f"gst:{pipeline}") as frames,
        pytest.raises(SourceOptionError, match=r"^erroneous pipeline: "),
    ):
        list(frames)
