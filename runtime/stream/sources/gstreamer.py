"""Frames from a GStreamer pipeline, which gst-launch-1.0 runs; PyPI's OpenCV has no GStreamer."""

import io
import os
import shlex
import shutil
import subprocess
import threading
from collections import deque
from typing import Final

from leansight.runtime.errors import SourceError, SourceOptionError
from leansight.runtime.preprocessing import Image
from leansight.runtime.stream.sources.secrets import without_secrets
from leansight.runtime.stream.sources.y4m import Y4mStream
from leansight.runtime.system.parent import ends_with_us

_PROGRAM: Final = "gst-launch-1.0"
_PACKAGES: Final = "gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
# The matrix is fixed, since Y4M does not tell it.
_TO_Y4M: Final = (
    "! videoconvert ! video/x-raw,format=I420,colorimetry=bt601 ! y4menc ! fdsink fd={descriptor}"
)
_LINES: Final = 20  # of what the program has said, the last ones
_END_TIMEOUT_S: Final = 1.0


def check_gstreamer() -> None:
    """Raise SourceError if GStreamer's tools are not installed."""
    if shutil.which(_PROGRAM) is None:
        raise SourceError(f"{_PROGRAM} is not installed. Type: sudo apt install {_PACKAGES}")


class GStreamerSource:
    """What comes out of a pipeline such as `v4l2src ! image/jpeg,width=1280 ! jpegdec`.

    Raises:
        SourceError: the pipeline cannot run now.
        SourceOptionError: it is no pipeline, or an element of it is not installed.

    """

    def __init__(self, pipeline: str) -> None:
        read_end, write_end = os.pipe()
        elements = shlex.split(f"{pipeline} {_TO_Y4M.format(descriptor=write_end)}")
        self._stream = io.BufferedReader(io.FileIO(read_end))
        with io.FileIO(write_end, "w"):
            self._process = subprocess.Popen(
                ends_with_us([_PROGRAM, "-q", *elements]),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[write_end],
                text=True,
                errors="replace",
            )
        self._said: deque[str] = deque(maxlen=_LINES)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        try:
            self._frames = self._first_line()
        except BaseException:
            self.close()
            raise

    def _first_line(self) -> Y4mStream:
        if not self._stream.peek(1):
            raise self._error()
        return Y4mStream(self._stream)

    def _listen(self) -> None:
        assert self._process.stdout
        self._said.extend(self._process.stdout)

    def read(self) -> Image | None:
        """See `Source`; SourceError if the pipeline has failed."""
        frame = self._frames.read()
        if frame is None and self._exit_code() != 0:
            raise self._error()
        return frame

    def _exit_code(self) -> int | None:
        try:
            return self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return None

    def _error(self) -> SourceError:
        """Return what the program has said of its end."""
        self._exit_code()
        self._listener.join(_END_TIMEOUT_S)
        said = [without_secrets(line.strip()) for line in self._said]
        wrong = next((line for line in said if "erroneous pipeline" in line), None)
        if wrong:
            return SourceOptionError(
                f"{wrong.partition(': ')[2]}. What is not installed may be in {_PACKAGES}"
            )
        reason = next((line for line in said if line.startswith("ERROR")), "it gave no frame")
        return SourceError(f"GStreamer: {reason.removeprefix('ERROR: ')}")

    def close(self) -> None:
        """See `Source`."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        if self._process.stdout:
            self._process.stdout.close()
        self._stream.close()
