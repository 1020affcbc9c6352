"""Decodes the pictures of a motion-JPEG stream one by one, and refuses damaged ones.

FFmpeg fills what is missing of a picture with the one before it, and says nothing.
"""

import importlib.util
from collections.abc import Callable

import numpy as np

from leansight.runtime.errors import DamagedFrameError
from leansight.runtime.extras import opencv, require
from leansight.runtime.preprocessing import Image

_END_OF_IMAGE = b"\xff\xd9"


def strict_decoder() -> Callable[[bytes], Image]:
    """Return what decodes a JPEG to (H, W, 3) uint8 BGR and raises DamagedFrameError.

    Where simplejpeg is missing, OpenCV decodes, and only data that end too early are noticed.
    """
    return by_simplejpeg if importlib.util.find_spec("simplejpeg") else by_opencv


def by_simplejpeg(data: bytes) -> Image:
    """Decode a JPEG; each warning of libjpeg-turbo is a DamagedFrameError."""
    simplejpeg = require("simplejpeg", package="simplejpeg", extra="jpeg")
    try:
        image: Image = simplejpeg.decode_jpeg(data, "BGR", strict=True)
    except ValueError as error:
        raise DamagedFrameError(f"a JPEG is damaged: {error}") from error
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
