"""Y4M (YUV4MPEG2), in which programs hand each other video that is not compressed.

A line tells size, rate and layout; each frame is the line FRAME and its planes (mjpegtools,
yuv4mpeg(5)). The matrix is not told: BT.601 is taken.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO, Final, Self

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.errors import DamagedFrameError, DataError
from leansight.runtime.extras import opencv
from leansight.runtime.preprocessing import Image

SIGNATURE: Final = b"YUV4MPEG2 "
_LONGEST_LINE: Final = 4096
_LAYOUTS: Final = ("420", "420jpeg", "420mpeg2", "420paldv", "mono")
_NO_COLOUR: Final = 128


@dataclass(frozen=True, kw_only=True)
class Y4mHeader:
    """What the first line tells: size in pixels, frames a second, layout, range of the values."""

    width: int
    height: int
    fps: float | None
    is_gray: bool
    is_full_range: bool

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read the first line.

        Raises:
            DataError: it is damaged, or the layout is another one than 4:2:0 or gray, of 8 bits.

        """
        fields = line.decode(errors="replace").split()[1:]
        values = {field[0]: field[1:] for field in fields if field[0] != "X"}
        layout = values.get("C", "420")
        try:
            width, height = int(values["W"]), int(values["H"])
            fps = Fraction(values.get("F", "0:1").replace(":", "/"))
        except (KeyError, ValueError, ZeroDivisionError) as error:
            raise DataError(f"the first line of Y4M is damaged: {line[:80]!r}") from error
        if layout not in _LAYOUTS or width < 1 or height < 1:
            raise DataError(
                f"Y4M of {width}x{height} pixels with the layout {layout} is not read: give 4:2:0 "
                "with 8 bits (ffmpeg: -pix_fmt yuv420p)"
            )
        return cls(
            width=width,
            height=height,
            fps=float(fps) or None,
            is_gray=layout == "mono",
            is_full_range="XCOLORRANGE=FULL" in fields,
        )


class Y4mStream:
    """Frames from a stream of bytes that is at the beginning of Y4M.

    `position_s` is where the frame that was read last stands, in seconds; None where no rate is
    told.

    Raises:
        DataError: what `Y4mHeader.parse` raises.

    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._header = Y4mHeader.parse(stream.readline(_LONGEST_LINE))
        self._number = -1

    @property
    def position_s(self) -> float | None:
        """See `Source`."""
        return self._number / self._header.fps if self._header.fps else None

    def read(self) -> Image | None:
        """Return the next frame, (H, W, 3) uint8 BGR; None at the end.

        Raises:
            DamagedFrameError: the stream ends within the frame.
            DataError: there is something else where a frame should begin.

        """
        line = self._stream.readline(_LONGEST_LINE)
        if not line:
            return None
        if line.split()[:1] != [b"FRAME"]:
            raise DataError("Y4M has something else where a frame should begin")
        width, height = self._header.width, self._header.height
        count = width * height if self._header.is_gray else yuv420_bytes(width, height)
        data = self._stream.read(count)
        if len(data) < count:
            raise DamagedFrameError("Y4M ends within a frame")
        self._number += 1
        planes = np.full(yuv420_bytes(width, height), _NO_COLOUR, np.uint8)
        planes[:count] = np.frombuffer(data, np.uint8)
        if self._header.is_full_range:
            planes = _limited_range(planes, width * height)
        return yuv420_to_bgr(planes, width, height)


def yuv420_bytes(width: int, height: int) -> int:
    """Return how many bytes a frame of 4:2:0 has, of any size."""
    return width * height + 2 * ((width + 1) // 2 * ((height + 1) // 2))


def yuv420_to_bgr(planes: NDArray[np.uint8], width: int, height: int) -> Image:
    """Return planes Y, U, V of 4:2:0 (N,), BT.601 of limited range, as (H, W, 3) BGR."""
    cv2 = opencv()
    rows, columns = height + height % 2, width + width % 2  # OpenCV takes even sizes only
    if (rows, columns) != (height, width):
        luma = planes[: width * height].reshape(height, width)
        luma = np.pad(luma, ((0, rows - height), (0, columns - width)), mode="edge")
        planes = np.concatenate((luma.ravel(), planes[width * height :]))
    bgr = cv2.cvtColor(planes.reshape(rows * 3 // 2, columns), cv2.COLOR_YUV2BGR_I420)
    return np.ascontiguousarray(bgr[:height, :width])


def _limited_range(planes: NDArray[np.uint8], luma_bytes: int) -> NDArray[np.uint8]:
    """Return planes that use 0 to 255 in the range of video: 16 to 235, of colours 16 to 240."""
    values = np.arange(256)
    luma = np.round(values * 219 / 255 + 16).astype(np.uint8)
    colours = np.round((values - _NO_COLOUR) * 224 / 255 + _NO_COLOUR).astype(np.uint8)
    return np.concatenate((luma[planes[:luma_bytes]], colours[planes[luma_bytes:]]))
