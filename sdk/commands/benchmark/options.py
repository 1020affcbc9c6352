"""The options of `leansight bench`, in four objects: how, on what, where, and what is written."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from leansight.benchmarks.peers.catalogue import PEERS
from leansight.sdk.commands.options.grouping import Several, options_of
from leansight.sdk.commands.options.images import PATH
from leansight.sdk.commands.options.model import threads_option
from leansight.sdk.commands.options.percent import Percent
from leansight.sdk.commands.options.remote import remote_python_option

if TYPE_CHECKING:
    from leansight.benchmarks.emulation.emulated_pi import Board
    from leansight.benchmarks.measure import Settings


@dataclass(frozen=True, kw_only=True)
class MeasuringOptions:
    """How to measure; see `leansight.benchmarks.Settings`."""

    runs: int
    precision: float
    most_seconds: float
    hang_seconds: float
    threads: int

    def settings(self) -> "Settings":
        """Return them as the library takes them."""
        from leansight.benchmarks.measure import Settings

        return Settings(
            frames=self.runs,
            precision=self.precision,
            most_s=self.most_seconds,
            threads=self.threads,
            hang_s=self.hang_seconds,
        )


measuring_options = options_of(
    MeasuringOptions,
    "measuring",
    [
        click.option(
            "--runs",
            type=click.IntRange(min=1),
            default=200,
            show_default=True,
            help="Timed frames of each model, at least.",
        ),
        click.option(
            "--precision",
            type=Percent(),
            default="2%",
            show_default=True,
            help="Add frames until undisturbed times and ratios are known to this, either way.",
        ),
        click.option(
            "--most-seconds",
            type=click.FloatRange(min=0),
            default=60,
            show_default=True,
            help="Add no more frames after so many seconds.",
        ),
        click.option(
            "--hang-seconds",
            type=click.FloatRange(min=0, min_open=True),
            default=60,
            show_default=True,
            help="Give a model up that is silent for so long.",
        ),
        threads_option,
    ],
)


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """What models classify: one of a picture, a video, labelled images; else what is generated."""

    image: Path | None
    video: Path | None
    camera: str | None
    data: Path | None
    labels: Path | None

    def __post_init__(self) -> None:
        sources = ("image", "video", "camera")
        given = [f"--{name}" for name in sources if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' or '.join(given)}: give one of them")
        camera = self.camera
        if camera is not None and not (
            camera.isdigit()
            or camera == "picamera2"
            or camera.startswith(("/dev/", "gst:"))
            or "://" in camera
        ):
            raise ValueError(
                f"--camera {camera}: a number, picamera2, /dev/video0, gst:PIPELINE or a URL is "
                "expected; a file is --video"
            )


picture_options = options_of(
    PictureOptions,
    "pictures",
    [
        click.option(
            "--image",
            type=PATH,
            help="The picture to classify.  [default: shades and noise, 640 x 480 pixels]",
        ),
        click.option(
            "--video",
            type=PATH,
            help="A video whose frames are classified; to capture them is timed as well.",
        ),
        click.option(
            "--camera",
            metavar="SOURCE",
            help="A camera of the machine that measures: a number, picamera2, /dev/video0, "
            "gst:PIPELINE or a URL. To capture includes waiting for the next frame.",
        ),
        click.option(
            "--data",
            type=PATH,
            help="Labelled images: time on them, and tell how often each file is right.",
        ),
        click.option(
            "--labels",
            type=PATH,
            metavar="FILE",
            help="Labels of bare files, one a line.  [default: those of --data, by the alphabet]",
        ),
    ],
)


@dataclass(frozen=True, kw_only=True)
class ResultFiles:
    """Where results are written, beside the screen."""

    out: Path | None
    html: Path | None
    csv_file: Path | None
    markdown: Path | None
    as_json: bool


result_files = options_of(
    ResultFiles,
    "files",
    [
        click.option("--out", type=PATH, help="Write all that was measured to this JSON file."),
        click.option("--html", type=PATH, help="Write a page with pictures, in one file."),
        click.option("--csv", "csv_file", type=PATH, help="Write a line for each model."),
        click.option("--markdown", type=PATH, help="Write a table for a page or a pull request."),
        click.option(
            "--json",
            "as_json",
            is_flag=True,
            help="Print a JSON list with an object for each model.",
        ),
    ],
)


@dataclass(frozen=True, kw_only=True)
class PlaceOptions:
    """Where to measure: on this machine, or on others over SSH."""

    on: tuple[str, ...]
    remote_python: str | None
    install: bool
    emulate: "tuple[Board, ...]"
    peers: tuple[str, ...]
    wheel: Path | None

    def __post_init__(self) -> None:
        if self.install and not self.on:
            raise ValueError("--install is for other machines: name one with --on")
        if self.peers and self.on:
            raise ValueError("--with measures on this machine: leave --on out")
        if unknown := set(self.peers) - set(PEERS):
            raise ValueError(f"--with {', '.join(unknown)}: known are {', '.join(PEERS)}")
        if self.wheel is not None and not (self.install or self.emulate):
            raise ValueError("--wheel is what --install and --emulate take along")
        if len(set(self.on)) < len(self.on):
            raise ValueError("--on: name each machine once")


place_options = options_of(
    PlaceOptions,
    "places",
    [
        click.option(
            "--on",
            metavar="PI@HOST",
            multiple=True,
            help="Measure on another machine, over SSH; it must have the same version of "
            "leansight, or --install. More than once: on all of them at the same time.",
        ),
        remote_python_option,
        click.option(
            "--install",
            is_flag=True,
            help="Bring leansight and an environment along to machines that have only Python; "
            "both are removed at the end.",
        ),
        click.option(
            "--with",
            "peers",
            type=Several(str, "openvino,opencv-dnn"),
            default=(),
            help="Also measure the same files in other runtimes, each in an environment that is "
            f"made when it is missing: {', '.join(PEERS)}.",
        ),
        click.option(
            "--emulate",
            type=click.Choice(["pi4", "pi5"]),
            multiple=True,
            help="Also count the instructions of a frame in an emulated Pi: work, not time. "
            "Pictures are prepared by leansight's C library, as a Pi does that installed a wheel "
            "for ARM; Debian's tools are needed, and named where they are missing.",
        ),
        click.option(
            "--wheel",
            type=PATH,
            help="The wheel that --install and --emulate take along.  "
            "[default: this leansight, packed]",
        ),
    ],
)
