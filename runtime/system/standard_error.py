"""Where the file descriptor 2 leads: libraries written in C log to it, past `sys.stderr`."""

import io
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Final

STANDARD_ERROR: Final = 2
# Two threads that redirect at once would each restore what the other has put there.
_REDIRECTING: Final = threading.RLock()


@contextmanager
def drop_lines(is_log: Callable[[bytes], bool]) -> Iterator[None]:
    """Keep the lines for which `is_log` is true off standard error while the `with` lasts.

    All other lines appear at its end, also those of other threads: keep it short. Where there is
    no standard error, or no place for a temporary file, nothing is redirected.
    """
    try:
        os.fstat(STANDARD_ERROR)
        written = tempfile.TemporaryFile()  # noqa: SIM115 -- the `with` is below
    except OSError:
        yield
        return
    with written:
        try:
            with _REDIRECTING, standard_error_into(written.fileno()):
                yield
        finally:
            written.seek(0)
            os.write(STANDARD_ERROR, b"".join(line for line in written if not is_log(line)))


@contextmanager
def drop_if_it_fails() -> Iterator[None]:
    """Hold back what Python writes to `sys.stderr` while the `with` lasts; drop it at an error.

    numpy writes a page about a library that was built for another numpy, beside the error.
    """
    with _REDIRECTING, redirect_stderr(io.StringIO()) as held:
        yield
    if sys.stderr is not None:
        sys.stderr.write(held.getvalue())


@contextmanager
def standard_error_into(descriptor: int) -> Iterator[None]:
    """Let the file descriptor 2 lead where another one leads, while the `with` lasts."""
    before = os.dup(STANDARD_ERROR)
    try:
        _flush()
        os.dup2(descriptor, STANDARD_ERROR)
        yield
    finally:
        _flush()
        os.dup2(before, STANDARD_ERROR)
        os.close(before)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()
