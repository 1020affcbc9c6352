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
        ("--size 0x720", "size must be two whole numbers above 0, not (0, 720) (--size)"),
        ("--roi 1,2,3", "'1,2,3' is no region such as 100,50,640,480 or 0.25,0,0.5,1"),
        ("--roi 0.5,0,0.6,1", "roi must be x, y, width and height: pixels, or fractions"),
        ("--white-balance sunny", "'sunny' is neither auto, incandescent, "),
        ("--raw gray", "raw pixels need their size (--size)"),
        ("--exposure 50000 --fps 30", "leave no time for an exposure of 50000 microseconds (--exp"),
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
        ((), "upright"),
        (("--rotate", "90"), "level"),
        (("--rotate", "180", "--flip", "h"), "upright"),
        (("--roi", "0,0,16,16"), "plain"),
        (("--rotate", "90", "--roi", "0,0,0.5,1.0"), "level"),
    ],
)
def test_a_folder_is_classified_turned_and_cut(
    tmp_path: Path, tiny_bundle: Path, options: tuple[str, ...], label: str
) -> None:
    """Stripes are in the lower half of the picture, which stands on the left when it is turned."""
    folder = tmp_path / "photos"
    folder.mkdir()
    picture = np.vstack([np.full((16, 16), 128, np.uint8), tiny_models.stripes("upright", 16)])
    for name in ("2.png", "10.png"):
        cv2.imwrite(str(folder / name), picture)
    done = leansight("stream", tiny_bundle, "--source", folder, "--fps", 50, "--json", *options)
    assert done.stderr == ""
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["label"] for line in lines] == [label] * 2
    assert [line["position"] for line in lines] == [0, 0.02]
