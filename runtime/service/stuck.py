"""What is done when a capture process hangs in the kernel: only a restart of the machine helps."""

import threading
from collections.abc import Callable

from leansight.runtime.stream.classified_stream import StreamResult


class StuckTimer:
    """Calls `end`, from a thread of its own, when the stream has been stuck for `after_s`."""

    trouble = ""

    def __init__(self, end: Callable[[], None], *, after_s: float = 60.0) -> None:
        self._end = end
        self._after_s = after_s
        self._timer: threading.Timer | None = None

    def write(self, result: StreamResult) -> None:
        """See `Output`."""
        if not result.health.is_stuck:
            self.close()
        elif self._timer is None:
            self._timer = threading.Timer(self._after_s, self._end)
            self._timer.daemon = True
            self._timer.start()

    def close(self) -> None:
        """See `Output`."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
