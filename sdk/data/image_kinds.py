"""What is not plain about image files: transparency, 16 bits, several pages or frames."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from leansight.runtime.image_formats import (
    HEAD_BYTES,
    SAMPLES_PER_PIXEL,
    ImageFormat,
    format_of,
    png_chunks,
    tiff_directory,
)

TRANSPARENT: Final = "with transparent pixels, shown on white"
DEEP: Final = "of 16 bits, scaled by their own range"
SEVERAL: Final = "of several pages or frames, of which the first is read"

# How much of a file is read to know: of a PNG what comes before its pixels, of others all (-1).
_READ_BYTES: Final[Mapping[ImageFormat | None, int]] = {"png": 1 << 16, "gif": -1, "tiff": -1}
_PNG_ALPHA: Final = (4, 6)  # colour types
_DEEP_BITS: Final = 16
_BITS_PER_SAMPLE: Final = 0x0102
_EXTRA_SAMPLES: Final = 0x0152
_WEBP_ANIMATION, _WEBP_ALPHA = 0x02, 0x10  # flags of the chunk VP8X
_GIF_EXTENSION, _GIF_IMAGE, _GIF_CONTROL = 0x21, 0x2C, 0xF9


class ImageKind(NamedTuple):
    """Whether a file may have transparent pixels, has 16 bits, and several pages or frames."""

    transparent: bool = False
    deep: bool = False
    several: bool = False


def special_images(folder: Path, paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Return the images that are read in a way that should be said, by what is special."""
    special: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        kind = _kind_of(folder / path)
        for what, holds in zip((TRANSPARENT, DEEP, SEVERAL), kind, strict=True):
            if holds:
                special[what].append(path)
    return special


def _kind_of(path: Path) -> ImageKind:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            form = format_of(head)
            data = head + file.read(_READ_BYTES.get(form, 0))
    except OSError:
        return ImageKind()  # named when its pixels are read
    try:
        return _read_kind(form, data)
    except IndexError:
        return ImageKind()  # a damaged file, named when its pixels are read


def _read_kind(form: ImageFormat | None, data: bytes) -> ImageKind:
    match form:
        case "png":
            names = {name for name, _ in png_chunks(memoryview(data))}
            transparent = data[25] in _PNG_ALPHA or b"tRNS" in names
            return ImageKind(transparent, data[24] == _DEEP_BITS, b"acTL" in names)
        case "webp" if data[12:16] == b"VP8X":
            flags = data[20]
            return ImageKind(bool(flags & _WEBP_ALPHA), several=bool(flags & _WEBP_ANIMATION))
        case "webp":
            # The bit after the two sizes of 14 bits of a lossless image.
            return ImageKind(data[12:16] == b"VP8L" and bool(data[24] & 0x10))
        case "tiff":
            tags, several = tiff_directory(memoryview(data))
            deep = tags.get(_BITS_PER_SAMPLE) == _DEEP_BITS
            alpha = _EXTRA_SAMPLES in tags and tags.get(SAMPLES_PER_PIXEL) in (2, 4)
            return ImageKind(alpha, deep, several)
        case "gif":
            return _gif_kind(data)
        case _:
            return ImageKind()


def _gif_kind(data: bytes) -> ImageKind:
    """Walk through the blocks of a GIF file (CompuServe, 1990) up to its second picture."""
    at, frames, transparent = 13 + _colour_table(data[10]), 0, False
    while frames <= 1 and at < len(data):
        if data[at] == _GIF_EXTENSION:
            transparent |= data[at + 1] == _GIF_CONTROL and bool(data[at + 3] & 1)
            at += 2
        elif data[at] == _GIF_IMAGE:
            frames += 1
            at += 11 + _colour_table(data[at + 9])
        else:
            break
        while data[at]:  # blocks of up to 255 bytes, the last is empty
            at += 1 + data[at]
        at += 1
    return ImageKind(transparent, several=frames > 1)


def _colour_table(flags: int) -> int:
    """Return the bytes of the colour table that the flags say follows."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
