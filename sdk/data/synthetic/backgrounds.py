"""What stands behind a sign: sky, leaves, branches, bricks, or a plain wall.

Pictures are (H, W, C) float32 BGR, 1.0 being the brightest that a camera can record.
"""

import math
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.float32]
Random = np.random.Generator
GROUND_PX: Final = 256  # side of a background
MORTAR_PX: Final = 3  # between bricks


def sometimes(rng: Random, chance: float) -> bool:
    """Return True with probability `chance`."""
    return bool(rng.random() < chance)


def random_walk(rng: Random, frames: int, spread: float, wobble: float) -> list[float]:
    """Return a value for each frame: somewhere within `spread`, then a walk in small steps."""
    values = rng.uniform(-spread, spread) + rng.normal(0, wobble, frames).cumsum()
    return [float(value) for value in values]


def cloud_noise(rng: Random, px: int, finest: int) -> Picture:
    """Return (px, px) float32 noise from 0 to 1 with detail at every scale up to `finest`."""
    total, cells = np.zeros((px, px), np.float32), 3
    while cells <= finest:
        coarse = rng.random((cells, cells), np.float32)
        layer = np.asarray(cv2.resize(coarse, (px, px), interpolation=cv2.INTER_CUBIC), np.float32)
        total += layer / math.sqrt(cells)
        cells *= 2
    return np.asarray((total - total.min()) / np.ptp(total), np.float32)


def blend(low: Picture, high: Picture, amount: Picture) -> Picture:
    """Blend two colours (3,) or pictures (H, W, 3) by a plane (H, W) from 0 to 1."""
    return np.asarray(low + (high - low) * amount[..., None], np.float32)


def draw_colour(rng: Random, low: tuple[float, ...], high: tuple[float, ...]) -> Picture:
    """Draw one BGR colour (3,) on the way from `low` to `high`, a little off it."""
    way = rng.random() + rng.normal(0, 0.08, 3)
    return np.clip(low + (np.array(high) - low) * way, 0, 1).astype(np.float32)


def _sky(rng: Random) -> Picture:
    down = np.linspace(0, 1, GROUND_PX, dtype=np.float32)[:, None]
    clouds = np.clip(cloud_noise(rng, GROUND_PX, 48) * 1.5 - rng.uniform(0, 0.9), 0, 1)
    blue = draw_colour(rng, (0.55, 0.38, 0.2), (0.9, 0.65, 0.5))
    white = draw_colour(rng, (0.7, 0.7, 0.7), (1.0, 0.98, 0.96))
    return blend(blue, white, clouds * 0.8 + down * 0.2)


def _foliage(rng: Random) -> Picture:
    dark = draw_colour(rng, (0.02, 0.05, 0.03), (0.1, 0.14, 0.12))
    light = draw_colour(rng, (0.1, 0.35, 0.2), (0.35, 0.65, 0.6))
    leaves = blend(dark, light, cloud_noise(rng, GROUND_PX, 192) ** 1.5)
    holes = np.clip((cloud_noise(rng, GROUND_PX, 96) - rng.uniform(0.55, 0.95)) * 12, 0, 1)
    return blend(leaves, _sky(rng), holes)


def _branches(rng: Random) -> Picture:
    picture = _sky(rng)
    bark = draw_colour(rng, (0.08, 0.1, 0.12), (0.25, 0.3, 0.36))
    draw_branches(picture, rng, tuple(bark.tolist()), int(rng.integers(10, 30)))
    return picture


def draw_branches(picture: Picture, rng: Random, colour: tuple[float, ...], number: int) -> None:
    """Draw crooked lines across a picture (S, S, C), in place."""
    px = picture.shape[0]
    for _ in range(number):
        angle = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.normal(0, 0.35, 9))
        steps = np.stack([np.cos(angle), np.sin(angle)], axis=1) * px * rng.uniform(0.05, 0.16)
        points = rng.uniform(-0.1, 1.1, 2) * px + np.cumsum(steps, axis=0)
        path, thickness = [np.rint(points).astype(np.int32)], int(rng.integers(1, 6))
        cv2.polylines(picture, path, isClosed=False, color=colour, thickness=thickness)


def _bricks(rng: Random) -> Picture:
    height, width = int(rng.integers(12, 24)), int(rng.integers(30, 56))
    y, x = np.indices((GROUND_PX, GROUND_PX))
    row = y // height
    x = x + row % 2 * (width // 2)
    shades = rng.uniform(0.7, 1.15, (GROUND_PX, GROUND_PX)).astype(np.float32)[row, x // width]
    bricks = draw_colour(rng, (0.14, 0.2, 0.35), (0.4, 0.5, 0.68)) * shades[..., None]
    mortar = ((y % height < MORTAR_PX) | (x % width < MORTAR_PX)).astype(np.float32)
    wall = blend(
        bricks.astype(np.float32), draw_colour(rng, (0.5, 0.5, 0.5), (0.75, 0.78, 0.8)), mortar
    )
    return wall * (0.8 + 0.3 * cloud_noise(rng, GROUND_PX, 128))[..., None]


def _plain(rng: Random) -> Picture:
    ends = [draw_colour(rng, (0.1, 0.1, 0.1), (0.9, 0.9, 0.9)) for _ in range(2)]
    return blend(ends[0], ends[1], cloud_noise(rng, GROUND_PX, 3))


# Foliage twice: it is what stands behind most signs.
BACKGROUNDS: Final = (_sky, _foliage, _foliage, _branches, _bricks, _plain)
