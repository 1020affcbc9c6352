"""Reads a source frame by frame: checks each, turns and crops it, numbers it, keeps the pace."""

import itertools
import time
from typing import Any, Final

from leansight.runtime.stream.capture.frame_slot import Frame
from leansight.runtime.stream.sources.source import FrameFormat
from leansight.runtime.stream.sources.spec import SourceSpec

_ANY: Final = FrameFormat()


class FrameReader:
    """An open source; its whole frames are numbered from `first_number` on.

    `frame_count` and `notice` are what the source tells (see `Source`); `frames_read` is how many
    frames have come, the damaged ones among them.

    Raises:
        SourceError, ...: what opening the source raises.

    """

    def __init__(self, spec: SourceSpec, first_number: int = 0) -> None:
        self._spec = spec
        self._source: Any = spec.open()
        self._numbers = itertools.count(first_number)
        self._next_s = time.monotonic()
        self.frame_count: int | None = getattr(self._source, "frame_count", None)
        self.notice: str = getattr(self._source, "notice", "")
        self.frames_read = 0

    def read(self) -> Frame | None:
        """Wait for the next frame and return it; None when there are no more.

        Raises:
            DamagedFrameError: it arrived damaged; the next one may be whole.
            DataError: it is not as the source declares.
            SourceOptionError: the region does not lie in it.

        """
        self._keep_pace()
        self.frames_read += 1
        image = self._source.read()
        monotonic_s, time_s = time.monotonic(), time.time()
        if image is None:
            self.frames_read -= 1
            return None
        declared: FrameFormat = getattr(self._source, "frame_format", _ANY)
        return Frame(
            image=self._spec.view.of(declared.to_bgr(image)),
            number=next(self._numbers),
            time_s=time_s,
            monotonic_s=monotonic_s,
            position_s=getattr(self._source, "position_s", None),
        )

    def _keep_pace(self) -> None:
        if self._spec.pace_fps is not None:
            now_s = time.monotonic()
            time.sleep(max(0, self._next_s - now_s))
            self._next_s = max(self._next_s, now_s) + 1 / self._spec.pace_fps

    def close(self) -> None:
        """Release the source; a second call does nothing."""
        self._source.close()
