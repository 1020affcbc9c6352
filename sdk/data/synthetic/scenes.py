"""What a video shows: a weathered sign on its post, its background and light, and how it nears.

Lengths are relative to the crop unless a name ends in `_px`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from leansight.runtime.preprocessing import Image
from leansight.sdk.data.synthetic.backgrounds import (
    BACKGROUNDS,
    Picture,
    Random,
    blend,
    cloud_noise,
    draw_branches,
    draw_colour,
    random_walk,
    sometimes,
)
from leansight.sdk.data.synthetic.signs import draw_sign
from leansight.sdk.data.synthetic.styles import Style

SIGN_PX: Final = 256
BOARD: Final = 1.4  # the board that carries sign, post and branches, relative to the sign
MAX_ROLL: Final = math.radians(8)
# Exposure: one video in eight is far too dark, one in eight far too bright.
GAINS: Final = ((0.11, 0.28), (1.7, 2.5), *((0.45, 1.3),) * 6)
MIN_CROP_PX: Final = 20
MAX_CROP_PX: Final = 200


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What stays the same in a video.

    `board` is (B, B, 4) float32, premultiplied; `shade` (64, 64, 3) float32 multiplies the
    light; `haze` 0 to 1 is how much of it is fog; `defocus_px`, `noise` and `quality` (of JPEG,
    1 to 100) belong to the camera.
    """

    board: Picture
    background: Picture
    shade: Picture
    haze: float
    defocus_px: float
    noise: float
    quality: int


@dataclass(frozen=True, kw_only=True)
class Pose:
    """What changes from frame to frame.

    `fill` is the width of the sign relative to the crop (0: no sign), `shift` its way off the
    middle, `angles` are roll, pitch and yaw in radians, `gain` multiplies the light, `smear` is
    the way (x, y) that the picture moves while the shutter is open.
    """

    width_px: int
    height_px: int
    fill: float
    shift: tuple[float, float]
    angles: tuple[float, float, float]
    pan: tuple[float, float]
    gain: float = 1.0
    smear: tuple[float, float] = (0.0, 0.0)


def draw_scene(label: str, style: Style, rng: Random) -> Scene:
    """Draw by lot everything that stays the same in a video."""
    ground = BACKGROUNDS[rng.integers(len(BACKGROUNDS))](rng)
    return Scene(
        board=_board(draw_sign(label, style, SIGN_PX), rng),
        background=np.asarray(cv2.GaussianBlur(ground, (0, 0), rng.uniform(0.4, 3.5)), np.float32),
        shade=_shade(rng),
        haze=rng.uniform(0.1, 0.45) if sometimes(rng, 0.15) else 0.0,
        defocus_px=rng.uniform(1.0, 2.2) if sometimes(rng, 0.12) else rng.uniform(0.1, 0.8),
        noise=rng.uniform(0.005, 0.04),
        quality=int(rng.integers(30, 96)),
    )


def _board(sign: Image, rng: Random) -> Picture:
    """Put a weathered sign on its post, perhaps behind branches: (B, B, 4), premultiplied."""
    px = round(SIGN_PX * BOARD)
    board = np.zeros((px, px, 4), np.float32)
    grey = rng.uniform(0.25, 0.6)
    half = int(rng.integers(5, 11))
    if sometimes(rng, 0.8):
        board[px // 2 :, px // 2 - half : px // 2 + half] = (grey, grey, grey, 1)
    start = (px - SIGN_PX) // 2
    place = board[start : start + SIGN_PX, start : start + SIGN_PX]
    picture = sign.astype(np.float32) / np.float32(255)
    alpha = picture[..., 3:]
    place *= 1 - alpha
    place[..., :3] += _weathered(picture[..., :3], rng) * alpha
    place[..., 3:] += alpha
    if sometimes(rng, 0.15):
        colour = draw_colour(rng, (0.03, 0.06, 0.05), (0.12, 0.3, 0.2)).tolist()
        draw_branches(board, rng, (*colour, 1), int(rng.integers(3, 9)))
    return board


def _weathered(sign: Picture, rng: Random) -> Picture:
    """Let paint fade, dirt settle and the sun shine on a sign (S, S, 3)."""
    fading = rng.uniform(0.2, 0.6) if sometimes(rng, 0.2) else rng.uniform(0, 0.15)
    faded = sign + (sign.mean(axis=2, keepdims=True) * 0.6 + 0.3 - sign) * fading
    dirt = np.clip(cloud_noise(rng, SIGN_PX, 64) - rng.uniform(0.45, 1.0), 0, 1) * 1.6
    dirty = blend(faded, np.array([0.16, 0.2, 0.23], np.float32), np.clip(dirt, 0, 0.85))
    if sometimes(rng, 0.15):
        y, x = np.mgrid[-1:1:256j, -1:1:256j]
        far = (x - rng.uniform(-0.8, 0.8)) ** 2 + (y - rng.uniform(-0.8, 0.8)) ** 2
        shine = np.exp(-far / rng.uniform(0.1, 0.4)).astype(np.float32)
        dirty = dirty + shine[..., None] * np.float32(rng.uniform(0.2, 0.5))
    return dirty


def _shade(rng: Random) -> Picture:
    """Return what each part of the crop gets of the light: (64, 64, 3), around 1."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    angle = rng.uniform(0, 2 * math.pi, 2)
    along, across = (x * math.cos(a) + y * math.sin(a) for a in angle)
    shade = 1 + along * rng.uniform(0, 0.3)
    if sometimes(rng, 0.25):
        edge = (across - rng.uniform(-0.6, 0.6)) * rng.uniform(8, 30)
        shade *= 1 - rng.uniform(0.3, 0.65) / (1 + np.exp(-edge))
    return np.asarray(shade[..., None] * rng.normal(1, 0.04, 3), np.float32)


def approach(frames: int, rng: Random) -> Iterator[Pose]:
    """Yield the poses of a drive towards a sign, whose crops grow from frame to frame."""
    first = rng.uniform(MIN_CROP_PX, 44)
    last = min(first * rng.uniform(1.6, 5.0), MAX_CROP_PX / 1.06)
    widths = np.geomspace(first, last, frames)
    gain = rng.uniform(*GAINS[rng.integers(len(GAINS))])
    fill = rng.uniform(0.78, 0.92)
    smear = rng.normal(0, 0.035, 2)
    roll, pitch, yaw = (random_walk(rng, frames, spread, 0.012) for spread in (0.12, 0.2, 0.42))
    pan_x, pan_y = (random_walk(rng, frames, 0.25, 0.015) for _ in range(2))
    light = random_walk(rng, frames, 0, 0.06)
    for index, width in enumerate(widths):
        height = float(np.clip(width * rng.uniform(0.94, 1.06), MIN_CROP_PX, MAX_CROP_PX))
        x, y = rng.normal(0, 0.02, 2)
        moved = smear * rng.uniform(0.2, 1.4)
        yield Pose(
            width_px=round(width),
            height_px=round(height),
            fill=fill + rng.normal(0, 0.015),
            shift=(x, y),
            angles=(max(-MAX_ROLL, min(roll[index], MAX_ROLL)), pitch[index], yaw[index]),
            pan=(pan_x[index], pan_y[index]),
            gain=gain * math.exp(light[index]),
            smear=(moved[0], moved[1]),
        )
