"""Read image files and find them in folders."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from leansight.runtime.errors import DataError
from leansight.runtime.extras import opencv
from leansight.runtime.preprocessing import Image

SUFFIXES: Final = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def read_image(path: Path) -> Image:
    """Return the image in a file as (H, W, 3) uint8 BGR, turned as its EXIF data says.

    Raises:
        DataError: there is no such file, or it is no image.

    """
    cv2 = opencv()
    try:
        data = np.fromfile(path, np.uint8)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise DataError(f"{path} is not an image that OpenCV can read")
    return image


def list_images(paths: Iterable[Path]) -> list[Path]:
    """Return the given files, and the image files anywhere below the given folders, sorted.

    Raises:
        DataError: a path does not exist, or a folder holds no image.

    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"{path} does not exist")
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not inside:
            raise DataError(f"{path} holds no image ({', '.join(sorted(SUFFIXES))})")
        found.extend(inside)
    return found
