"""All steps at once in C: prepare.c, where it was compiled when leansight was installed."""

import ctypes
import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LIBRARY: Final = "_prepare.*so"
NAME: Final = "leansight_prepare_2"
FUNCTION: Final = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,  # image
    ctypes.c_int64,  # height
    ctypes.c_int64,  # width
    ctypes.c_int64,  # bytes from row to row
    ctypes.c_int,  # channels
    ctypes.c_void_p,  # settings
    ctypes.c_void_p,  # result
)
_FITS: Final = ("stretch", "letterbox", "centre-crop")
_INTERPOLATIONS: Final = ("area", "linear", "nearest")


class Settings(ctypes.Structure):
    """What is done to an image, as prepare.c takes it."""

    _fields_ = (
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("gray", ctypes.c_int32),
        ("fit", ctypes.c_int32),
        ("interpolation", ctypes.c_int32),
        ("tiles", ctypes.c_int32),
        ("edges", ctypes.c_int32),
        ("clip_limit", ctypes.c_double),
    )

    @classmethod
    def of(
        cls,
        *,
        height: int,
        width: int,
        gray: bool,
        fit: str,
        interpolation: str,
        tiles: int,
        clip_limit: float,
        edges: bool,
    ) -> "Settings":
        """Name the values; 0 tiles are no CLAHE."""
        numbers = (_FITS.index(fit), _INTERPOLATIONS.index(interpolation))
        return cls(height, width, gray, *numbers, tiles, edges, clip_limit)


@functools.cache
def library() -> Callable[..., int] | None:
    """Return the function of prepare.c, or None where it was not compiled."""
    path = next(Path(__file__).parent.glob(LIBRARY), None)
    if path is None:
        return None
    try:
        loaded: Any = ctypes.CDLL(str(path))
        prepare: Callable[..., int] = FUNCTION((NAME, loaded))
    except (OSError, AttributeError) as error:  # of another machine, or of another version
        warnings.warn(f"OpenCV prepares images, more slowly, because of {error}", stacklevel=2)
        return None
    loaded.leansight_begin()
    return prepare


def prepare(
    function: Callable[..., int],
    image: NDArray[np.uint8],
    settings: Settings,
    shape: tuple[int, ...],
) -> NDArray[np.uint8]:
    """Return the pixels of an image (H, W, 3) BGR or (H, W), uint8 of `shape`, contiguous.

    Raises:
        MemoryError: there is no room for what the steps hold.

    """
    channels = image.shape[2] if image.shape[2:] else 1
    beside_each_other = (channels, 1)[: image.ndim - 1]
    if image.strides[1:] != beside_each_other:
        image = np.ascontiguousarray(image)
    pixels = np.empty(shape, np.uint8)
    failed = function(
        image.ctypes.data,
        image.shape[0],
        image.shape[1],
        image.strides[0],
        channels,
        ctypes.addressof(settings),
        ctypes.addressof(
            ctypes.c_char.from_buffer(pixels.data)
        ),  # pixels.ctypes takes twice as long
    )
    if failed:
        raise MemoryError(f"no memory to prepare an image of {image.shape} as {shape}")
    return pixels
