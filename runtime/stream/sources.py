"""Where frames come from: OpenCV, picamera2, or whatever has `read` and `close`."""

from pathlib import Path
from typing import Any, Final, Protocol

from leansight.runtime.errors import SourceError
from leansight.runtime.extras import opencv, require
from leansight.runtime.preprocessing import Image
from leansight.runtime.stream.motion_jpeg import strict_decoder

# cv2's CAP_PROP_FRAME_COUNT, CAP_PROP_FOURCC and CAP_PROP_FORMAT.
_FRAME_COUNT: Final = 7
_FOURCC: Final = 6
_FORMAT: Final = 8
_AS_IT_CAME: Final = -1  # a format: compressed, as the packets came
_MOTION_JPEG: Final = int.from_bytes(b"MJPG", "little")


class Source(Protocol):
    """Where frames come from. `read` returns None when there are no more, or the source is lost.

    It may raise DamagedFrameError, after which it is read again.
    """

    def read(self) -> Image | None:
        """Wait for the next frame and return it, (H, W, 3) uint8 BGR."""

    def close(self) -> None:
        """Release the device or connection; a second call does nothing."""


class OpenCvSource:
    """A camera number or path, a video file or a URL, read by OpenCV.

    `frame_count` is how many frames a finite video has, as its container says; None of a camera
    or a live stream, where OpenCV gives a negative count, or 0.
    """

    def __init__(self, source: str) -> None:
        check_exists(source)
        self._capture: Any = opencv().VideoCapture(int(source) if source.isdigit() else source)
        if not self._capture.isOpened():
            raise SourceError(f"{source} cannot be opened as a camera, a video file or a stream")
        count = int(self._capture.get(_FRAME_COUNT))
        self.frame_count = count if count > 0 else None
        self._decode = strict_decoder() if self._can_give_jpegs() else None

    def _can_give_jpegs(self) -> bool:
        """Let FFmpeg give a live stream's JPEGs as they come, so that damage is seen."""
        return (
            self.frame_count is None
            and int(self._capture.get(_FOURCC)) == _MOTION_JPEG
            and self._capture.getBackendName() == "FFMPEG"
            and bool(self._capture.set(_FORMAT, _AS_IT_CAME))
        )

    def read(self) -> Image | None:
        """See `Source`."""
        ok, image = self._capture.read()
        if not ok:
            return None
        return self._decode(image.tobytes()) if self._decode else image

    def close(self) -> None:
        """See `Source`."""
        self._capture.release()


def is_url(source: str) -> bool:
    """Return whether a name of a source is a URL."""
    return "://" in source


def check_exists(source: str) -> None:
    """Raise SourceError for a path where nothing is, but a device's: a camera may be late."""
    may_come = source.isdigit() or is_url(source) or source.startswith("/dev/")
    if not may_come and not Path(source).exists():
        raise SourceError(f"{source} does not exist: give a camera's number, a file or a URL")


class PiCamera2Source:
    """A Raspberry Pi camera through picamera2, which apt installs (python3-picamera2)."""

    def __init__(self, size: tuple[int, int] = (640, 480)) -> None:
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
        # picamera2's "RGB888" is blue, green, red in memory: OpenCV's order.
        self._camera.configure(
            self._camera.create_video_configuration(main={"size": size, "format": "RGB888"})
        )
        self._camera.start()

    def read(self) -> Image | None:
        """See `Source`."""
        image: Image = self._camera.capture_array()
        return image

    def close(self) -> None:
        """See `Source`."""
        self._camera.close()
