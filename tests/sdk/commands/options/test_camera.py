"""The options of a stream's source, as they are typed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import pytest
import tiny_models
from command_line import MAIN, leansight

from leansight.runtime.stream.sources.options import SourceOptions
from leansight.sdk.commands.options.camera import camera_options


def gathered(*typed: str) -> tuple[str, SourceOptions, bool]:
    """Return what a command gets of what was typed."""
    got: list[Any] = []

    @click.command()
    @camera_options
    def command(**values: object) -> None:
        got.extend(values[name] for name in ("source", "source_options", "every_frame"))

    command.main(list(typed), standalone_mode=False)
    source, options, every_frame = got
    return source, options, every_frame


def test_without_options_a_camera_is_left_as_it_is() -> None:
    assert gathered() == ("0", SourceOptions(), False)


@pytest.mark.parametrize(
    ("typed", "options"),
    [
        ("--size 1280x720 --fps 30 --mjpg", SourceOptions(size=(1280, 720), fps=30, mjpg=True)),
        ("--exposure 5000 --gain 2.5", SourceOptions(exposure_us=5000, gain=2.5)),
        ("--white-balance cloudy", SourceOptions(white_balance="cloudy")),
        ("--white-balance 1.8,1.5", SourceOptions(white_balance=(1.8, 1.5))),
        ("--raw rgb24 --size 8x6", SourceOptions(raw="rgb24", size=(8, 6))),
        ("--rotate 90 --flip v", SourceOptions(rotate=90, flip="v")),
        ("--roi 100,50,640,480", SourceOptions(roi=(100, 50, 640, 480))),
        ("--roi 0.25,0,0.5,1", SourceOptions(roi=(0.25, 0.0, 0.5, 1.0))),
    ],
)
def test_options_are_what_is_asked_of_the_source(typed: str, options: SourceOptions) -> None:
    _, got, _ = gathered(*typed.split())
    assert got == options
    assert [type(number) for number in got.roi or ()] == [type(n) for n in options.roi or ()]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("--size 1280", "'1280' is no size such as 1280x720"),
        ("--size 0x720", "size must be two whole numbers above 0, not (0, 720)"),
        ("--roi 1,2,3", "'1,2,3' is no region such as 100,50,640,480 or 0.25,0,0.5,1"),
        ("--roi 0.5,0,0.6,1", "roi must be x, y, width and height: pixels, or fractions"),
        ("--white-balance sunny", "'sunny' is neither auto, incandescent, "),
        ("--raw gray", "raw pixels need their size"),
        ("--exposure 50000 --fps 30", "leave no time for an exposure of 50000 microseconds"),
        ("--gain 2", "a camera of V4L2 has no gain (--gain)"),
        ("--source nothing.mp4", "nothing.mp4 does not exist: give a camera's number, a file"),
        ("--source . --roi 9,9,9,9", "the region 9,9,9,9 (x, y, width, height) does not lie in"),
    ],
)
def test_what_is_wrong_is_one_line(
    tmp_path: Path, tiny_bundle: Path, typed: str, message: str
) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((4, 4, 3), np.uint8))
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "stream", str(tiny_bundle), *typed.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "label"),
    [
        ("--roi 0,0,16,16", "level"),
        ("--roi 0,16,16,16", "upright"),
        ("--roi 0,0.5,1,0.5", "upright"),
        ("--rotate 90 --roi 0,0,16,16", "level"),
        ("--rotate 90 --roi 16,0,16,16", "upright"),
        ("--rotate 180 --flip h --roi 0,0,16,16", "upright"),
    ],
)
def test_a_folder_is_classified_turned_and_cut(
    tmp_path: Path, tiny_bundle: Path, options: str, label: str
) -> None:
    """Stripes lie in the upper half and stand in the lower one, which a turn brings to the left."""
    folder = tmp_path / "photos"
    folder.mkdir()
    picture = np.vstack([tiny_models.stripes(half, 16) for half in ("level", "upright")])
    for name in ("2.png", "10.png"):
        cv2.imwrite(str(folder / name), picture)
    done = leansight(
        "stream", tiny_bundle, "--source", folder, "--fps", 50, "--json", *options.split()
    )
    assert done.stderr == ""
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["label"] for line in lines] == [label] * 2
    assert [line["position"] for line in lines] == [0, 0.02]


# Is asked for 1280x720 pixels, and gives one frame of 64x48 after the other.
CAMERA = """
import time, numpy
class Picamera2:
    camera_controls = {}
    def create_video_configuration(self, main, transform): return main
    def configure(self, main): pass
    def camera_configuration(self): return {"main": {"size": (64, 48), "format": "RGB888"}}
    def set_controls(self, controls): pass
    def start(self): pass
    def close(self): pass
    def capture_array(self):
        time.sleep(0.01)
        return numpy.random.randint(0, 256, (48, 64, 3)).astype(numpy.uint8)
"""


def test_what_the_camera_does_not_grant_is_said_on_standard_error(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    (tmp_path / "picamera2.py").write_text(CAMERA)
    (tmp_path / "libcamera.py").write_text("class Transform:\n    def __init__(self, **_): pass\n")
    typed = ("--source", "picamera2", "--size", "1280x720", "--json")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {MAIN}"
    with subprocess.Popen(
        [sys.executable, "-c", program, "stream", str(tiny_bundle), *typed],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert any("frame" in json.loads(line) for line in process.stdout)
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert "the Pi's camera gives 64x48 pixels" in errors.splitlines()
