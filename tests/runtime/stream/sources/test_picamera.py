from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from streams import number_of

from leansight.runtime.errors import (
    BrokenPackageError,
    MissingExtraError,
    SourceError,
    SourceOptionError,
)
from leansight.runtime.stream.camera_stream import CameraStream
from leansight.runtime.stream.sources.options import SourceOptions
from leansight.runtime.stream.sources.picamera import PiCamera2Source, divided, flips_of
from leansight.runtime.stream.sources.view import Flip, Rotation

# As picamera2's manual has it: a configuration is made, may be adjusted by the camera, and controls
# are set by libcamera's names; `limits` are the camera's ranges (least, most, default).
FAKE_PICAMERA2 = """
import time
from pathlib import Path
from streams import numbered

class Picamera2:
    size = None
    camera_controls = {{
        "FrameDurationLimits": (20000, 1000000, 33333),
        "ExposureTime": (100, 500000, 20000),
        "AnalogueGain": (1.0, 16.0, 1.0),
        "AwbMode": (0, 7, 0),
        "ColourGains": (0.0, 32.0, None),
    }}
    def __init__(self):
        {first}
        self.note = Path(__file__).with_name("done.txt").open("a", buffering=1)
    def create_video_configuration(self, main, transform):
        return {{"main": main, "transform": transform}}
    def configure(self, configuration):
        print("configure", configuration, file=self.note)
        self.configuration = configuration
        self.configuration["main"]["size"] = self.size or configuration["main"]["size"]
    def camera_configuration(self):
        return self.configuration
    def set_controls(self, controls):
        unknown = set(controls) - set(self.camera_controls)
        assert not unknown, unknown
        print("controls", controls, file=self.note)
    def start(self):
        print("start", file=self.note)
    def capture_array(self):
        time.sleep(0.001)
        return numbered(7)
    def close(self):
        print("close", file=self.note)
"""
# As libcamera's Python bindings have them.
FAKE_LIBCAMERA = """
import enum

class controls:
    class AwbModeEnum(enum.IntEnum):
        Auto = 0
        Incandescent = 1
        Tungsten = 2
        Fluorescent = 3
        Indoor = 4
        Daylight = 5
        Cloudy = 6
        Custom = 7

class Transform:
    def __init__(self, hflip=0, vflip=0):
        self.flips = int(hflip), int(vflip)
    def __repr__(self):
        return "hflip {} vflip {}".format(*self.flips)
"""
FRAME = (128, 32)


@pytest.fixture
def fake_picamera2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what puts a picamera2 in place that does something first, and notes what is done."""

    def write(first: str) -> None:
        (tmp_path / "picamera2.py").write_text(FAKE_PICAMERA2.format(first=first))
        (tmp_path / "libcamera.py").write_text(FAKE_LIBCAMERA)

    monkeypatch.syspath_prepend(tmp_path)
    return write


def note_of(folder: Path, options: SourceOptions | None = None) -> list[str]:
    """Return what was done with the camera to take one frame."""
    with CameraStream("picamera2", options=options) as frames:
        assert frames.live
        frame = next(iter(frames))
    assert frame.image.shape == (32, 128, 3)
    return (folder / "done.txt").read_text().splitlines()


def test_the_pis_camera_is_configured_read_and_closed(
    fake_picamera2: Callable[[str], None], tmp_path: Path
) -> None:
    fake_picamera2("pass")
    with CameraStream("picamera2", options=SourceOptions(size=FRAME)) as frames:
        assert frames.live
        frame = next(iter(frames))
    assert number_of(frame.image) == 7
    main = {"size": FRAME, "format": "RGB888"}
    assert (tmp_path / "done.txt").read_text().splitlines() == [
        f"configure {{'main': {main}, 'transform': hflip 0 vflip 0}}",
        "controls {}",
        "start",
        "close",
    ]


def test_without_options_it_gives_640_by_480(
    fake_picamera2: Callable[[str], None], tmp_path: Path
) -> None:
    fake_picamera2("self.capture_array = lambda: numbered(7)[:1].repeat(480, 0).repeat(5, 1)")
    with CameraStream(PiCamera2Source) as frames:
        assert next(iter(frames)).image.shape == (480, 640, 3)
    assert "'size': (640, 480)" in (tmp_path / "done.txt").read_text()


@pytest.mark.parametrize(
    ("options", "controls"),
    [
        (SourceOptions(fps=50), "{'FrameDurationLimits': (20000, 20000)}"),
        (SourceOptions(exposure_us=5000), "{'ExposureTime': 5000}"),
        (
            SourceOptions(exposure_us=50_000),
            "{'FrameDurationLimits': (50000, 50000), 'ExposureTime': 50000}",
        ),
        (SourceOptions(gain=2.5), "{'AnalogueGain': 2.5}"),
        (SourceOptions(white_balance="daylight"), "{'AwbMode': <AwbModeEnum.Daylight: 5>}"),
        (SourceOptions(white_balance=(1.8, 1.5)), "{'ColourGains': (1.8, 1.5)}"),
    ],
)
def test_options_become_libcameras_controls(
    fake_picamera2: Callable[[str], None], tmp_path: Path, options: SourceOptions, controls: str
) -> None:
    fake_picamera2("pass")
    assert f"controls {controls}" in note_of(tmp_path, replace(options, size=FRAME))


@pytest.mark.parametrize(
    ("rotate", "flip", "transform"),
    [
        (0, "h", "hflip 1 vflip 0"),
        (0, "v", "hflip 0 vflip 1"),
        (180, None, "hflip 1 vflip 1"),
        (180, "h", "hflip 0 vflip 1"),
        (180, "v", "hflip 1 vflip 0"),
    ],
)
def test_the_camera_itself_turns_by_180_degrees_and_flips(
    fake_picamera2: Callable[[str], None],
    tmp_path: Path,
    rotate: Rotation,
    flip: Flip | None,
    transform: str,
) -> None:
    fake_picamera2("pass")
    note = note_of(tmp_path, SourceOptions(size=FRAME, rotate=rotate, flip=flip))
    assert transform in note[0]


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", [None, "h", "v"])
def test_what_the_camera_does_not_do_is_done_to_its_frames(
    rotate: Rotation, flip: Flip | None
) -> None:
    """The camera's flips and the view of what it gives are together what was asked for."""
    options = SourceOptions(rotate=rotate, flip=flip, roi=(1, 0, 3, 4))
    sensor = np.random.default_rng(1).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    in_camera, view = divided(options)
    hflip, vflip = flips_of(in_camera)
    given = sensor[:: -1 if vflip else 1, :: -1 if hflip else 1]
    assert np.array_equal(view.of(given), options.view.of(sensor))


