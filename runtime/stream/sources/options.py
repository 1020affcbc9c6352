"""What can be asked of a source: size, frame rate, exposure, which way up, which part."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, get_args

from leansight.runtime.errors import SourceOptionError
from leansight.runtime.stream.sources.view import Flip, Region, Rotation, View, are_fractions

WhiteBalanceMode = Literal[
    "auto", "incandescent", "tungsten", "fluorescent", "indoor", "daylight", "cloudy"
]
"""The modes of libcamera's AwbMode."""
WHITE_BALANCE_MODES: Final[tuple[WhiteBalanceMode, ...]] = get_args(WhiteBalanceMode)
RawFormat = Literal["bgr24", "rgb24", "gray", "yuv420p"]
"""Pixels without a header, as FFmpeg calls them."""
RAW_FORMATS: Final[tuple[RawFormat, ...]] = get_args(RawFormat)
_OF_EVERY_SOURCE: Final = ("rotate", "flip", "roi")
_NUMBERS_OF_A_REGION: Final = 4
_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What is asked of a source; None leaves it to the source.

    Of cameras: `size` (width, height) in pixels, `fps` frames a second; of V4L2 also `mjpg`
    (compressed frames, which USB cameras need for large ones). Of picamera2 also
    `exposure_us`, `gain` (analogue, from 1) and `white_balance`, a mode or the gains of
    red and blue. Of files and folders `fps` is the pace at which they are read.
    Of standard input `raw` is the format of pixels without a header, and then `size` must be given.

    Of every source: `rotate` clockwise in degrees, then `flip` ("h" swaps left and right, "v" top
    and bottom), then the region `roi` of that: x, y, width, height in pixels, or, where one of
    them is a float, in fractions of the frame.

    Raises:
        SourceOptionError: a value is out of its range (a ValueError too).

    """

    size: tuple[int, int] | None = None
    fps: float | None = None
    mjpg: bool = False
    exposure_us: int | None = None
    gain: float | None = None
    white_balance: WhiteBalanceMode | tuple[float, float] | None = None
    raw: RawFormat | None = None
    rotate: Rotation = 0
    flip: Flip | None = None
    roi: Region | None = None

    def __post_init__(self) -> None:
        for name, (allowed, is_right) in _RULES.items():
            value = getattr(self, name)
            if value is not None and not is_right(value):
                raise SourceOptionError(
                    f"{_text(name)} must be {allowed}, not {value!r}", parameter=name
                )
        if self.raw and not self.size:
            raise SourceOptionError("raw pixels need their size", parameter="size")
        if self.fps and self.exposure_us and self.exposure_us * self.fps > _SECOND_US:
            raise SourceOptionError(
                f"{self.fps:g} frames a second leave no time for an exposure of "
                f"{self.exposure_us} microseconds",
                parameter="exposure_us",
            )

    @property
    def view(self) -> View:
        """What is done to each frame of any source."""
        return View(rotate=self.rotate, flip=self.flip, roi=self.roi)

    def check_allowed(self, kind: str, allowed: tuple[str, ...]) -> None:
        """Raise SourceOptionError for an option that this kind of source does not have."""
        for field in fields(self):
            is_given = getattr(self, field.name) != field.default
            if is_given and field.name not in (*allowed, *_OF_EVERY_SOURCE):
                raise SourceOptionError(f"{kind} has no {_text(field.name)}", parameter=field.name)


def _text(name: str) -> str:
    return name.removesuffix("_us").replace("_", " ")


def _is_size(value: tuple[int, ...]) -> bool:
    return len(value) == len("WH") and all(isinstance(side, int) and side > 0 for side in value)


def _is_above_0(value: float) -> bool:
    return 0 < value < math.inf


def _is_white_balance(value: object) -> bool:
    if not isinstance(value, tuple):
        return value in WHITE_BALANCE_MODES
    return len(value) == len(("red", "blue")) and all(map(_is_above_0, value))


def _is_region(value: tuple[float, ...]) -> bool:
    if len(value) != _NUMBERS_OF_A_REGION or not all(map(math.isfinite, value)):
        return False
    x, y, width, height = value
    if not (x >= 0 and y >= 0 and width > 0 and height > 0):
        return False
    return not are_fractions((x, y, width, height)) or (x + width <= 1 and y + height <= 1)


# What each option may be, in words and as a test of a value that is given.
_RULES: Final[Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    "size": ("two whole numbers above 0", _is_size),
    "fps": ("above 0", _is_above_0),
    "exposure_us": ("above 0", _is_above_0),
    "gain": ("above 0", _is_above_0),
    "white_balance": (f"{', '.join(WHITE_BALANCE_MODES)}, or two gains above 0", _is_white_balance),
    "raw": (f"one of {', '.join(RAW_FORMATS)}", RAW_FORMATS.__contains__),
    "rotate": ("90, 180 or 270", get_args(Rotation).__contains__),
    "flip": ("h or v", get_args(Flip).__contains__),
    "roi": (
        "x, y, width and height: pixels, or fractions of the frame between 0 and 1",
        _is_region,
    ),
}
