"""What a source of frames is, and what it declares of them."""

from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.errors import DataError
from leansight.runtime.extras import opencv
from leansight.runtime.preprocessing import Image

ColourOrder = Literal["BGR", "RGB", "GRAY"]
_CHANNELS: Final[dict[ColourOrder, tuple[int, ...]]] = {"BGR": (3,), "RGB": (3,), "GRAY": ()}


class Source(Protocol):
    """Where frames come from. `read` returns None when there are no more, or the source is lost.

    It may raise DamagedFrameError, after which it is read again. A source may also have the
    attributes `frame_format` (a `FrameFormat`; without one, frames are BGR of any size),
    `position_s` (where in its file the frame that was read last stands, in seconds),
    `frame_count` (how many frames it has; None, as without it: nobody knows) and
    `notice` (what it does not do as it was asked to, a line for people).
    """

    def read(self) -> Image | None:
        """Wait for the next frame and return it, (H, W, 3) uint8 BGR or as `frame_format` says."""

    def close(self) -> None:
        """Release the device or connection; a second call does nothing."""


@dataclass(frozen=True, kw_only=True)
class FrameFormat:
    """What a source declares of its frames, which are uint8.

    `colour_order`: "BGR" and "RGB" are (H, W, 3), "GRAY" is (H, W). `size`: (width, height) of
    every frame; None where each may have its own. `stride_bytes`: from one row to the next in
    memory; None where the array alone tells it.
    """

    colour_order: ColourOrder = "BGR"
    size: tuple[int, int] | None = None
    stride_bytes: int | None = None

    def to_bgr(self, frame: NDArray[np.uint8]) -> Image:
        """Return the frame as (H, W, 3) uint8 BGR.

        Raises:
            DataError: it is not as declared.

        """
        if not self._describes(frame):
            raise DataError(f"the source gave {self._text_of(frame)}, and not {self}")
        if self.colour_order == "BGR":
            return frame
        cv2 = opencv()
        code = cv2.COLOR_RGB2BGR if self.colour_order == "RGB" else cv2.COLOR_GRAY2BGR
        return cv2.cvtColor(frame, code)

    def _describes(self, frame: object) -> bool:
        channels = _CHANNELS[self.colour_order]
        return (
            isinstance(frame, np.ndarray)
            and frame.dtype == np.uint8
            and frame.ndim == len(("H", "W", *channels))
            and frame.shape[2:] == channels
            and frame.size > 0
            and self.size in (None, (frame.shape[1], frame.shape[0]))
            and self.stride_bytes in (None, frame.strides[0])
        )

    def _text_of(self, frame: object) -> str:
        if not isinstance(frame, np.ndarray):
            return type(frame).__name__
        rows = f" with rows of {frame.strides[0]} bytes" if self.stride_bytes else ""
        return f"{frame.shape} {frame.dtype}{rows}"

    def __str__(self) -> str:
        width, height = self.size or ("W", "H")
        shape = ", ".join(map(str, (height, width, *_CHANNELS[self.colour_order])))
        stride = f" with rows of {self.stride_bytes} bytes" if self.stride_bytes else ""
        return f"({shape}) uint8{stride}"
