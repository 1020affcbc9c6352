"""JPEGs one after the other in a stream of bytes, with nothing that must part them."""

import io
import re
from typing import Final

from leansight.runtime.errors import SourceOptionError
from leansight.runtime.preprocessing import Image
from leansight.runtime.stream.sources.motion_jpeg import strict_decoder

_START: Final = b"\xff\xd8\xff"
# In the data of pixels 0xff is followed by 0 or by the number of a restart; else it is a marker.
_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_START_OF_IMAGE: Final = 0xD8
_END_OF_IMAGE: Final = 0xD9
_CHUNK_BYTES: Final = 256 * 1024
# What is longer is something else: a JPEG, and what stands before the first one or between two.
_LONGEST_JPEG_BYTES: Final = 64 * 1024 * 1024
_LONGEST_GAP_BYTES: Final = 1024 * 1024


class JpegStream:
    """Frames from a stream of JPEGs; each is given as soon as its last byte is there."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream
        self._splitter = JpegSplitter()
        self._decode = strict_decoder()

    def read(self) -> Image | None:
        """Return the next frame, (H, W, 3) uint8 BGR; None at the end.

        Raises:
            DamagedFrameError: it is damaged, or the stream ends within it.
            SourceOptionError: the stream has something else than JPEGs.

        """
        count = 0
        while (jpeg := self._splitter.next()) is None:
            data = self._stream.read1(_CHUNK_BYTES)
            if not data:
                jpeg = self._splitter.rest()
                break
            self._splitter.feed(data)
            count += len(data)
            if count > (_LONGEST_JPEG_BYTES if self._splitter.has_begun else _LONGEST_GAP_BYTES):
                raise SourceOptionError(f"{count} bytes have come, and no whole JPEG")
        return None if jpeg is None else self._decode(jpeg)


class JpegSplitter:
    """Takes bytes as they come, and gives each JPEG as soon as its last byte is there.

    Markers are followed from one to the next (ITU-T T.81, B.1.1), so that a thumbnail inside one
    does not end it. A JPEG that the next one interrupts is given as far as it goes.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._at = 0  # where the next marker is looked for; 0 before the start of a JPEG

    def feed(self, data: bytes) -> None:
        """Add what has come."""
        self._bytes += data

    @property
    def has_begun(self) -> bool:
        """Whether a JPEG has begun and not ended."""
        return self._at > 0

    def rest(self) -> bytes | None:
        """Return the JPEG that has begun when the stream ends, None if there is none."""
        return self._take(len(self._bytes)) if self._at else None

    def next(self) -> bytes | None:
        """Return the next JPEG, None until more has come."""
        if not self._at and not self._find_start():
            return None
        while marker := _MARKER.search(self._bytes, self._at):
            match self._bytes[marker.start() + 1]:
                case code if code == _START_OF_IMAGE:
                    return self._take(marker.start())
                case code if code == _END_OF_IMAGE:
                    return self._take(marker.end())
            after = marker.end() + 2
            if after > len(self._bytes):
                self._at = marker.start()
                return None
            self._at = marker.end() + int.from_bytes(self._bytes[marker.end() : after], "big")
        self._at = max(self._at, len(self._bytes) - 1)
        return None

    def _find_start(self) -> bool:
        start = self._bytes.find(_START)
        del self._bytes[: start if start >= 0 else max(len(self._bytes) - len(_START) + 1, 0)]
        self._at = len(_START) - 1 if start >= 0 else 0
        return start >= 0

    def _take(self, end: int) -> bytes:
        jpeg = bytes(self._bytes[:end])
        del self._bytes[:end]
        self._at = 0
        return jpeg
