"""Frames from a folder of images, or from numbered ones, in natural order."""

import re
from pathlib import Path
from typing import Final

import numpy as np

from leansight.runtime.errors import DamagedFrameError, DataError, SourceError
from leansight.runtime.image_files import find_image_files
from leansight.runtime.image_formats import HEAD_BYTES, format_of
from leansight.runtime.images import decode_image
from leansight.runtime.preprocessing import Image
from leansight.runtime.stream.sources.motion_jpeg import strict_decoder

_NUMBER: Final = re.compile(r"%(?:0(\d))?d")  # as FFmpeg and printf have it


def is_numbered(name: str) -> bool:
    """Return whether a name is a pattern of numbered files, such as frames/%04d.jpg."""
    return _NUMBER.search(Path(name).name) is not None


class ImageFilesSource:
    """The images of a folder and of those in it, or the files that a pattern means.

    Natural order: 2.jpg comes before 10.jpg. A file that cannot be read is a damaged frame.
    With `fps` each frame has its position, as in a video of so many frames a second.
    """

    def __init__(self, name: str, fps: float | None = None) -> None:
        folder = Path(name)
        files = find_image_files(folder).images if folder.is_dir() else _numbered_files(name)
        if not files:
            raise SourceError(f"{name} has no images")
        self._files = sorted(files, key=lambda file: _natural(str(file)))
        self._fps = fps
        self._number = -1
        self._check_jpeg = strict_decoder()

    @property
    def frame_count(self) -> int:
        """How many frames there are, the damaged ones among them."""
        return len(self._files)

    @property
    def position_s(self) -> float | None:
        """See `Source`."""
        return self._number / self._fps if self._fps else None

    def read(self) -> Image | None:
        """See `Source`."""
        self._number += 1
        if self._number == len(self._files):
            self._number -= 1
            return None
        file = self._files[self._number]
        try:
            data = file.read_bytes()
            if format_of(data[:HEAD_BYTES]) == "jpeg":
                self._check_jpeg(data)  # OpenCV fills what is missing with gray
            return decode_image(np.frombuffer(data, np.uint8), str(file))
        except (OSError, DataError) as error:
            raise DamagedFrameError(f"{file} cannot be read: {error}") from error

    def close(self) -> None:
        """See `Source`."""


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts by the numbers in names."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (-1, part.casefold()) for part in parts]


def _numbered_files(pattern: str) -> list[Path]:
    folder, name = Path(pattern).parent, Path(pattern).name
    number = _NUMBER.search(name)
    assert number
    digits = rf"\d{{{number[1] or 1},}}"
    wanted = re.compile(
        re.escape(name[: number.start()]) + digits + re.escape(name[number.end() :])
    )
    return [file for file in folder.iterdir() if wanted.fullmatch(file.name)]
