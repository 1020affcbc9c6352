"""What a file holds by its first bytes, whatever it is called, and how its picture is turned."""

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

ImageFormat = Literal[
    "avif", "bmp", "gif", "heic", "jpeg", "jpeg2000", "png", "pnm", "tiff", "webp"
]

HEAD_BYTES: Final = 32  # of a file, from which its format is known
_SIGNATURES: Final[Mapping[ImageFormat, bytes]] = {
    "jpeg": rb"\xff\xd8\xff",
    "png": rb"\x89PNG\r\n\x1a\n",
    "gif": rb"GIF8[79]a",
    "webp": rb"RIFF....WEBP",
    "tiff": rb"II[*+]\0|MM\0[*+]",
    # The four bytes after the file's size are 0, and the header has one of a few lengths.
    "bmp": rb"BM....\0{4}....[\x0c\x28\x34\x38\x40\x6c\x7c]\0{3}",
    "pnm": rb"P[1-6]\s+[\d#]",
    "jpeg2000": rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
    "avif": rb"....ftyp(?:avif|avis|mif1....(?:....)?avif)",
    "heic": rb"....ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)",
}
# Tags of TIFF 6.0 and EXIF.
SAMPLES_PER_PIXEL: Final = 0x0115
_ORIENTATION: Final = 0x0112
_SHORT: Final = 3  # the type of numbers of two bytes
_FIT_IN_ENTRY: Final = 2
_GRAY_BITS: Final = (1, 2, 4, 8)  # of 16, OpenCV tells
_CHECKSUM_BYTES: Final = 4  # after each chunk of a PNG
_END_CHECKSUM: Final = zlib.crc32(b"IEND").to_bytes(_CHECKSUM_BYTES)
_SIZES: Final = struct.Struct(">II")  # a PNG's width and height


def format_of(head: bytes) -> ImageFormat | None:
    """Return the image format of a file from its first `HEAD_BYTES`; None if it is no image."""
    signatures = _SIGNATURES.items()
    return next((name for name, sign in signatures if re.match(sign, head, re.DOTALL)), None)


def png_chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the name and the content of each chunk of a PNG file (ISO/IEC 15948), to its end."""
    at, name = 8, b""
    while at + 8 <= len(data) and name != b"IEND":  # what follows is no part of the picture
        length, name = struct.unpack_from(">I4s", data, at)
        yield name, data[at + 8 : at + 8 + length]
        at += 12 + length


def webp_chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the name and the content of each chunk of a WebP file (RFC 9649)."""
    at = 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        yield name, data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def png_pixels(data: memoryview) -> int:
    """Return how many pixels a PNG file says that it has (ISO/IEC 15948, 11.2.1); 0 if damaged."""
    name, content = next(png_chunks(data), (b"", memoryview(b"")))
    if name != b"IHDR" or len(content) < _SIZES.size:
        return 0
    width, height = _SIZES.unpack_from(content)
    return int(width * height)


def png_is_cut(data: memoryview) -> bool:
    """Return whether a chunk of a PNG file says that it is longer than what is left of the file."""
    at = 8
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        at += 12 + length
        if name == b"IEND" and data[at - _CHECKSUM_BYTES : at] == _END_CHECKSUM:
            break  # with any other checksum OpenCV reads on
    return at > len(data) + _CHECKSUM_BYTES  # OpenCV does without the last one


def webp_pixels(data: memoryview) -> int:
    """Return how many pixels a WebP file says that it has (RFC 9649, RFC 6386); 0 if damaged."""
    name, content = next(webp_chunks(data), (b"", memoryview(b"")))
    try:
        match name:
            case b"VP8X":
                sides = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (4, 7))
                return next(sides) * next(sides)
            case b"VP8L":
                (sizes,) = struct.unpack_from("<I", content, 1)
                return int((1 + (sizes & 0x3FFF)) * (1 + (sizes >> 14 & 0x3FFF)))
            case b"VP8 ":
                width, height = struct.unpack_from("<HH", content, 6)
                return int((width & 0x3FFF) * (height & 0x3FFF))
    except struct.error:
        return 0
    return 0


def tiff_directory(data: memoryview) -> tuple[dict[int, int], bool]:
    """Return tags and first values of the first directory of TIFF or EXIF data, and if one follows.

    Only whole numbers of one or two bytes are read; the rest, and a damaged directory, is left out.
    """
    order = ">" if bytes(data[:2]) == b"MM" else "<"
    tags: dict[int, int] = {}
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(f"{order}HHI", data, entry)
            if kind == _SHORT:  # up to two lie in the entry itself, more elsewhere
                place = entry + 8
                if values > _FIT_IN_ENTRY:
                    (place,) = struct.unpack_from(f"{order}I", data, place)
                (tags[tag],) = struct.unpack_from(f"{order}H", data, place)
        (following,) = struct.unpack_from(f"{order}I", data, at + 2 + 12 * count)
    except struct.error:
        return tags, False
    return tags, following != 0


def exif_orientation(data: memoryview, kind: ImageFormat) -> int:
    """Return the EXIF orientation, 1 to 8, of a PNG or WebP file; 1 if it has none."""
    chunks = png_chunks(data) if kind == "png" else webp_chunks(data)
    exif = next((bytes(content) for name, content in chunks if name in (b"eXIf", b"EXIF")), b"")
    return orientation_of(exif)


def orientation_of(exif: bytes) -> int:
    """Return the orientation, 1 to 8, that EXIF data names; 1 if it names none."""
    tags, _ = tiff_directory(memoryview(exif.removeprefix(b"Exif\0\0")))
    return tags.get(_ORIENTATION, 1)


def transparent_gray(data: memoryview) -> int | None:
    """Return the level, of 255, that a gray PNG file without an alpha channel says is transparent.

    OpenCV leaves this out, though not for colours and palettes.
    """
    chunks: dict[bytes, memoryview] = {}
    for name, content in png_chunks(data):
        chunks.setdefault(name, content)  # of several the first counts
    bits, colour_type = bytes(chunks.get(b"IHDR", b""))[8:10].ljust(2, b"\0")
    if b"tRNS" not in chunks or colour_type != 0 or bits not in _GRAY_BITS:
        return None
    level = int.from_bytes(chunks[b"tRNS"][:2])
    return level * 255 // int(2**bits - 1)


def turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return (H, W, ...) pixels the right way up, from an EXIF orientation (CIPA DC-008, 4.6.4)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
