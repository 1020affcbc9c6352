"""What libraries say about themselves while a command runs, kept off the screen."""

import logging
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TextIO

from leansight.runtime.system.standard_error import STANDARD_ERROR, standard_error_into

# Read when OpenCV and tqdm are imported: what they would say of a file, or draw through our bars.
# FFmpeg's level is a number of its own: quiet.
_SILENCE: Final = {
    "OPENCV_LOG_LEVEL": "OFF",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    "TQDM_DISABLE": "1",
}


@contextmanager
def without_library_logs() -> Iterator[Callable[[], str]]:
    """Keep off the screen what libraries log, warn of and print in C, while the `with` lasts.

    Decoders of images, TensorFlow Lite and others write to the file descriptor 2 itself. So
    `sys.stderr` gets a way to the screen of its own, and the descriptor leads into a nameless
    file, which the function returns that is yielded. Who sets PYTHONWARNINGS sees all.
    """
    for name, value in _SILENCE.items():
        os.environ.setdefault(name, value)
    before = sys.stderr
    if sys.warnoptions or _descriptor(before) != STANDARD_ERROR:
        yield str
        return
    try:
        log = tempfile.TemporaryFile()  # noqa: SIM115 -- the `with` is below
    except OSError:  # no room, or no right to write: the logs appear
        yield str
        return
    with (
        log,
        _own_stream(before),
        standard_error_into(log.fileno()),
        _quiet_python(),
    ):

        def read() -> str:
            log.seek(0)
            return log.read().decode(errors="replace")

        yield read


@contextmanager
def screen_for_children() -> Iterator[None]:
    """Let processes that are started while the `with` lasts write where `sys.stderr` writes."""
    screen = _descriptor(sys.stderr)
    if screen is None or screen == STANDARD_ERROR:
        yield
        return
    with standard_error_into(screen):
        yield


@contextmanager
def _own_stream(before: TextIO) -> Iterator[None]:
    """Let `sys.stderr` write to a copy of the descriptor."""
    copy = os.dup(STANDARD_ERROR)
    with os.fdopen(copy, "w", buffering=1, encoding=before.encoding, errors=before.errors) as own:
        sys.stderr = own
        try:
            yield
        finally:
            sys.stderr = before


@contextmanager
def _quiet_python() -> Iterator[None]:
    """Leave out warnings, logs up to warnings, and what libraries raise while they clear up."""
    disabled = logging.root.manager.disable
    unraisable = sys.unraisablehook
    sys.unraisablehook = _log_unraisable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(disabled)
            sys.unraisablehook = unraisable


def _log_unraisable(raised: "sys.UnraisableHookArgs") -> None:
    """Write where libraries write an error that Python can only ignore, such as of a `__del__`.

    Torch's readers of images raise one after another where a disk is full.
    """
    text = "".join(traceback.format_exception(raised.exc_value))
    with suppress(OSError):
        os.write(STANDARD_ERROR, f"ignored in {raised.object!r}: {text}".encode())


def _descriptor(stream: TextIO | None) -> int | None:
    """Return the file descriptor that a stream writes to; a test's, or an IDE's, has none."""
    try:
        return None if stream is None else stream.fileno()
    except (AttributeError, OSError, ValueError):  # io.UnsupportedOperation is both of the last
        return None
