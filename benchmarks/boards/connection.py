"""Lines to and from a process, none of which is waited for without end."""

import os
import select
import subprocess
import time
from typing import Final

_PIECE: Final = 1 << 16  # bytes
_LONGEST_LINE: Final = 1 << 24


class SilentError(Exception):
    """The other side has neither said nor taken anything for so long."""


class EndlessError(Exception):
    """The other side has said more in one line than any answer has."""


class Connection:
    """The two pipes of a process: `send` and `line` give up after some seconds of silence."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._to, self._from = process.stdin.fileno(), process.stdout.fileno()
        self._read = bytearray()
        os.set_blocking(self._to, False)  # a full pipe is waited for, but not without end

    def send(self, data: bytes, timeout_s: float) -> None:
        """Write all of it.

        Raises:
            SilentError: nothing of it was taken for `timeout_s` seconds.
            BrokenPipeError: the process has ended.

        """
        rest = memoryview(data)
        while rest:
            if not select.select([], [self._to], [], timeout_s)[1]:
                raise SilentError
            rest = rest[os.write(self._to, rest[:_PIECE]) :]

    def line(self, timeout_s: float) -> bytes:
        """Return the next line with its end; b"" if the process has closed its side.

        Raises:
            SilentError: there is no whole line after `timeout_s` seconds.
            EndlessError: there is none in 16 MB.

        """
        end = time.monotonic() + timeout_s
        while b"\n" not in self._read:
            rest_s = max(end - time.monotonic(), 0)
            if not select.select([self._from], [], [], rest_s)[0]:
                raise SilentError
            piece = os.read(self._from, _PIECE)
            if not piece:
                return b""
            self._read += piece
            if len(self._read) > _LONGEST_LINE:
                raise EndlessError
        line, _, rest = self._read.partition(b"\n")
        self._read = rest
        return bytes(line + b"\n")
