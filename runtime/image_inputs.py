"""What a classifier takes for an image: an array, a PIL image, a path, the bytes of a file."""

import sys
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.errors import DataError, MissingExtraError
from leansight.runtime.extras import opencv
from leansight.runtime.images import decode_image, opaque, read_image
from leansight.runtime.preprocessing import Image

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

ImageInput: TypeAlias = Union[Image, "PilImage", str, "PathLike[str]", bytes, bytearray, memoryview]
"""A uint8 array, a PIL image, the path of a file, or the bytes of one (JPEG, PNG, ...)."""

_PIL_MODES: Final = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
_OPAQUE: Final = 255


def to_bgr(image: ImageInput, *, rgb: bool = False) -> Image:
    """Return an image as preprocessing takes it: (H, W, 3) BGR or (H, W) gray, uint8.

    An array is (H, W) or (H, W, 1) gray, (H, W, 3) BGR or (H, W, 4) BGR and alpha; with `rgb` its
    colours are in the order RGB. A PIL image is turned as its EXIF data says, a file is read
    by `read_image`; their order is known. Transparent pixels are shown on white, everywhere.

    Raises:
        DataError: a file or a PIL image cannot be read.
        ValueError: anything else that is not such an image.

    """
    match image:
        case np.ndarray():
            return _from_array(image, rgb=rgb)
        case str() | PathLike():
            return read_image(Path(image))
        case bytes() | bytearray() | memoryview():
            return decode_image(np.frombuffer(image, np.uint8))
    pil = sys.modules.get("PIL.Image")  # who has a PIL image has imported PIL
    if pil is not None and isinstance(image, pil.Image):
        return _from_pil(image)
    if image is None:
        raise ValueError("the image is None: cv2.imread returns it for a file that it cannot read")
    raise ValueError(
        "an image is a numpy array, a PIL image, a path or the bytes of a file, not "
        f"{type(image).__name__}"
    )


def _from_array(image: NDArray[Any], *, rgb: bool) -> Image:
    if image.dtype != np.uint8:
        raise ValueError(
            f"the image has {image.dtype} pixels: whole numbers of 8 bits are expected, from 0 to "
            "255, dtype uint8"
        )
    if image.size == 0:
        raise ValueError(f"the image has no pixels: its shape is {image.shape}")
    match image.shape:
        case (_, _):
            return image
        case (_, _, 1):
            return image[..., 0]
        case (_, _, 3):
            return _three_channels(image, rgb=rgb) if rgb else image
        case (_, _, 4):
            return _without_alpha(image, rgb=rgb)
    raise ValueError(
        "an image has the shape (height, width), or (height, width, channels) with 1, 3 or 4 "
        f"channels, not {image.shape}"
    )


def _without_alpha(image: Image, *, rgb: bool) -> Image:
    alpha = image[..., 3]
    if alpha.min() == _OPAQUE:  # as in every frame of a camera
        return _three_channels(image, rgb=rgb)
    if not alpha.any():
        raise ValueError(
            "all pixels of the image are transparent: if its fourth channel is no alpha, pass "
            "image[..., :3]"
        )
    return _three_channels(opaque(image), rgb=rgb)


def _from_pil(image: "PilImage") -> Image:
    if image.mode not in _PIL_MODES:
        raise ValueError(
            f'a PIL image of mode "{image.mode}" is not taken: convert it to "RGB" or "L"'
        )
    try:
        upright = import_module("PIL.ImageOps").exif_transpose(image)
    except OSError as error:
        raise DataError(f"the PIL image cannot be read: {error}") from error
    if "A" in image.mode or "transparency" in image.info:
        return _three_channels(opaque(np.asarray(upright.convert("RGBA"))), rgb=True)
    if image.mode in {"1", "L"}:
        return np.asarray(upright.convert("L"))
    return _three_channels(np.asarray(upright.convert("RGB")), rgb=True)


def _three_channels(image: Image, *, rgb: bool) -> Image:
    """Return (H, W, 3) BGR from (H, W, 3 or 4) of that order, or of RGB."""
    try:
        cv2 = opencv()
    except MissingExtraError:
        return np.ascontiguousarray(image[..., 2::-1] if rgb else image[..., :3])
    if image.shape[2] == len("BGR"):
        return cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if rgb else image
    return cv2.cvtColor(image, cv2.COLOR_RGBA2BGR if rgb else cv2.COLOR_BGRA2BGR)
