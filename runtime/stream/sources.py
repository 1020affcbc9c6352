"""Where frames come from: OpenCV, picamera2, or whatever has `read` and `close`."""

from pathlib import Path
from typing import Any, Protocol

from leansight.runtime.errors import SourceError
from leansight.runtime.extras import opencv, require
from leansight.runtime.preprocessing import Image


class Source(Protocol):
    """Where frames come from. `read` returns None when there are no more, or the source is lost."""

    def read(self) -> Image | None:
        """Wait for the next frame and return it, (H, W, 3) uint8 BGR."""

    def close(self) -> None:
        """Release the device or connection; a second call does nothing."""


class OpenCvSource:
    """A camera number, a video file or a URL, read by OpenCV."""

    def __init__(self, source: str) -> None:
        if not source.isdigit() and "://" not in source and not Path(source).exists():
            raise SourceError(f"{source} does not exist: give a camera's number, a file or a URL")
        self._capture: Any = opencv().VideoCapture(int(source) if source.isdigit() else source)
        if not self._capture.isOpened():
            raise SourceError(f"{source} cannot be opened as a camera, a video file or a stream")

    def read(self) -> Image | None:
        """See `Source`."""
        ok, image = self._capture.read()
        return image if ok else None

    def close(self) -> None:
        """See `Source`."""
        self._capture.release()


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
