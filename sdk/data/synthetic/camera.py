"""A camera with faults: a scene in perspective, with motion blur, defocus, noise and JPEG.

Lengths are relative to the crop unless a name ends in `_px`.
"""

import math
from typing import Final

import cv2
import numpy as np

from leansight.runtime.preprocessing import Image
from leansight.sdk.data.synthetic.backgrounds import GROUND_PX, Picture, Random
from leansight.sdk.data.synthetic.scenes import BOARD, MAX_CROP_PX, Pose, Scene
from leansight.sdk.data.synthetic.signs import Points

OVERSAMPLED_PX: Final = 80  # smaller crops are composed at twice their size


def photograph(scene: Scene, pose: Pose, rng: Random) -> Image:
    """Return what the camera records: (height_px, width_px, 3) uint8 BGR."""
    scale = 2 if pose.width_px < OVERSAMPLED_PX else 1
    width, height = pose.width_px * scale, pose.height_px * scale
    picture = _see(scene.background, pose, width, height)
    if pose.fill > 0:
        board = _turned(scene.board, pose, width, height)
        picture = picture * (1 - board[..., 3:]) + board[..., :3]
    picture = picture * cv2.resize(scene.shade, (width, height))
    # Fog is grey, even where the sign behind it is too bright.
    fog = np.float32(scene.haze * 0.7 * min(1.0, pose.gain))
    picture = _smeared(picture * np.float32((1 - scene.haze) * pose.gain) + fog, pose.smear)
    small = cv2.resize(picture, (pose.width_px, pose.height_px), interpolation=cv2.INTER_AREA)
    return _recorded(np.asarray(small, np.float32), scene, rng)


def _see(background: Picture, pose: Pose, width: int, height: int) -> Picture:
    """Return the part of the background behind the sign: (height, width, 3)."""
    # Half way to the sign, the far background has hardly grown: a crop shows less of it.
    seen_px = GROUND_PX * (0.85 - 0.4 * min(1.0, pose.width_px / MAX_CROP_PX))
    scale = max(width, height) / seen_px
    x, y = (GROUND_PX * (0.5 + way) for way in pose.pan)
    matrix = np.array([[scale, 0, width / 2 - x * scale], [0, scale, height / 2 - y * scale]])
    seen = cv2.warpAffine(background, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(seen, np.float32)


def _turned(board: Picture, pose: Pose, width: int, height: int) -> Picture:
    """Return the board as seen in perspective: (height, width, 4), premultiplied."""
    px = max(8, round(pose.fill * BOARD * width))
    small = cv2.resize(board, (px, px), interpolation=cv2.INTER_AREA)
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64)
    middle = np.array([(0.5 + pose.shift[0]) * width, (0.5 + pose.shift[1]) * height])
    seen = _projected(square, pose.angles) * px / 2 + middle
    source = ((square + 1) * px / 2 - 0.5).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(source, seen.astype(np.float32))
    return np.asarray(cv2.warpPerspective(small, matrix, (width, height)), np.float32)


def _projected(points: Points, angles: tuple[float, float, float]) -> Points:
    """Turn flat points (N, 2) by roll, pitch, yaw and look at them from a distance of 4."""
    (sr, sp, sy), (cr, cp, cy) = np.sin(angles), np.cos(angles)
    turn = points @ np.array([[cr, sr], [-sr, cr]])
    x, y = turn[:, 0], turn[:, 1]
    depth = x * sy + y * sp
    seen = np.stack([x * cy, y * cp], axis=1) / (1 + depth / 4)[:, None]
    return np.asarray(seen, np.float64)


def _smeared(picture: Picture, smear: tuple[float, float]) -> Picture:
    """Blur a picture along the way it moves while the shutter is open."""
    way = np.array(smear) * picture.shape[1]
    half = math.ceil(np.abs(way).max() / 2)
    if half < 1:
        return picture
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    x, y = np.rint(way / 2).astype(int).tolist()
    cv2.line(kernel, (half - x, half - y), (half + x, half + y), 1.0, 1, cv2.LINE_4)
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), np.float32)


def _recorded(picture: Picture, scene: Scene, rng: Random) -> Image:
    """Add what lens, sensor and JPEG do to a picture, and make it uint8."""
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), scene.defocus_px), np.float32)
    # Light beyond what the sensor holds spills over its neighbours.
    excess = np.clip(picture - 1, 0, 0.5)
    picture = picture + cv2.GaussianBlur(excess, (0, 0), picture.shape[1] / 24)
    grain = rng.standard_normal(picture.shape, np.float32) * np.sqrt(np.clip(picture, 0, 1) + 0.1)
    levels = np.clip((picture + grain * np.float32(scene.noise)) * 255, 0, 255)
    quality = [cv2.IMWRITE_JPEG_QUALITY, scene.quality]
    _, jpeg = cv2.imencode(".jpg", np.rint(levels).astype(np.uint8), quality)
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)
