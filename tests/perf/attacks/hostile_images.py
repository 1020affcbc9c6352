"""Change one bit of an image file: does anybody say so? And what do the named attacks cost?

    python tests/perf/attacks/hostile_images.py [--images 500] [--seed 1]

Printed is how many of the changed files OpenCV reads without a word, and of how many leansight says
something: that it cannot be read, or what a strict decoder says against it (`classify`,
`data stats`). Then the memory and the time of a processor that the worst of `tests/fuzz/attacks/`
takes. Needs the extra `jpeg`.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))

import cv2
import numpy as np
from hostile.cost import Cost, cost_of

from leansight.runtime.errors import DataError
from leansight.runtime.images import read_image
from leansight.sdk.data.damage import damage_of

ATTACKS = Path(__file__).parents[2] / "fuzz" / "attacks" / "image"


def main() -> None:
    """Print a line for each format, and one for each reader."""
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
    files = [path for path in sorted(ATTACKS.iterdir()) if path.is_file()]
    print(f"{len(files)} attacks, OpenCV: {_worst(cv2.imread, files)}")
    print(f"{len(files)} attacks, leansight: {_worst(read_image, files)}")


def _worst(read: Callable[[str], object], files: list[Path]) -> str:
    costs = [cost_of(partial(read, str(file))) for file in files]
    killed = sum(cost.error == "killed" for cost in costs)
    megabytes, seconds = (max(values) for values in zip(*map(_figures, costs), strict=True))
    return f"up to {megabytes:.0f} MB and {seconds:.2f} s of a processor, {killed} killed"


def _figures(cost: Cost) -> tuple[float, float]:
    return cost.megabytes, cost.seconds


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
