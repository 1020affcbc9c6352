"""Read a file that somebody else has made: a plain one, of a size that is known before."""

import errno
import os
import stat
from pathlib import Path
from typing import IO


def open_regular(path: Path) -> IO[bytes]:
    """Open a file for reading; whoever opens a FIFO or a device may wait for ever.

    Raises:
        ValueError: it is neither a file nor a link to one.
        OSError: it cannot be opened.

    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise ValueError("it is no regular file")


def read_regular(path: Path, most_bytes: int) -> bytes:
    """Return what is in a file, see `open_regular`; ValueError if it has more bytes."""
    with open_regular(path) as file:
        if (size := os.fstat(file.fileno()).st_size) > most_bytes:
            raise ValueError(f"it has {size:,} bytes: at most {most_bytes:,} are read")
        return file.read(most_bytes)
