"""Results as JSON lines in a file that is rotated, so that it never fills the disk."""

import errno
import os
from pathlib import Path

from leansight.runtime.errors import DataError
from leansight.runtime.service.json_lines import to_line
from leansight.runtime.stream.classified_stream import StreamResult


class JsonFile:
    """Appends each result to `file` as one line of JSON.

    A file that would get larger than `max_bytes` becomes FILE.1, that one FILE.2, and so on; there
    are never more than `files` of them. There are whole lines only: what a power cut left of a line
    is cut off when the file is opened, and what a full disk leaves of one at once.
    """

    def __init__(self, file: Path, *, max_bytes: int, files: int) -> None:
        """Raise DataError where the file cannot be written."""
        self.trouble = ""
        self._file = file
        self._max_bytes = max_bytes
        self._files = files
        self._descriptor: int | None = None
        try:
            self._open()
        except OSError as error:
            raise DataError(
                f"{file} cannot be written: {error.strerror}", parameter="json_file"
            ) from error

    def write(self, result: StreamResult) -> None:
        """See `Output`."""
        try:
            self._append(to_line(result).encode())
            self.trouble = ""
        except OSError as error:
            self.trouble = f"{self._file}: {error.strerror}: lines are lost"

    def close(self) -> None:
        """See `Output`."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def _append(self, line: bytes) -> None:
        descriptor = self._open()
        size = os.fstat(descriptor).st_size
        if size and size + len(line) > self._max_bytes:
            self._rotate()
            descriptor, size = self._open(), 0
        if os.write(descriptor, line) < len(line):
            os.ftruncate(descriptor, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _open(self) -> int:
        if self._descriptor is None:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self._file, flags, 0o644)
            _cut_half_a_line(self._descriptor)
        return self._descriptor

    def _rotate(self) -> None:
        self.close()
        for number in range(self._files - 1, 0, -1):
            older, newer = self._numbered(number), self._numbered(number - 1)
            if newer.exists():
                newer.replace(older)
        if self._files == 1:
            self._file.unlink()

    def _numbered(self, number: int) -> Path:
        return self._file.with_name(f"{self._file.name}.{number}") if number else self._file


def _cut_half_a_line(descriptor: int) -> None:
    """Cut off what stands after the last end of a line."""
    size = os.fstat(descriptor).st_size
    end = size
    while end > 0:
        begin = max(0, end - 4096)
        found = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if found >= 0:
            end = begin + found + 1
            break
        end = begin
    if end < size:
        os.ftruncate(descriptor, end)
