"""Hands the newest frame of the capture process at work to whoever asks for it."""

import threading
import time
from dataclasses import replace

from leansight.runtime.stream.capture.frame_slot import Frame
from leansight.runtime.stream.capture.process import ChildProcess


class NewestFrame:
    """Where the thread that watches the process and the one that takes frames meet.

    No frame is given twice, and none that is older than `stale_after_s`.
    """

    def __init__(self, stale_after_s: float) -> None:
        self.is_finite = False  # then each frame is asked for, and none is too old
        self._stale_after_s = stale_after_s
        self._changed = threading.Condition()
        self._process: ChildProcess | None = None
        # Numbers in the process at work, and how many frames there were in those before it.
        self._written = 0
        self._seen = 0
        self._before = 0
        self._has_ended = False
        self._error: Exception | None = None

    def attach(self, process: ChildProcess) -> None:
        """Give the frames of this process from now on."""
        with self._changed:
            self._detach()
            self._process = process

    def arrived(self, number: int) -> None:
        """Note that a frame with this number is in the slot."""
        with self._changed:
            self._written = number
            self._changed.notify_all()

    def hang_up(self) -> None:
        """Let the process at work know that nobody wants more frames."""
        with self._changed:
            if self._process is not None:
                self._process.hang_up()

    def end(self, error: Exception | None) -> None:
        """Give no frames after the last one, but raise the error, if there is one."""
        with self._changed:
            self._has_ended, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        """Let go of the process at work, and of a frame that nobody has taken."""
        with self._changed:
            self._detach()

    def take(self, timeout_s: float | None = None) -> Frame | None:
        """Wait for a frame and return it; None when the stream has ended.

        Raises:
            TimeoutError: there was none in so many seconds.

        """
        with self._changed:
            while True:
                if not self._changed.wait_for(self._has_news, timeout_s):
                    raise TimeoutError(f"no frame for {timeout_s} s")
                if self._written <= self._seen:
                    break
                if (frame := self._read()) is not None:
                    return frame
            if self._error is not None:
                raise self._error
            return None

    def _has_news(self) -> bool:
        return self._written > self._seen or self._has_ended

    def _read(self) -> Frame | None:
        """Return the frame in the slot, None if it is too old or a newer one is on its way."""
        assert self._process is not None
        frame = self._process.slot.read()
        self._seen = self._written if frame is None else max(self._written, frame.number)
        if self.is_finite:
            self._process.ask()
        elif frame is not None and time.monotonic() - frame.monotonic_s > self._stale_after_s:
            return None
        return frame and replace(frame, number=self._before + frame.number - 1)

    def _detach(self) -> None:
        self._before += max(self._written, self._seen)
        self._written = self._seen = 0
        if self._process is not None:
            self._process.close()
        self._process = None
