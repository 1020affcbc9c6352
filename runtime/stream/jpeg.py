"""Frames as JPEG, by simplejpeg or by OpenCV, whichever is there."""

import importlib.util
from typing import Final

import numpy as np

from leansight.runtime.extras import opencv, require
from leansight.runtime.preprocessing import Image

QUALITY: Final = 80  # of 100, to look at; twice the colour is in half the resolution


def encode_jpeg(image: Image, *, quality: int = QUALITY, most_px: int | None = None) -> bytes:
    """Return a picture (H, W, 3) uint8 BGR as JPEG.

    Of one whose longer side is more than `most_px` each second, third, ... pixel is left.

    Raises:
        MissingExtraError: neither simplejpeg nor OpenCV is installed.

    """
    step = 1 if most_px is None else -(-max(image.shape[:2]) // most_px)
    pixels = np.ascontiguousarray(image[::step, ::step])
    if importlib.util.find_spec("simplejpeg"):
        simplejpeg = require("simplejpeg", package="simplejpeg", extra="jpeg")
        data: bytes = simplejpeg.encode_jpeg(pixels, quality, "BGR", "420")
        return data
    cv2 = opencv()
    ok, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok, "OpenCV encodes every picture of this type"
    return bytes(encoded)
