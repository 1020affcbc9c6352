"""What a source of frames is, and what a name says of it."""

from pathlib import Path
from typing import Protocol

from leansight.runtime.errors import SourceError
from leansight.runtime.preprocessing import Image


class Source(Protocol):
    """Where frames come from. `read` returns None when there are no more, or the source is lost.

    It may raise DamagedFrameError, after which it is read again.
    """

    def read(self) -> Image | None:
        """Wait for the next frame and return it, (H, W, 3) uint8 BGR."""

    def close(self) -> None:
        """Release the device or connection; a second call does nothing."""


def is_url(source: str) -> bool:
    """Return whether a name of a source is a URL."""
    return "://" in source


def check_exists(source: str) -> None:
    """Raise SourceError for a path where nothing is, but a device's: a camera may be late."""
    may_come = source.isdigit() or is_url(source) or source.startswith("/dev/")
    if not may_come and not Path(source).exists():
        raise SourceError(f"{source} does not exist: give a camera's number, a file or a URL")
