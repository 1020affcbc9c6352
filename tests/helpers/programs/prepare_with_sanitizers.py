"""Prepare drawn images with a library that checks its memory: the file, a seed, how many."""

import ctypes
import sys

import numpy as np

from leansight.runtime.pixels import compiled
from leansight.runtime.preprocessing import MAX_ASPECT, Clahe, Preprocessing


def main() -> None:
    """The sanitizers end the program where a byte outside a buffer is read or written."""
    path, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    library = ctypes.CDLL(path)
    library.leansight_begin()
    compiled.library = lambda: compiled.FUNCTION((compiled.NAME, library))  # type: ignore[assignment]
    rng = np.random.default_rng(seed)
    for _ in range(count):
        height, width = (int(side) for side in rng.integers(1, rng.choice([3, 40, 600]), 2))
        shape = (height, width, 3)[: rng.integers(2, 4)]
        tiles = int(rng.integers(0, 12))
        Preprocessing(
            size=_draw_size(rng),
            colour=rng.choice(["gray", "rgb"]).item(),
            fit=rng.choice(["stretch", "letterbox", "centre-crop"]).item(),
            interpolation=rng.choice(["area", "linear", "nearest"]).item(),
            clahe=Clahe(tiles=tiles, clip_limit=float(rng.uniform(0.01, 9))) if tiles else None,
            difference_of_gaussians=bool(rng.integers(2)),
        )(rng.integers(0, 256, shape, np.uint8))


def _draw_size(rng: np.random.Generator) -> int | tuple[int, int]:
    height, width = (int(side) for side in rng.integers(1, rng.choice([4, 40, 200]), 2))
    if rng.integers(2):
        return height
    longest = MAX_ASPECT * min(height, width)
    return min(height, longest), min(width, longest)


if __name__ == "__main__":
    main()
