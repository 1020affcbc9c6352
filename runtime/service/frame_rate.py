"""How many frames a second a stream gives."""

from collections import deque
from typing import Final

from leansight.runtime.stream.classified_stream import StreamResult

WINDOW_S: Final = 3.0


class FrameRate:
    """Frames a second, over the last three seconds of results."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque()

    def add(self, result: StreamResult) -> float:
        """Count the result's frame, if it has one; return frames a second, 0 where none came."""
        if result.frame is not None:
            self._times_s.append(result.monotonic_s)
        while self._times_s and self._times_s[0] < result.monotonic_s - WINDOW_S:
            self._times_s.popleft()
        span_s = self._times_s[-1] - self._times_s[0] if self._times_s else 0
        return (len(self._times_s) - 1) / span_s if span_s > 0 else 0.0
