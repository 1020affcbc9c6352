"""Frames from a video file or a network stream, read by OpenCV with FFmpeg."""

from typing import Any, Final

from leansight.runtime.errors import SourceError
from leansight.runtime.extras import opencv
from leansight.runtime.preprocessing import Image
from leansight.runtime.stream.sources.motion_jpeg import strict_decoder, strict_decoder_notice
from leansight.runtime.stream.sources.secrets import without_secrets

# cv2's CAP_PROP_POS_MSEC, CAP_PROP_FRAME_COUNT, CAP_PROP_FOURCC and CAP_PROP_FORMAT.
_POSITION_MS: Final = 0
_FRAME_COUNT: Final = 7
_FOURCC: Final = 6
_FORMAT: Final = 8
_AS_IT_CAME: Final = -1  # a format: compressed, as the packets came
_MOTION_JPEG: Final = int.from_bytes(b"MJPG", "little")


class OpenCvSource:
    """A video file or a URL, read by OpenCV.

    `frame_count` is how many frames a finite video has, as its container says; None of a live
    stream, where OpenCV gives a negative count, or 0. `position_s` is where in a finite video
    the frame that was read last stands, in seconds.
    """

    def __init__(self, source: str) -> None:
        self._capture: Any = opencv().VideoCapture(source)
        if not self._capture.isOpened():
            shown = without_secrets(source)
            raise SourceError(f"{shown} cannot be opened as a video file or a stream")
        count = int(self._capture.get(_FRAME_COUNT))
        self.frame_count = count if count > 0 else None
        self.position_s: float | None = None
        self._decode = strict_decoder() if self._can_give_jpegs() else None
        self.notice = strict_decoder_notice() if self._decode else ""

    def _can_give_jpegs(self) -> bool:
        """Let FFmpeg give the JPEGs of motion JPEG as they come, so that damage is seen."""
        return (
            int(self._capture.get(_FOURCC)) == _MOTION_JPEG
            and self._capture.getBackendName() == "FFMPEG"
            and bool(self._capture.set(_FORMAT, _AS_IT_CAME))
        )

    def read(self) -> Image | None:
        """See `Source`."""
        ok, image = self._capture.read()
        if not ok:
            return None
        if self.frame_count is not None:
            self.position_s = self._capture.get(_POSITION_MS) / 1000
        return self._decode(image.tobytes()) if self._decode else image

    def close(self) -> None:
        """See `Source`."""
        self._capture.release()
