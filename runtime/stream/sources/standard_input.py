"""Frames that another program writes to standard input: JPEGs one after the other, Y4M, raw."""

import io
import math
import os
import stat
from typing import Final, Protocol

import numpy as np

from leansight.runtime.errors import DamagedFrameError, SourceOptionError
from leansight.runtime.preprocessing import Image
from leansight.runtime.stream.sources.jpeg_stream import JpegStream
from leansight.runtime.stream.sources.options import RawFormat, SourceOptions
from leansight.runtime.stream.sources.source import ColourOrder, FrameFormat
from leansight.runtime.stream.sources.y4m import (
    SIGNATURE,
    Y4mStream,
    yuv420_bytes,
    yuv420_to_bgr,
)

_BUFFER_BYTES: Final = 1024 * 1024
_ORDERS: Final[dict[RawFormat, ColourOrder]] = {
    "bgr24": "BGR",
    "rgb24": "RGB",
    "gray": "GRAY",
    "yuv420p": "BGR",
}
_H264: Final = (b"\0\0\0\1", b"\0\0\1")  # H.265 begins in the same way


def is_a_file(descriptor: int) -> bool:
    """Return whether a descriptor is of a file, which waits for its reader."""
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


class _Frames(Protocol):
    def read(self) -> Image | None: ...


class StandardInputSource:
    """What comes on standard input, of which `descriptor` is a copy.

    Raw pixels are read only where the options say what they are. Of a file in Y4M `position_s` is
    where the frame that was read last stands, in seconds.
    """

    def __init__(self, descriptor: int, options: SourceOptions) -> None:
        file = io.FileIO(descriptor, closefd=False)
        self._stream: io.BufferedReader = io.BufferedReader(file, _BUFFER_BYTES)
        self._is_a_file = is_a_file(descriptor)
        self._frames: _Frames | None = None
        self._options = options
        self.frame_format = FrameFormat()

    @property
    def position_s(self) -> float | None:
        """See `Source`."""
        if self._is_a_file and isinstance(self._frames, Y4mStream):
            return self._frames.position_s
        return None

    def read(self) -> Image | None:
        """See `Source`."""
        if self._frames is None:
            self._frames = self._open()
        return self._frames.read()

    def _open(self) -> _Frames:
        """Return what reads the frames, by what comes first."""
        head = self._stream.peek(1)
        if not head:
            raise SourceOptionError("standard input ended before the first frame")
        if self._options.raw and self._options.size:
            frames = _RawStream(self._stream, self._options.raw, self._options.size)
            self.frame_format = frames.frame_format
            return frames
        if head.startswith(_H264):
            raise SourceOptionError(
                "standard input is H.264 or H.265, and not JPEGs or Y4M: let rpicam-vid use the "
                "codec mjpeg, and ffmpeg the format mjpeg"
            )
        is_y4m = head.startswith(SIGNATURE[: len(head)])
        return Y4mStream(self._stream) if is_y4m else JpegStream(self._stream)

    def close(self) -> None:
        """See `Source`."""
        self._stream.close()


class _RawStream:
    """Frames without a header, one after the other."""

    def __init__(self, stream: io.BufferedReader, pixels: RawFormat, size: tuple[int, int]) -> None:
        width, height = size
        self._stream = stream
        self._is_yuv = pixels == "yuv420p"
        self._shape = (height, width) if pixels == "gray" else (height, width, 3)
        self.frame_format = FrameFormat(colour_order=_ORDERS[pixels], size=size)

    def read(self) -> Image | None:
        height, width = self._shape[:2]
        count = yuv420_bytes(width, height) if self._is_yuv else math.prod(self._shape)
        data = self._stream.read(count)
        if not data:
            return None
        if len(data) < count:
            raise DamagedFrameError("standard input ended within a frame")
        pixels = np.frombuffer(data, np.uint8)
        return yuv420_to_bgr(pixels, width, height) if self._is_yuv else pixels.reshape(self._shape)
