"""Pictures with their labels in a video file that plays whatever ends the program."""

import itertools
from pathlib import Path
from typing import Final

from leansight.runtime.errors import DataError
from leansight.runtime.extras import opencv
from leansight.runtime.service.files.matroska import MatroskaWriter
from leansight.runtime.service.screen.picture import labelled_picture
from leansight.runtime.stream.classified_stream import StreamResult

_QUALITY: Final = (1, 85)  # IMWRITE_JPEG_QUALITY


class VideoFile:
    """Writes the pictures of a stream, with what it says of them, into a Matroska file.

    Each picture has its own time, so that the video is as fast as what was seen, and as the file
    that was read. One of another size than the first is scaled. While a camera is away there is one
    black picture with the state.
    """

    def __init__(self, file: Path) -> None:
        """Make the file, NAME-2.mkv if there is a NAME.mkv already.

        Raises:
            DataError: the file is no .mkv, or cannot be written.
            MissingExtraError: OpenCV is not installed.

        """
        self.trouble = ""
        opencv()
        self.file, self._writer = _new_file(file)
        self._size: tuple[int, int] | None = None
        self._start_s = 0.0
        self._is_of_a_file = False

    def write(self, result: StreamResult) -> None:
        """See `Output`."""
        if result.frame is None and (self._size is None or self._is_of_a_file):
            return
        try:
            self._write(result)
            self.trouble = ""
        except OSError as error:
            self.trouble = f"{self.file}: {error.strerror}: pictures are lost"

    def close(self) -> None:
        """See `Output`."""
        self._writer.close()
        if self._size is None:
            self.file.unlink(missing_ok=True)

    def _write(self, result: StreamResult) -> None:
        if self._size is None:
            assert result.frame is not None
            height, width = result.frame.image.shape[:2]
            self._writer.write_header(width, height)
            self._size, self._start_s = (height, width), _time_s(result)
            self._is_of_a_file = result.frame.position_s is not None
        picture = labelled_picture(result, *self._size)
        jpeg = opencv().imencode(".jpg", picture, _QUALITY)[1].tobytes()
        self._writer.write(jpeg, max(0.0, _time_s(result) - self._start_s))


def _time_s(result: StreamResult) -> float:
    """Return where a frame stands in its file, of a camera's when it was read, in seconds."""
    if result.frame is not None and result.frame.position_s is not None:
        return result.frame.position_s
    return result.monotonic_s


def _new_file(file: Path) -> tuple[Path, MatroskaWriter]:
    """Return the first name that is not taken, and its writer."""
    if file.suffix.lower() != ".mkv":
        raise DataError(
            f"{file} must end in .mkv: a Matroska file plays up to its last picture, whatever "
            "ends the program",
            parameter="save",
        )
    for number in itertools.count(1):
        name = file if number == 1 else file.with_name(f"{file.stem}-{number}{file.suffix}")
        try:
            return name, MatroskaWriter(name)
        except FileExistsError:
            continue
        except OSError as error:
            reason = f"{file} cannot be written: {error.strerror}"
            raise DataError(reason, parameter="save") from error
    raise AssertionError
