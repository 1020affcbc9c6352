"""How a stream is stopped: between two results, never in the middle of one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Final, Self

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Stopping:
    """SIGTERM (systemd's) ends the program with exit code 0, Ctrl-C as it ends every command.

    What is `uninterrupted` is finished before. A second SIGTERM changes nothing; a second Ctrl-C
    ends at once.
    """

    def __init__(self) -> None:
        self.asked: int | None = None  # the signal
        self._is_busy = False
        self._exit_code = 0

    def __enter__(self) -> Self:
        self._before = [signal.signal(number, self._ask) for number in _SIGNALS]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in zip(_SIGNALS, self._before, strict=True):
            signal.signal(number, handler)

    def end(self, exit_code: int) -> None:
        """End the program as SIGTERM does, from any thread, with another exit code."""
        self._exit_code = exit_code
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    @contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """Let a signal wait until the end of the `with`."""
        self._is_busy = True
        try:
            yield
        finally:
            self._is_busy = False
        if self.asked is not None:
            self._raise(self.asked)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        is_first = self.asked is None
        self.asked = self.asked or number
        if (is_first and not self._is_busy) or (not is_first and number == signal.SIGINT):
            self._raise(number)

    def _raise(self, number: int) -> None:
        if number == signal.SIGTERM:
            raise SystemExit(self._exit_code)
        raise KeyboardInterrupt