@pytest.mark.parametrize(
    ("first", "options", "notice"),
    [
        (
            "self.size = (128, 32)",
            SourceOptions(size=(130, 33)),
            "the Pi's camera gives 128x32 ",
        ),
        (
            "pass",
            SourceOptions(size=FRAME, gain=32),
            "the Pi's camera has AnalogueGain from 1.0 to 16.0, and not 32",
        ),
        (
            "pass",
            SourceOptions(size=FRAME, fps=90),
            "the Pi's camera has FrameDurationLimits from 20000 to 1000000, and not (11111, 11111)",
        ),
    ],
)
def test_what_the_camera_does_not_grant_is_said(
    fake_picamera2: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
    first: str,
    options: SourceOptions,
    notice: str,
) -> None:
    fake_picamera2(first)
    with CameraStream("picamera2", options=options) as frames:
        next(iter(frames))
    assert [record.message[: len(notice)] for record in caplog.records] == [notice]


def test_a_control_that_the_camera_does_not_have_is_an_error(
    fake_picamera2: Callable[[str], None],
) -> None:
    fake_picamera2("del self.camera_controls['AwbMode']")
    with (
        CameraStream("picamera2", options=SourceOptions(white_balance="cloudy")) as frames,
        pytest.raises(SourceOptionError, match=r"^the Pi's camera has no control AwbMode$"),
    ):
        list(frames)


@pytest.mark.parametrize("options", [SourceOptions(rotate=90), SourceOptions(roi=(0, 0, 5, 5))])
def test_what_the_camera_itself_cannot_do_is_refused(
    fake_picamera2: Callable[[str], None], options: SourceOptions
) -> None:
    fake_picamera2("pass")
    with (
        CameraStream(partial(PiCamera2Source, options)) as frames,
        pytest.raises(SourceOptionError, match="turns by 180 degrees only, and has no regions"),
    ):
        list(frames)


def test_frames_of_another_size_than_configured_are_refused(
    fake_picamera2: Callable[[str], None],
) -> None:
    fake_picamera2("pass")
    reason = r"DataError: the source gave \(32, 128, 3\) .*, and not \(480, 640, 3\) uint8 w"
    with (
        CameraStream("picamera2", give_up_after_s=0) as frames,
        pytest.raises(SourceError, match=reason),
    ):
        list(frames)


def test_without_picamera2_the_way_to_get_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "picamera2.py").write_text("raise ModuleNotFoundError(name='picamera2')")
    monkeypatch.syspath_prepend(tmp_path)
    with (
        CameraStream(PiCamera2Source) as frames,
        pytest.raises(MissingExtraError, match=r"Type: sudo apt install python3-picamera2 \("),
    ):
        list(frames)


def test_a_picamera2_that_cannot_be_imported_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "picamera2.py").write_text("raise ImportError('no libcamera.so.0.5')")
    monkeypatch.syspath_prepend(tmp_path)
    with (
        CameraStream(PiCamera2Source) as frames,
        pytest.raises(BrokenPackageError, match=r"cannot be imported: no libcamera.so.0.5. Type:"),
    ):
        list(frames)


@pytest.mark.parametrize("error", ["IndexError('list index out of range')", "RuntimeError('busy')"])
def test_a_pi_without_a_camera_says_so(fake_picamera2: Callable[[str], None], error: str) -> None:
    fake_picamera2(f"raise {error}")
    message = f"Pi's camera cannot be opened: {error.split(chr(39))[1]}. Check its"
    with (
        CameraStream(PiCamera2Source, give_up_after_s=0) as frames,
        pytest.raises(SourceError, match=message),
    ):
        list(frames)
