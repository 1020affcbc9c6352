"""Options of a stream's source."""

from collections.abc import Callable
from typing import Any, Final, get_args

import click

from leansight.runtime.stream.camera_stream import CameraStream
from leansight.runtime.stream.sources.options import (
    RAW_FORMATS,
    WHITE_BALANCE_MODES,
    SourceOptions,
    WhiteBalanceMode,
)
from leansight.runtime.stream.sources.view import Flip, Region
from leansight.sdk.commands.options.grouping import Command, options_of
from leansight.sdk.system.text import echo, printable


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Return the numbers of 1280x720."""
    if value is None:
        return None
    width, _, height = value.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise click.BadParameter(f"{value!r} is no size such as 1280x720", ctx, param)
    return int(width), int(height)


def _white_balance(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> WhiteBalanceMode | tuple[float, float] | None:
    """Return a mode, or the gains of red and blue."""
    mode = next((mode for mode in WHITE_BALANCE_MODES if mode == value), None)
    if value is None or mode:
        return mode
    try:
        red, blue = map(float, value.split(","))
    except ValueError as error:
        modes = ", ".join(WHITE_BALANCE_MODES)
        raise click.BadParameter(
            f"{value!r} is neither {modes} nor two gains such as 1.8,1.5", ctx, param
        ) from error
    return red, blue


def _region(ctx: click.Context, param: click.Parameter, value: str | None) -> Region | None:
    """Return four whole numbers, or, if one has a point, four fractions."""
    if value is None:
        return None
    kind: Callable[[str], float] = float if "." in value else int
    try:
        x, y, width, height = map(kind, value.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"{value!r} is no region such as 100,50,640,480 or 0.25,0,0.5,1", ctx, param
        ) from error
    return x, y, width, height


def _degrees(ctx: click.Context, param: click.Parameter, value: str | None) -> int:
    del ctx, param
    return int(value or 0)


source_option = click.option(
    "--source",
    default="0",
    show_default=True,
    help="A camera's number or path, picamera2, a video file, a folder of images or numbered ones "
    "(frames/%04d.jpg), a URL, gst: and a GStreamer pipeline, or - for standard input.",
)
every_frame_option = click.option(
    "--every-frame",
    is_flag=True,
    help="Classify every frame of a live source, however late: without it the newest one wins.",
)
_OPTIONS: Final[tuple[Callable[[Command], Command], ...]] = (
    click.option("--size", callback=_size, metavar="WxH", help="Size of a camera's frames."),
    click.option(
        "--fps",
        type=click.FloatRange(0, min_open=True),
        help="Frames a second of a camera; of a file or folder, the pace at which it is read.",
    ),
    click.option("--mjpg", is_flag=True, help="Take compressed frames from a USB camera."),
    click.option(
        "--exposure",
        "exposure_us",
        type=click.IntRange(min=1),
        metavar="MICROSECONDS",
        help="Exposure of picamera2.",
    ),
    click.option("--gain", type=click.FloatRange(1), help="Analogue gain of picamera2."),
    click.option(
        "--white-balance",
        callback=_white_balance,
        metavar="MODE|RED,BLUE",
        help=f"White balance of picamera2: {', '.join(WHITE_BALANCE_MODES)}, or two gains.",
    ),
    click.option(
        "--raw",
        type=click.Choice(RAW_FORMATS),
        help="Standard input is pixels without a header, of --size.",
    ),
    click.option(
        "--rotate",
        type=click.Choice(["90", "180", "270"]),
        callback=_degrees,
        help="Turn each frame clockwise.",
    ),
    click.option(
        "--flip",
        type=click.Choice(get_args(Flip)),
        help="Then swap left and right (h), or top and bottom (v).",
    ),
    click.option(
        "--roi",
        callback=_region,
        metavar="X,Y,W,H",
        help="Then classify this region alone: pixels, or fractions such as 0.25,0,0.5,1.",
    ),
)


def camera_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `source`, `every_frame` and, as `source_options`, what is asked of the source."""
    asked = options_of(SourceOptions, "source_options", _OPTIONS)
    return source_option(asked(every_frame_option(command)))


def open_source(source: str, options: SourceOptions, *, every_frame: bool) -> CameraStream:
    """Return the frames of a source; what it does not grant is said on standard error."""

    def on_notice(text: str) -> None:
        echo(printable(text), err=True)

    live = False if every_frame else None
    return CameraStream(source, options=options, live=live, on_notice=on_notice)
