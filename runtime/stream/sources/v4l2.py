"""Frames from a camera of Video4Linux (V4L2), such as a USB camera, read by OpenCV."""

from typing import Any, Final

from leansight.runtime.errors import SourceError
from leansight.runtime.extras import opencv
from leansight.runtime.preprocessing import Image
from leansight.runtime.stream.sources.motion_jpeg import strict_decoder, strict_decoder_notice
from leansight.runtime.stream.sources.options import SourceOptions

# cv2's CAP_V4L2, and its CAP_PROP_FRAME_WIDTH, _FRAME_HEIGHT, _FPS, _FOURCC and _CONVERT_RGB.
_V4L2: Final = 200
_WIDTH: Final = 3
_HEIGHT: Final = 4
_FPS: Final = 5
_FOURCC: Final = 6
_CONVERT_TO_BGR: Final = 16
_MOTION_JPEG: Final = int.from_bytes(b"MJPG", "little")
_COMPRESSED: Final = (_MOTION_JPEG, int.from_bytes(b"JPEG", "little"))
_SAME_RATE: Final = 0.01  # drivers give rates as fractions, such as 30000/1001


class V4l2Source:
    """A camera by its number or path. What it does not grant is its `notice`.

    Compressed frames are decoded here, so that damage is seen. Their size may change.
    """

    def __init__(self, device: str, options: SourceOptions) -> None:
        name = int(device) if device.isdigit() else device
        self._capture: Any = opencv().VideoCapture(name, _V4L2)
        if not self._capture.isOpened():
            raise SourceError(f"{device} cannot be opened as a camera")
        # The format first: sizes and rates depend on it.
        if options.mjpg:
            self._capture.set(_FOURCC, _MOTION_JPEG)
        if options.size:
            self._capture.set(_WIDTH, options.size[0])
            self._capture.set(_HEIGHT, options.size[1])
        if options.fps:
            self._capture.set(_FPS, options.fps)
        gives_jpegs = int(self._capture.get(_FOURCC)) in _COMPRESSED and bool(
            self._capture.set(_CONVERT_TO_BGR, 0)
        )
        self._decode = strict_decoder() if gives_jpegs else None
        unnoticed = strict_decoder_notice() if gives_jpegs else ""
        self.notice = "; ".join(filter(None, (self._not_granted(device, options), unnoticed)))

    def _not_granted(self, device: str, options: SourceOptions) -> str:
        """Return what the camera does otherwise than it was asked to; nothing: an empty text."""
        size = int(self._capture.get(_WIDTH)), int(self._capture.get(_HEIGHT))
        fps = self._capture.get(_FPS)
        differences = []
        if options.mjpg and int(self._capture.get(_FOURCC)) != _MOTION_JPEG:
            differences.append("no motion JPEG")
        if options.size not in (None, size):
            differences.append("{}x{} pixels".format(*size))
        if options.fps and abs(fps - options.fps) > _SAME_RATE * options.fps:
            differences.append(f"{fps:g} frames a second" if fps > 0 else "a rate it does not tell")
        return f"camera {device} gives {' and '.join(differences)}" if differences else ""

    def read(self) -> Image | None:
        """See `Source`."""
        ok, image = self._capture.read()
        if not ok:
            return None
        return self._decode(image.tobytes()) if self._decode else image

    def close(self) -> None:
        """See `Source`."""
        self._capture.release()
