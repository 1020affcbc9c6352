"""Frames from a Raspberry Pi's own camera, by picamera2."""

from dataclasses import replace
from types import ModuleType
from typing import Any, Final

from leansight.runtime.errors import SourceError, SourceOptionError
from leansight.runtime.extras import require
from leansight.runtime.preprocessing import Image
from leansight.runtime.stream.sources.options import SourceOptions
from leansight.runtime.stream.sources.source import FrameFormat
from leansight.runtime.stream.sources.view import View

_DEFAULT_SIZE: Final = (640, 480)
_DEFAULT_FPS: Final = 30.0  # picamera2's own, of a video
_BGR: Final = "RGB888"  # picamera2 names the bytes from the last to the first
_SECOND_US: Final = 1_000_000
_HALF_TURN: Final = 180


class PiCamera2Source:
    """A Raspberry Pi camera through picamera2, which apt installs (python3-picamera2).

    The camera itself turns by 180 degrees and flips; for other turns, and for a region, give the
    options to `CameraStream`. What the camera does not grant is the `notice`. Controls are those
    of libcamera, as picamera2's manual has them.

    Raises:
        SourceError: there is no camera, or another program uses it.
        SourceOptionError: the camera has no such control, or cannot turn so, or has no regions.

    """

    def __init__(self, options: SourceOptions | None = None) -> None:
        picamera2 = require(
            "picamera2", package="picamera2", extra=None, system_package="python3-picamera2"
        )
        try:
            self._camera: Any = picamera2.Picamera2()
        except (IndexError, RuntimeError) as error:  # what it raises where there is no camera
            raise SourceError(
                f"the Pi's camera cannot be opened: {error}. Check its cable, and that no other "
                "program uses it (rpicam-hello shows it)"
            ) from error
        try:
            self._begin(options or SourceOptions())
        except BaseException:
            self._camera.close()
            raise

    def _begin(self, options: SourceOptions) -> None:
        """Configure the camera as was asked, and start it."""
        libcamera = require(
            "libcamera", package="libcamera", extra=None, system_package="python3-libcamera"
        )
        if divided(options)[0] != options:
            raise SourceOptionError("the Pi's camera turns by 180 degrees only, and has no regions")
        size = options.size or _DEFAULT_SIZE
        hflip, vflip = flips_of(options)
        self._camera.configure(
            self._camera.create_video_configuration(
                main={"size": size, "format": _BGR},
                transform=libcamera.Transform(hflip=hflip, vflip=vflip),
            )
        )
        main = self._camera.camera_configuration()["main"]
        if main["format"] != _BGR:
            raise SourceError(f"the Pi's camera gives {main['format']}, and not {_BGR}")
        granted = tuple(main["size"])
        self.frame_format = FrameFormat(size=granted, stride_bytes=granted[0] * 3)
        self.notice = (
            "" if granted == size else "the Pi's camera gives {}x{} pixels".format(*granted)
        )
        self._set_controls(_controls(options, libcamera))
        self._camera.start()

    def _set_controls(self, controls: dict[str, Any]) -> None:
        ranges = self._camera.camera_controls
        for name, value in controls.items():
            if name not in ranges:
                raise SourceOptionError(f"the Pi's camera has no control {name}")
            low, high, *_ = ranges[name]
            least, most = (min(value), max(value)) if isinstance(value, tuple) else (value, value)
            if name != "AwbMode" and not low <= least <= most <= high:
                limits = f"the Pi's camera has {name} from {low} to {high}, and not {value}"
                self.notice = "; ".join(filter(None, (self.notice, limits)))
        self._camera.set_controls(controls)

    def read(self) -> Image | None:
        """See `Source`."""
        image: Image = self._camera.capture_array()
        return image

    def close(self) -> None:
        """See `Source`."""
        self._camera.close()


def flips_of(options: SourceOptions) -> tuple[bool, bool]:
    """Return whether the camera itself flips left and right, top and bottom."""
    is_turned = options.rotate == _HALF_TURN
    return is_turned != (options.flip == "h"), is_turned != (options.flip == "v")


def divided(options: SourceOptions) -> tuple[SourceOptions, View]:
    """Return what the camera itself does of the options, and what is left to do to its frames."""
    if options.rotate in (0, _HALF_TURN):
        return replace(options, roi=None), View(roi=options.roi)
    return replace(options, rotate=0, flip=None, roi=None), options.view


def _controls(options: SourceOptions, libcamera: ModuleType) -> dict[str, Any]:
    """Return libcamera's controls.

    Automatic exposure and white balance are not switched off beside them: a fixed value does that,
    and AeEnable would freeze values that are not set yet (raspberrypi/picamera2, issue 933).
    """
    controls: dict[str, Any] = {}
    duration_us = round(_SECOND_US / (options.fps or _DEFAULT_FPS))
    if options.fps or (options.exposure_us or 0) > duration_us:
        # A frame takes no less time than its exposure, which libcamera would cut.
        duration_us = max(duration_us, options.exposure_us or 0)
        controls["FrameDurationLimits"] = (duration_us, duration_us)
    if options.exposure_us:
        controls["ExposureTime"] = options.exposure_us
    if options.gain:
        controls["AnalogueGain"] = options.gain
    if isinstance(options.white_balance, tuple):
        controls["ColourGains"] = options.white_balance
    elif options.white_balance:
        modes = libcamera.controls.AwbModeEnum
        controls["AwbMode"] = getattr(modes, options.white_balance.capitalize())
    return controls
