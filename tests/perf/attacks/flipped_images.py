"""Change one bit of an image file: does anybody say so?

    python tests/perf/attacks/flipped_images.py [--images 500] [--seed 1]

Printed is how many of the changed files OpenCV reads without a word, and of how many leansight says
something: that it cannot be read, or what a strict decoder says against it (`classify`,
`data stats`). Needs the extra `jpeg`.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np

from leansight.runtime.errors import DataError
from leansight.runtime.images import read_image
from leansight.sdk.data.damage import damage_of


def main() -> None:
    """Print a line for each format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    with tempfile.TemporaryDirectory() as name:
        for suffix in (".jpg", ".png", ".webp", ".bmp"):
            chance = np.random.default_rng(asked.seed)
            silent = told = 0
            file = Path(name) / f"flipped{suffix}"
            for _ in range(asked.images):
                file.write_bytes(_flipped(_photo(suffix, chance), chance))
                silent += cv2.imread(str(file)) is not None
                told += bool(_said(file))
            print(
                f"{suffix}: {asked.images} files, OpenCV reads {silent}, leansight tells of {told}"
            )


def _photo(suffix: str, chance: np.random.Generator) -> bytes:
    small = chance.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    large = cv2.resize(small, (96, 96), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(suffix, large)[1].tobytes()


def _flipped(data: bytes, chance: np.random.Generator) -> bytes:
    flipped = bytearray(data)
    flipped[chance.integers(len(data))] ^= 1 << int(chance.integers(8))
    return bytes(flipped)


def _said(file: Path) -> str:
    try:
        read_image(file)
    except DataError as error:
        return str(error)
    return damage_of(file)


if __name__ == "__main__":
    main()
