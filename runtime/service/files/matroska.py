"""Matroska: a video file of JPEGs that is whole after each of them.

OpenCV's own writer has one frame rate for a whole file, does not say that a disk is full, and keeps
the last seconds in memory. Sources: RFC 8794 (EBML) and RFC 9559 (Matroska).
"""

import errno
import os
import struct
from pathlib import Path
from typing import Final

_UNKNOWN_SIZE: Final = bytes.fromhex("01ffffffffffffff")  # of a file that somebody still writes


class MatroskaWriter:
    """Writes JPEGs of one size into a new file, each with its own time.

    Whatever ends the program, the file plays up to the last picture.
    """

    def __init__(self, file: Path) -> None:
        """Raise FileExistsError if there is something, OSError if nothing can be put there."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(file, flags, 0o644)
        self.size_bytes = 0

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def write_header(self, width: int, height: int) -> None:
        """Write what stands before the pictures; OSError if there is no room, and no part of it."""
        self._append(_header(width, height))

    def write(self, jpeg: bytes, time_s: float) -> None:
        """Write a picture that is shown from `time_s` on, in seconds from the beginning.

        Raises:
            OSError: there was no room; the file has all earlier pictures, and no part of this one.

        """
        block = b"\x81\x00\x00\x80" + jpeg  # track 1, at the time of its cluster, a key frame
        content = _number("e7", round(time_s * 1000)) + _element("a3", block)
        self._append(_element("1f43b675", content))

    def _append(self, content: bytes) -> None:
        if os.write(self._descriptor, content) < len(content):
            os.ftruncate(self._descriptor, self.size_bytes)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size_bytes += len(content)


def _header(width: int, height: int) -> bytes:
    """Return the EBML header, and the segment up to its first cluster; times are milliseconds."""
    document = [_element("4282", b"matroska"), _number("4287", 4), _number("4285", 2)]
    application = _element("4d80", b"leansight") + _element("5741", b"leansight")
    video = _number("b0", width) + _number("ba", height)
    track = [
        *(_number("d7", 1), _number("73c5", 1), _number("83", 1), _number("9c", 0)),
        *(_element("86", b"V_MJPEG"), _element("e0", video)),
    ]
    return b"".join(
        (
            _element("1a45dfa3", b"".join(document)),
            bytes.fromhex("18538067") + _UNKNOWN_SIZE,
            _element("1549a966", _number("2ad7b1", 1_000_000) + application),
            _element("1654ae6b", _element("ae", b"".join(track))),
        )
    )


def _element(identifier: str, content: bytes) -> bytes:
    """Return an EBML element; its size is written in eight bytes."""
    return bytes.fromhex(identifier) + struct.pack(">Q", 1 << 56 | len(content)) + content


def _number(identifier: str, value: int) -> bytes:
    return _element(identifier, struct.pack(">Q", value))
