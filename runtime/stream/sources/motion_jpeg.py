"""Decodes the pictures of motion JPEG one by one, and refuses damaged ones.

FFmpeg fills what is missing of a picture with the one before it, and says nothing.
"""

import importlib.util
import re
from collections.abc import Callable
from typing import Final

import numpy as np

from leansight.runtime.errors import DamagedFrameError
from leansight.runtime.extras import opencv, require
from leansight.runtime.preprocessing import Image

_UNNOTICED: Final = (
    "pictures whose bytes are damaged are not noticed, only those that end too early: "
    "pip install 'leansight[jpeg]'"
)
_END_OF_IMAGE: Final = b"\xff\xd9"
_EXTRA_BYTES: Final = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_MOST_EXTRA_BYTES: Final = 16


def strict_decoder() -> Callable[[bytes], Image]:
    """Return what decodes a JPEG to (H, W, 3) uint8 BGR and raises DamagedFrameError.

    Where simplejpeg is missing, OpenCV decodes, and only data that end too early are noticed.
    """
    return by_simplejpeg if importlib.util.find_spec("simplejpeg") else by_opencv


def strict_decoder_notice() -> str:
    """Return what `strict_decoder` cannot notice here, a line for people; "" where it can all."""
    return "" if importlib.util.find_spec("simplejpeg") else _UNNOTICED


def by_simplejpeg(data: bytes, *, extra_bytes: int = _MOST_EXTRA_BYTES) -> Image:
    """Decode a JPEG; each warning of libjpeg-turbo but one is a DamagedFrameError.

    A few bytes too many before the end are what some cameras write after every picture; damaged
    data leaves more of them. So many `extra_bytes` are no damage.
    """
    simplejpeg = require("simplejpeg", package="simplejpeg", extra="jpeg")
    try:
        image: Image = simplejpeg.decode_jpeg(data, "BGR", strict=True)
    except ValueError as error:
        extra = _EXTRA_BYTES.search(str(error))
        if extra is None or int(extra[1]) > extra_bytes:
            raise DamagedFrameError(f"a JPEG is damaged: {error}") from error
        image = simplejpeg.decode_jpeg(data, "BGR", strict=False)
    return image


def by_opencv(data: bytes) -> Image:
    """Decode a JPEG; one that ends too early, or cannot be decoded, is a DamagedFrameError."""
    if not data.rstrip(b"\r\n\0").endswith(_END_OF_IMAGE):
        raise DamagedFrameError("a JPEG ends too early")
    cv2 = opencv()
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise DamagedFrameError("a JPEG cannot be decoded")
    return image
