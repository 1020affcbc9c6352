"""Frames as a source gives them, each with the time that it took: capture as a timed step."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from leansight.runtime.errors import DamagedFrameError, SourceError
from leansight.runtime.preprocessing import Image
from leansight.runtime.stream.capture.frame_reader import FrameReader
from leansight.runtime.stream.sources.options import SourceOptions
from leansight.runtime.stream.sources.spec import spec_of


class CapturedFrames:
    """The frames of a video, again from the start after its end, or of a camera or a URL.

    A camera is open only inside of `opened`, so that another process can have it meanwhile; a
    video stays open.

    Raises:
        SourceError: there is no such file, or what the source needs is missing.

    """

    def __init__(self, source: str) -> None:
        self._spec = spec_of(source, SourceOptions())
        self._reader: FrameReader | None = None

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Have the source open inside of the `with`; SourceError if it cannot be."""
        if self._reader is None:
            self._reader = FrameReader(self._spec)
        try:
            yield
        finally:
            if self._spec.live is not False:
                self.close()

    def read(self) -> tuple[Image, int]:
        """Wait for a frame; return it, (H, W, 3) uint8 BGR, and the nanoseconds that it took.

        To begin a video again takes no time. Damaged frames are passed over, and cost theirs.

        Raises:
            SourceError: there are no more frames.

        """
        reader = self._open_reader()
        start = time.perf_counter_ns()
        while (frame := _whole_frame(reader)) is None:
            if self._spec.live is not False or reader.frames_read == 0:
                raise SourceError(f"{self._spec.name} gives no more frames")
            self.close()
            reader = self._open_reader()
            start = time.perf_counter_ns()
        return frame, time.perf_counter_ns() - start

    def _open_reader(self) -> FrameReader:
        if self._reader is None:
            self._reader = FrameReader(self._spec)
        return self._reader

    def close(self) -> None:
        """Release the source; it is opened again where it is needed."""
        if self._reader is not None:
            self._reader.close()
        self._reader = None


def _whole_frame(reader: FrameReader) -> Image | None:
    while True:
        try:
            frame = reader.read()
        except DamagedFrameError:
            continue
        return None if frame is None else frame.image
