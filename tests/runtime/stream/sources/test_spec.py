import os
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from leansight.runtime.errors import SourceError, SourceOptionError
from leansight.runtime.stream.sources.gstreamer import GStreamerSource
from leansight.runtime.stream.sources.image_files import ImageFilesSource
from leansight.runtime.stream.sources.opencv import OpenCvSource
from leansight.runtime.stream.sources.options import SourceOptions
from leansight.runtime.stream.sources.picamera import PiCamera2Source
from leansight.runtime.stream.sources.spec import spec_of
from leansight.runtime.stream.sources.v4l2 import V4l2Source

NOTHING = SourceOptions()


@pytest.mark.parametrize(
    ("name", "opener", "live"),
    [
        ("0", V4l2Source, True),
        ("/dev/video7", V4l2Source, True),
        ("picamera2", PiCamera2Source, True),
        ("http://camera.local/stream.mjpg", OpenCvSource, None),
        ("rtsp://camera.local:554/live", OpenCvSource, None),
        ("photos", ImageFilesSource, False),
        ("photos/%04d.jpg", ImageFilesSource, False),
        ("drive.mp4", OpenCvSource, False),
    ],
)
def test_a_name_means_a_kind_of_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, opener: type, live: object
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "drive.mp4").touch()
    monkeypatch.chdir(tmp_path)
    spec = spec_of(name, NOTHING)
    assert isinstance(spec.open, partial)
    assert spec.open.func is opener
    assert spec.live is live


@pytest.mark.parametrize("name", ["no.mp4", "nothing/%d.jpg", "pipeline"])
def test_a_path_where_nothing_is_is_refused(name: str) -> None:
    with pytest.raises(SourceError, match=f"^{name} does not exist: give a camera's number, a f"):
        spec_of(name, NOTHING)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("0", SourceOptions(gain=2.0), "a camera of V4L2 has no gain"),
        ("picamera2", SourceOptions(mjpg=True), "picamera2 has no mjpg"),
        ("http://camera/", SourceOptions(fps=5), "a URL has no fps"),
        (".", SourceOptions(size=(4, 4)), "a file has no size"),
        ("-", SourceOptions(size=(4, 4)), "standard input has no size"),
        ("-", SourceOptions(fps=3.0), "standard input has no fps"),
        ("gst:videotestsrc", SourceOptions(mjpg=True), "a GStreamer pipeline has no mjpg"),
    ],
)
def test_an_option_that_a_source_does_not_have_is_refused(
    name: str, options: SourceOptions, message: str
) -> None:
    with pytest.raises(SourceOptionError, match=f"^{message}$"):
        spec_of(name, options)


def test_a_source_of_ones_own_is_turned_and_cut_and_has_no_other_option() -> None:
    spec = spec_of(dict, SourceOptions(rotate=90))
    assert (spec.name, spec.view.rotate) == ("dict", 90)
    with pytest.raises(SourceOptionError, match="a source of your own has no fps"):
        spec_of(dict, SourceOptions(fps=3.0))


def test_a_pipeline_needs_gstreamers_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    message = r"^gst-launch-1.0 is not installed. Type: sudo apt install gstreamer1.0-tools "
    with pytest.raises(SourceError, match=message):
        spec_of("gst:videotestsrc", NOTHING)
    program = tmp_path / "gst-launch-1.0"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    spec = spec_of("gst:videotestsrc", NOTHING)
    assert isinstance(spec.open, partial)
    assert (spec.open.func, spec.open.args) == (GStreamerSource, ("videotestsrc",))


def test_a_terminal_is_no_source() -> None:
    terminal, other_side = os.openpty()
    standard_input = os.dup(0)
    os.dup2(other_side, 0)
    try:
        with pytest.raises(SourceError, match=r"^standard input is a terminal: pipe the frames"):
            spec_of("-", NOTHING)
    finally:
        os.dup2(standard_input, 0)
        for descriptor in (standard_input, terminal, other_side):
            os.close(descriptor)


def test_without_a_standard_input_there_are_no_frames() -> None:
    standard_input = os.dup(0)
    os.close(0)
    try:
        with pytest.raises(SourceError, match=r"^standard input is closed: pipe the frames"):
            spec_of("-", NOTHING)
    finally:
        os.dup2(standard_input, 0)
        os.close(standard_input)


def test_the_picture_of_a_folder_is_no_pattern(tmp_path: Path) -> None:
    """A folder may be called like a pattern, and a video may have a percent sign."""
    folder = tmp_path / "100%done"
    folder.mkdir()
    cv2.imwrite(str(folder / "1.png"), np.zeros((4, 4, 3), np.uint8))
    source = spec_of(str(folder), NOTHING).open()
    assert isinstance(source, ImageFilesSource)
    assert source.frame_count == 1
