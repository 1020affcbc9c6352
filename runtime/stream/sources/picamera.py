"""Frames from a Raspberry Pi's own camera, by picamera2."""

from typing import Any

from leansight.runtime.errors import SourceError
from leansight.runtime.extras import require
from leansight.runtime.preprocessing import Image


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
