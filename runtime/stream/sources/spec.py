"""Which source a name means, and what is to be known before it is opened."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from leansight.runtime.errors import SourceError
from leansight.runtime.stream.sources.gstreamer import GStreamerSource, check_gstreamer
from leansight.runtime.stream.sources.image_files import ImageFilesSource, is_numbered
from leansight.runtime.stream.sources.opencv import OpenCvSource
from leansight.runtime.stream.sources.options import SourceOptions
from leansight.runtime.stream.sources.picamera import PiCamera2Source, divided
from leansight.runtime.stream.sources.secrets import without_secrets
from leansight.runtime.stream.sources.source import Source
from leansight.runtime.stream.sources.standard_input import StandardInputSource, is_a_file
from leansight.runtime.stream.sources.v4l2 import V4l2Source
from leansight.runtime.stream.sources.view import View

_GSTREAMER: Final = "gst:"
_STANDARD_INPUT: Final = 0


@dataclass(frozen=True, kw_only=True)
class SourceSpec:
    """A source that can be opened, here or in another process.

    `live`: the newest frame wins; None: unless the source, once open, has a number of frames.
    `is_local`: unless it is live, it is read in the program itself. `descriptor`: of what is read,
    where that is open in the program already: it cannot be opened again, and its end is the end
    of the stream. `pace_fps`: no more than so many frames are read in a second.
    """

    name: str
    open: Callable[[], Source]
    view: View
    live: bool | None = True
    is_local: bool = False
    descriptor: int | None = None
    pace_fps: float | None = None


def spec_of(source: str | Callable[[], Source], options: SourceOptions) -> SourceSpec:
    """Return what `source` means: a name (see `CameraStream`), or a function that opens one.

    Raises:
        SourceError: there is no such file, or a program is missing that the source needs.
        SourceOptionError: the source has no such option.

    """
    if not isinstance(source, str):
        options.check_allowed("a source of your own", ())
        function = source.func if isinstance(source, partial) else source
        name = getattr(function, "__name__", "the source")
        return SourceSpec(name=name, open=source, view=options.view, is_local=True)
    if source == "-":
        return _standard_input(options)
    opener: Callable[[], Source]
    view = options.view
    live: bool | None = True
    if source == "picamera2":
        options.check_allowed(source, ("size", "fps", "exposure_us", "gain", "white_balance"))
        in_camera, view = divided(options)
        opener = partial(PiCamera2Source, in_camera)
    elif source.startswith(_GSTREAMER):
        options.check_allowed("a GStreamer pipeline", ())
        check_gstreamer()
        opener = partial(GStreamerSource, source.removeprefix(_GSTREAMER))
    elif source.isdigit() or source.startswith("/dev/"):
        options.check_allowed("a camera of V4L2", ("size", "fps", "mjpg"))
        opener = partial(V4l2Source, source, options)
    elif "://" in source:
        options.check_allowed("a URL", ())
        opener, live = partial(OpenCvSource, source), None
    else:
        return _files(source, options)
    return SourceSpec(name=without_secrets(source), open=opener, view=view, live=live)


def _standard_input(options: SourceOptions) -> SourceSpec:
    options.check_allowed("standard input", ("raw", "size") if options.raw else ())
    if os.isatty(_STANDARD_INPUT):
        raise SourceError("standard input is a terminal: pipe the frames of a program into it")
    try:
        descriptor = os.dup(_STANDARD_INPUT)  # the process that reads has another standard input
    except OSError as error:
        raise SourceError(
            "standard input is closed: pipe the frames of a program into it"
        ) from error
    return SourceSpec(
        name="standard input",
        open=partial(StandardInputSource, descriptor, options),
        view=options.view,
        live=not is_a_file(descriptor),
        descriptor=descriptor,
    )


def _files(name: str, options: SourceOptions) -> SourceSpec:
    """Return a video, the images of a folder, or those that a pattern means."""
    options.check_allowed("a file", ("fps",))
    path = Path(name)
    are_images = path.is_dir() or (not path.exists() and is_numbered(name) and path.parent.is_dir())
    if not are_images and not path.exists():
        raise SourceError(
            f"{name} does not exist: give a camera's number, a file, a folder or a URL"
        )
    opener: Callable[[], Source] = partial(OpenCvSource, name)
    if are_images:
        opener = partial(ImageFilesSource, name, options.fps)
    return SourceSpec(
        name=name,
        open=opener,
        view=options.view,
        live=False,
        is_local=True,
        pace_fps=options.fps,
    )
