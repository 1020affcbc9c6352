"""Read image files: 8-bit BGR, the right way up, without transparency."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.errors import BrokenPackageError, DataError, MissingExtraError
from leansight.runtime.extras import MAX_PIXELS_VARIABLE, max_pixels, opencv, require
from leansight.runtime.image_formats import (
    HEAD_BYTES,
    SAMPLES_PER_PIXEL,
    exif_orientation,
    format_of,
    orientation_of,
    png_is_cut,
    png_pixels,
    tiff_directory,
    transparent_gray,
    turned,
    webp_pixels,
)
from leansight.runtime.preprocessing import Image
from leansight.runtime.system.regular_files import read_regular

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

MAX_SIDE: Final = 1 << 16  # pixels; a JPEG has at most one less
MOST_BYTES: Final = 1 << 30  # of an image file
BACKGROUND: Final = 255  # gray level of what is seen through transparent pixels: white
_OPAQUE: Final = 255
_BAND_PIXELS: Final = 1 << 18
_EIGHT_BITS: Final = 8
_PILLOW_ERRORS: Final = (OSError, SyntaxError, ValueError)  # of files that are damaged
_WITH_ALPHA: Final = 4  # channels
_GRAY_AND_ALPHA: Final = 2
_PNG_BITS_AT: Final = 24  # the byte of a PNG file that says how many bits a value has

Raw = NDArray[Any]
"""Pixels as a file holds them: (H, W), (H, W, 3) BGR or (H, W, 4) BGR and alpha."""


def read_image(path: Path) -> Image:
    """Return the image in a file as (H, W, 3) uint8 BGR, turned as its EXIF data says.

    The format is known from the content, not from the name; of several pages or frames the first
    is read. Transparent pixels are shown on white. Whole numbers of 16 bits are scaled so that the
    smallest value of the image becomes 0 and its largest 255. The same file gives the same
    bytes in training and on the device: where OpenCV is not installed, Pillow reads JPEG and PNG
    files and gives what OpenCV gives, but refuses CMYK and 16 bits.

    Raises:
        DataError: there is no such file, it cannot be opened, it is no image, its pixels have other
            than 8 or 16 bits, or it has more pixels than OPENCV_IO_MAX_IMAGE_PIXELS (100 million
            unless it is set), or a side of more than 65,536; it is HEIC, and pillow-heif is not
            installed.
        MissingExtraError: OpenCV is not installed, nor Pillow for a JPEG or PNG file.

    """
    try:
        data = np.frombuffer(read_regular(path, MOST_BYTES), np.uint8)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except OSError as error:  # no rights, a folder, a bad disk
        raise DataError(f"{path} cannot be opened: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return decode_image(data, str(path))


def decode_image(data: NDArray[np.uint8], name: str = "the image") -> Image:
    """Return what `read_image` returns of a file, from the file's bytes (N,) uint8.

    Raises:
        DataError: as `read_image`, with `name` as the file.
        MissingExtraError: OpenCV is not installed.

    """
    kind = format_of(data[:HEAD_BYTES].tobytes())
    match kind:
        case "jpeg" | "png" if not _has_opencv():
            raw = _decode_with_pillow(name, data.tobytes(), kind)
        case "png" | "webp":
            _check_sizes(name, data.data, kind)
            raw = _with_alpha(_decode(name, data), data, kind)
        case "tiff":
            _check_tiff(name, data)
            raw = _decode(name, data)
        case "heic":
            raw = _decode_heic(name, data.tobytes())
        case _:
            raw = _decode(name, data, oriented=kind == "jpeg")
    if max(raw.shape[:2]) > MAX_SIDE:
        raise DataError(f"{name} has a side of more than {MAX_SIDE:,} pixels: cut it")
    # libtiff multiplies colours of 8 bits by their alpha, OpenCV's other decoders do not.
    premultiplied = kind == "tiff" and raw.dtype == np.uint8
    return opaque(_eight_bits(name, raw), premultiplied=premultiplied)


def _has_opencv() -> bool:
    """Whether OpenCV can be imported: asked by importing it, which threads may do at once."""
    try:
        opencv()
    except MissingExtraError:
        return False
    return True


def opaque(pixels: Image, *, premultiplied: bool = False) -> Image:
    """Return (H, W, 3): gray as three equal channels, transparent pixels on `BACKGROUND`.

    `premultiplied`: colours are multiplied by their alpha already.
    """
    if pixels.ndim == len("HW"):
        return np.repeat(pixels[..., None], 3, axis=2)
    if pixels.shape[2] != _WITH_ALPHA:
        return pixels
    clear = np.empty((*pixels.shape[:2], 3), np.uint8)
    for rows in _bands(pixels):
        colours, alpha = (
            pixels[rows, :, :3].astype(np.uint32),
            pixels[rows, :, 3:].astype(np.uint32),
        )
        weighted = colours * (_OPAQUE if premultiplied else alpha)
        mixed = weighted + BACKGROUND * (_OPAQUE - alpha)
        clear[rows] = np.minimum((mixed + _OPAQUE // 2) // _OPAQUE, _OPAQUE)
    return clear


def _bands(pixels: Raw) -> Iterator[slice]:
    """Yield the rows of an image, some at a time: numbers of 32 bits take four times the room."""
    step = max(1, _BAND_PIXELS // max(1, pixels.shape[1]))
    yield from (slice(at, at + step) for at in range(0, pixels.shape[0], step))


def _decode(name: str, data: NDArray[np.uint8], *, oriented: bool = False) -> Raw:
    """Decode with OpenCV: `oriented` turns the image as EXIF data says, and drops transparency."""
    cv2 = opencv()
    flags = cv2.IMREAD_COLOR if oriented else cv2.IMREAD_UNCHANGED
    try:
        image = cv2.imdecode(data, flags) if data.size else None
    except cv2.error as error:
        if "CV_IO_MAX_IMAGE" in str(error):  # the size is checked before memory is taken
            raise _too_large(name) from error
        raise DataError(f"{name} is not an image that OpenCV can read") from error
    if image is None:
        raise DataError(f"{name} is not an image that OpenCV can read")
    if image.shape[0] * image.shape[1] > max_pixels():  # OpenCV was imported before we were
        raise _too_large(name)
    return image


def _decode_with_pillow(name: str, data: bytes, kind: Literal["jpeg", "png"]) -> Raw:
    """Return (H, W, 3) of a JPEG and (H, W, 4) of a PNG file, turned as its EXIF data says."""
    image = _open_with_pillow(name, data, kind)
    if image.width * image.height > max_pixels():
        raise _too_large(name)
    if image.mode == "CMYK" or (kind == "png" and data[_PNG_BITS_AT] > _EIGHT_BITS):
        raise DataError(
            f"{name} has four colours or 16 bits, which Pillow reads otherwise than OpenCV: "
            "save it as RGB with 8 bits, or: pip install 'leansight[opencv]'"
        )
    try:
        pixels = np.asarray(image.convert("RGB" if kind == "jpeg" else "RGBA"))
    except _PILLOW_ERRORS as error:
        raise _not_read_by_pillow(name, error) from error
    exif = image.info.get("exif", b"")
    turn = orientation_of(exif) if kind == "jpeg" else exif_orientation(memoryview(data), kind)
    return turned(pixels[..., [2, 1, 0, 3][: pixels.shape[-1]]], turn)


def _open_with_pillow(name: str, data: bytes, kind: Literal["jpeg", "png"]) -> "PillowImage":
    """Return an image whose size is known and whose pixels are not decoded yet."""
    pillow: Any = require(
        "PIL.Image", package="OpenCV or Pillow", extra="opencv", system_package="python3-pil"
    )
    try:
        with warnings.catch_warnings():  # of many pixels: we allow another number
            warnings.simplefilter("ignore", pillow.DecompressionBombWarning)
            image: PillowImage = pillow.open(io.BytesIO(data), formats=[kind])
    except pillow.DecompressionBombError as error:
        raise _too_large(name) from error
    except _PILLOW_ERRORS as error:
        raise _not_read_by_pillow(name, error) from error
    return image


def _not_read_by_pillow(name: str, error: Exception) -> DataError:
    return DataError(f"{name} is not an image that Pillow can read: {error}")


def _with_alpha(raw: Raw, data: NDArray[np.uint8], kind: Literal["png", "webp"]) -> Raw:
    """Turn a PNG or WebP image as its EXIF data says, and give a gray one its alpha channel."""
    level = transparent_gray(data.data) if kind == "png" and raw.ndim == len("HW") else None
    if level is not None:
        alpha = np.where(raw == level, 0, _OPAQUE).astype(np.uint8)
        raw = np.dstack((raw, raw, raw, alpha))
    return turned(raw, exif_orientation(data.data, kind))


def _check_sizes(name: str, data: memoryview, kind: Literal["png", "webp"]) -> None:
    """Raise DataError for what OpenCV takes memory for before it looks: gigabytes for 91 bytes."""
    if (png_pixels if kind == "png" else webp_pixels)(data) > max_pixels():
        raise _too_large(name)
    if kind == "png" and png_is_cut(data):
        raise DataError(f"{name} is not an image that OpenCV can read: it ends too early")


def _check_tiff(name: str, data: NDArray[np.uint8]) -> None:
    """Raise DataError for gray with an alpha channel, which OpenCV would drop."""
    tags, _ = tiff_directory(data.data)
    if tags.get(SAMPLES_PER_PIXEL) == _GRAY_AND_ALPHA:
        raise DataError(f"{name} is a gray TIFF file with transparency: save it as PNG")


def _decode_heic(name: str, data: bytes) -> Raw:
    try:
        heif: Any = require("pillow_heif", package="pillow-heif", extra="heif")
    except (MissingExtraError, BrokenPackageError) as error:
        raise DataError(f"{name} is a HEIC image: {error}") from error
    try:
        file = heif.open_heif(data)
        width, height = file.size
        if width * height > max_pixels():
            raise _too_large(name)
        pixels: Raw = np.asarray(file)  # is decoded now
    except (ValueError, RuntimeError, EOFError, OSError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name} is not an image that pillow-heif can read: {error}") from error
    return pixels[..., [2, 1, 0, 3][: pixels.shape[-1]]] if pixels.ndim > len("HW") else pixels


def _too_large(name: str) -> DataError:
    return DataError(
        f"{name} has more than {max_pixels():,} pixels: make it smaller, or set the "
        f"environment variable {MAX_PIXELS_VARIABLE}"
    )


def _eight_bits(name: str, raw: Raw) -> Image:
    """Scale 16 bits to 8: colours by their own range, alpha by its whole range."""
    if raw.dtype == np.uint8:
        return raw
    if raw.dtype != np.uint16:
        raise DataError(f"{name} has pixels of type {raw.dtype}: save it with 8 or 16 bits")
    colours = raw[..., :3] if raw.ndim > len("HW") else raw
    low, high = int(colours.min()), int(colours.max())
    scaled = np.empty(raw.shape, np.uint8)
    for rows in _bands(raw):
        scaled[rows] = _scaled(raw[rows], low, high)
    return scaled


def _scaled(raw: Raw, low: int, high: int) -> NDArray[np.uint32]:
    """Scale colours so that `low` becomes 0 and `high` 255, or by 257 if they are the same."""
    wide, span = raw.astype(np.uint32), high - low
    scaled = ((wide - low) * 255 + span // 2) // span if span else wide // 257
    if raw.shape[2:] == (_WITH_ALPHA,):
        scaled[..., 3] = wide[..., 3] // 257
    return scaled
