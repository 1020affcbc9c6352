"""What a result says, drawn on its picture."""

import unicodedata
from typing import Final

import numpy as np

from leansight.runtime.extras import opencv
from leansight.runtime.preprocessing import Image
from leansight.runtime.service.caption import caption
from leansight.runtime.stream.classified_stream import StreamResult

# cv2's FONT_HERSHEY_SIMPLEX and LINE_AA.
_FONT: Final = 0
_SMOOTH: Final = 16
_WHITE: Final = (255, 255, 255)
_GRAY: Final = (170, 170, 170)
_AMBER: Final = (60, 180, 255)


def labelled_picture(result: StreamResult, height: int, width: int) -> Image:
    """Return a copy of a result's picture, (height, width, 3), with its caption along the top.

    A picture of another size is scaled, with black beside it. Without a picture it is all black.
    """
    picture = np.zeros((height, width, 3), np.uint8)
    if result.frame is not None:
        _fit_into(picture, result.frame.image)
    strip = max(12, height // 12)
    picture[:strip] //= 3
    _write(picture, caption(result), strip, _colour(result))
    return picture


def _fit_into(picture: Image, image: Image) -> None:
    height, width = picture.shape[:2]
    if image.shape != picture.shape:
        scale = min(height / image.shape[0], width / image.shape[1])
        size = (max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale)))
        image = opencv().resize(image, size, interpolation=3)  # INTER_AREA
    top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
    picture[top : top + image.shape[0], left : left + image.shape[1]] = image


def _write(picture: Image, text: str, strip: int, colour: tuple[int, int, int]) -> None:
    """Write one line into the strip, smaller where it would not fit in."""
    cv2 = opencv()
    text = drawable(text)
    (width, height), _ = cv2.getTextSize(text, _FONT, 1.0, 1)
    margin = strip // 4
    scale = min((strip - 2 * margin) / height, (picture.shape[1] - 2 * margin) / max(1, width))
    thickness = 2 if scale > 1 else 1
    place = (margin, strip - margin)
    cv2.putText(picture, text, place, _FONT, scale, colour, thickness, _SMOOTH)


def drawable(text: str) -> str:
    """Return the text as the font can draw it: OpenCV 5 has letters, older ones ASCII alone."""
    if hasattr(opencv(), "FontFace"):
        return text
    parts = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    plain = "".join(c for c in parts if not unicodedata.combining(c))
    return plain.encode("ascii", "replace").decode()


def _colour(result: StreamResult) -> tuple[int, int, int]:
    if result.prediction is None:
        return _AMBER
    return _WHITE if result.prediction.labels else _GRAY
