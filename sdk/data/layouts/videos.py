"""Which images are frames of one video, by their file names."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from leansight.runtime.errors import DataError
from leansight.sdk.data.samples import Sample

# S1's file names: `01165_00001` is frame 1 of video 01165. Both parts are digits, so that
# IMG_0001, IMG_0002 … are not taken for frames of one video. BelgiumTS may name the camera
# before the pole; one sign seen by two cameras is one sign.
_VIDEO_FRAME: Final = re.compile(r"(?P<video>\d+)_\d{1,7}")
POLE_FRAME: Final = re.compile(r"(?:\d+\.)?(?P<video>\d+)_\d{1,7}")
_EPOCH: Final = re.compile(r"1\d{9}(\d{3})?")  # seconds or milliseconds since 1970
_FIRST_YEAR, _LAST_YEAR = 1990, 2099


@dataclass(frozen=True, kw_only=True)
class VideoNames:
    """How file names tell videos: by `guess`, or by a pattern that the user gives.

    `pattern` is "auto" (the guess), "none" (no image is of a video), or a regular expression for
    the whole file name without its suffix; its group `video`, or its first group, is the video.
    """

    pattern: str = "auto"
    guess: re.Pattern[str] = _VIDEO_FRAME

    def __post_init__(self) -> None:
        if self.pattern in ("auto", "none"):
            return
        try:
            groups = re.compile(self.pattern).groups
        except re.error as error:
            raise DataError(
                f"videos: {self.pattern!r} is no regular expression: {error}", parameter="videos"
            ) from error
        if not groups:
            raise DataError(
                f"videos: {self.pattern!r} has no group in parentheses that is the video, as "
                r"(.+)_\d+ has",
                parameter="videos",
            )

    def of(self, path: Path) -> str:
        """Name an image's video, "" if it is of none.

        A guessed name is unique within a folder, one of a pattern in the whole data set.
        """
        match self.pattern:
            case "none":
                return ""
            case "auto":
                frame = self.guess.fullmatch(path.stem)
                if frame is None or _is_a_time(path.stem, frame["video"]):
                    return ""
                return (path.parent / frame["video"]).as_posix()
            case pattern:
                frame = re.fullmatch(pattern, path.stem)
                if frame is None:
                    return ""
                return frame.groupdict().get("video") or frame[1] or ""


def with_videos(samples: Iterable[Sample], pattern: str) -> list[Sample]:
    """Return samples of a list with the videos that a pattern tells; "auto": as they are."""
    if pattern == "auto":
        return list(samples)
    names = VideoNames(pattern=pattern)
    return [replace(s, video=names.of(s.path)) for s in samples]


def _is_a_time(stem: str, digits: str) -> bool:
    """Tell whether a file is named by when it was taken, as cameras and phones do."""
    both = digits + stem.rpartition("_")[2]
    return _EPOCH.fullmatch(digits) is not None or any(
        len(text) == length and _is_date(text, form)
        for text, length, form in (
            (digits, 8, "%Y%m%d"),
            (digits, 8, "%d%m%Y"),
            (digits, 14, "%Y%m%d%H%M%S"),
            (both if len(digits) == len("YYMMDD") else "", 12, "%y%m%d%H%M%S"),
        )
    )


def _is_date(digits: str, form: str) -> bool:
    try:
        year = datetime.strptime(digits, form).replace(tzinfo=UTC).year
    except ValueError:
        return False
    return _FIRST_YEAR <= year <= _LAST_YEAR
