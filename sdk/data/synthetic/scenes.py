"""Short videos of drawn signs: backgrounds, motion, light and a camera with faults.

Pictures are (H, W, 3) float32 BGR, 1.0 being the brightest the camera can record, until the
camera turns them into uint8. Lengths are relative to the crop unless a name ends in `_px`.
"""

import math
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from leansight.runtime.errors import DataError
from leansight.runtime.preprocessing import Image
from leansight.sdk.data.synthetic.signs import LABELS, NORTHLAND, STYLES, Points, Style, draw_sign

Picture = npt.NDArray[np.float32]
Random = np.random.Generator

SIGN_PX: Final = 256
BOARD: Final = 1.4  # the board that carries sign, post and branches, relative to the sign
GROUND_PX: Final = 256  # side of a background
MORTAR_PX: Final = 3  # between bricks
OVERSAMPLED_PX: Final = 80  # smaller crops are composed at twice their size
FRAMES_PER_VIDEO: Final = 11
MIN_FRAMES: Final = 2
MIN_VIDEOS: Final = 2
GOOD_VIDEOS: Final = 4  # so that a small set, too, can be split by video
SOUTHLAND_SHARE: Final = 4  # one image of so many is from southland
MIN_IMAGES: Final = SOUTHLAND_SHARE * len(LABELS) * MIN_VIDEOS * MIN_FRAMES
MAX_ROLL: Final = math.radians(8)
# Exposure: one video in eight is far too dark, one in eight far too bright.
GAINS: Final = ((0.11, 0.28), (1.7, 2.5), *((0.45, 1.3),) * 6)
MIN_CROP_PX: Final = 20
MAX_CROP_PX: Final = 200
DEMO_PX: Final = 256
DEMO_FPS: Final = 12
DEMO_PAUSE: Final = 6  # frames of background only, before each sign
DEMO_SIGN: Final = 12  # frames of a sign


@dataclass(frozen=True, kw_only=True)
class Video:
    """One video of the data set: which sign of which country, and how many frames."""

    country: str
    label: str
    number: int
    frames: int


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


def plan(images: int) -> list[Video]:
    """Share out exactly `images` frames: 3/4 to northland, evenly over classes and videos.

    Video numbers are unique within a class, over both countries.

    Raises:
        DataError: too few images for two videos of each sign in each country.

    """
    if images < MIN_IMAGES:
        raise DataError(
            f"{images} images are too few for {MIN_VIDEOS} videos of each of {len(LABELS)} signs "
            f"in each country: ask for at least {MIN_IMAGES}"
        )
    few = images // SOUTHLAND_SHARE
    shares = [_share(total, len(LABELS)) for total in (images - few, few)]
    videos = []
    for label, *share in zip(LABELS, *shares, strict=True):
        numbers = count()
        for country, frames in zip(STYLES, share, strict=True):
            parts = max(round(frames / FRAMES_PER_VIDEO), min(GOOD_VIDEOS, frames // MIN_FRAMES))
            videos += [
                Video(country=country, label=label, number=next(numbers), frames=part)
                for part in _share(frames, parts)
            ]
    return videos


def _share(total: int, parts: int) -> list[int]:
    """Split a whole number as evenly as it goes."""
    return [total // parts + (index < total % parts) for index in range(parts)]


def film(video: Video, seed: int) -> list[Image]:
    """Return the frames of one video, each (H, W, 3) uint8 BGR, from its own random stream."""
    rng = np.random.default_rng([seed, LABELS.index(video.label), video.number])
    scene = _scene(video.label, STYLES[video.country], rng)
    return [_photograph(scene, pose, rng) for pose in _approach(video.frames, rng)]


def _sometimes(rng: Random, chance: float) -> bool:
    return bool(rng.random() < chance)


def _drift(rng: Random, frames: int, spread: float, wobble: float) -> list[float]:
    """Return a value for each frame: somewhere within `spread`, then a walk in small steps."""
    values = rng.uniform(-spread, spread) + rng.normal(0, wobble, frames).cumsum()
    return [float(value) for value in values]


def _clouds(rng: Random, px: int, finest: int) -> Picture:
    """Return (px, px) float32 noise from 0 to 1 with detail at every scale up to `finest`."""
    total, cells = np.zeros((px, px), np.float32), 3
    while cells <= finest:
        coarse = rng.random((cells, cells), np.float32)
        layer = np.asarray(cv2.resize(coarse, (px, px), interpolation=cv2.INTER_CUBIC), np.float32)
        total += layer / math.sqrt(cells)
        cells *= 2
    return np.asarray((total - total.min()) / np.ptp(total), np.float32)


def _mix(low: Picture, high: Picture, amount: Picture) -> Picture:
    """Blend two colours (3,) or pictures (H, W, 3) by a plane (H, W) from 0 to 1."""
    return np.asarray(low + (high - low) * amount[..., None], np.float32)


def _colour(rng: Random, low: tuple[float, ...], high: tuple[float, ...]) -> Picture:
    """Draw one BGR colour (3,) on the way from `low` to `high`, a little off it."""
    way = rng.random() + rng.normal(0, 0.08, 3)
    return np.clip(low + (np.array(high) - low) * way, 0, 1).astype(np.float32)


def _sky(rng: Random) -> Picture:
    down = np.linspace(0, 1, GROUND_PX, dtype=np.float32)[:, None]
    clouds = np.clip(_clouds(rng, GROUND_PX, 48) * 1.5 - rng.uniform(0, 0.9), 0, 1)
    blue = _colour(rng, (0.55, 0.38, 0.2), (0.9, 0.65, 0.5))
    white = _colour(rng, (0.7, 0.7, 0.7), (1.0, 0.98, 0.96))
    return _mix(blue, white, clouds * 0.8 + down * 0.2)


def _foliage(rng: Random) -> Picture:
    dark = _colour(rng, (0.02, 0.05, 0.03), (0.1, 0.14, 0.12))
    light = _colour(rng, (0.1, 0.35, 0.2), (0.35, 0.65, 0.6))
    leaves = _mix(dark, light, _clouds(rng, GROUND_PX, 192) ** 1.5)
    holes = np.clip((_clouds(rng, GROUND_PX, 96) - rng.uniform(0.55, 0.95)) * 12, 0, 1)
    return _mix(leaves, _sky(rng), holes)


def _branches(rng: Random) -> Picture:
    picture = _sky(rng)
    bark = _colour(rng, (0.08, 0.1, 0.12), (0.25, 0.3, 0.36))
    _draw_branches(picture, rng, tuple(bark.tolist()), int(rng.integers(10, 30)))
    return picture


def _draw_branches(picture: Picture, rng: Random, colour: tuple[float, ...], number: int) -> None:
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
    bricks = _colour(rng, (0.14, 0.2, 0.35), (0.4, 0.5, 0.68)) * shades[..., None]
    mortar = ((y % height < MORTAR_PX) | (x % width < MORTAR_PX)).astype(np.float32)
    wall = _mix(bricks.astype(np.float32), _colour(rng, (0.5, 0.5, 0.5), (0.75, 0.78, 0.8)), mortar)
    return wall * (0.8 + 0.3 * _clouds(rng, GROUND_PX, 128))[..., None]


def _plain(rng: Random) -> Picture:
    ends = [_colour(rng, (0.1, 0.1, 0.1), (0.9, 0.9, 0.9)) for _ in range(2)]
    return _mix(ends[0], ends[1], _clouds(rng, GROUND_PX, 3))


# Foliage twice: it is what stands behind most signs.
BACKGROUNDS: Final = (_sky, _foliage, _foliage, _branches, _bricks, _plain)


def _scene(label: str, style: Style, rng: Random) -> Scene:
    """Draw by lot everything that stays the same in a video."""
    ground = BACKGROUNDS[rng.integers(len(BACKGROUNDS))](rng)
    return Scene(
        board=_board(draw_sign(label, style, SIGN_PX), rng),
        background=np.asarray(cv2.GaussianBlur(ground, (0, 0), rng.uniform(0.4, 3.5)), np.float32),
        shade=_shade(rng),
        haze=rng.uniform(0.1, 0.45) if _sometimes(rng, 0.15) else 0.0,
        defocus_px=rng.uniform(1.0, 2.2) if _sometimes(rng, 0.12) else rng.uniform(0.1, 0.8),
        noise=rng.uniform(0.005, 0.04),
        quality=int(rng.integers(30, 96)),
    )


def _board(sign: Image, rng: Random) -> Picture:
    """Put a weathered sign on its post, perhaps behind branches: (B, B, 4), premultiplied."""
    px = round(SIGN_PX * BOARD)
    board = np.zeros((px, px, 4), np.float32)
    grey = rng.uniform(0.25, 0.6)
    half = int(rng.integers(5, 11))
    if _sometimes(rng, 0.8):
        board[px // 2 :, px // 2 - half : px // 2 + half] = (grey, grey, grey, 1)
    start = (px - SIGN_PX) // 2
    place = board[start : start + SIGN_PX, start : start + SIGN_PX]
    picture = sign.astype(np.float32) / np.float32(255)
    alpha = picture[..., 3:]
    place *= 1 - alpha
    place[..., :3] += _weathered(picture[..., :3], rng) * alpha
    place[..., 3:] += alpha
    if _sometimes(rng, 0.15):
        colour = _colour(rng, (0.03, 0.06, 0.05), (0.12, 0.3, 0.2)).tolist()
        _draw_branches(board, rng, (*colour, 1), int(rng.integers(3, 9)))
    return board


def _weathered(sign: Picture, rng: Random) -> Picture:
    """Let paint fade, dirt settle and the sun shine on a sign (S, S, 3)."""
    fading = rng.uniform(0.2, 0.6) if _sometimes(rng, 0.2) else rng.uniform(0, 0.15)
    faded = sign + (sign.mean(axis=2, keepdims=True) * 0.6 + 0.3 - sign) * fading
    dirt = np.clip(_clouds(rng, SIGN_PX, 64) - rng.uniform(0.45, 1.0), 0, 1) * 1.6
    dirty = _mix(faded, np.array([0.16, 0.2, 0.23], np.float32), np.clip(dirt, 0, 0.85))
    if _sometimes(rng, 0.15):
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
    if _sometimes(rng, 0.25):
        edge = (across - rng.uniform(-0.6, 0.6)) * rng.uniform(8, 30)
        shade *= 1 - rng.uniform(0.3, 0.65) / (1 + np.exp(-edge))
    return np.asarray(shade[..., None] * rng.normal(1, 0.04, 3), np.float32)


def _approach(frames: int, rng: Random) -> Iterator[Pose]:
    """Yield the poses of a drive towards a sign, whose crops grow from frame to frame."""
    first = rng.uniform(MIN_CROP_PX, 44)
    last = min(first * rng.uniform(1.6, 5.0), MAX_CROP_PX / 1.06)
    widths = np.geomspace(first, last, frames)
    gain = rng.uniform(*GAINS[rng.integers(len(GAINS))])
    fill = rng.uniform(0.78, 0.92)
    smear = rng.normal(0, 0.035, 2)
    roll, pitch, yaw = (_drift(rng, frames, spread, 0.012) for spread in (0.12, 0.2, 0.42))
    pan_x, pan_y = (_drift(rng, frames, 0.25, 0.015) for _ in range(2))
    light = _drift(rng, frames, 0, 0.06)
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


def _photograph(scene: Scene, pose: Pose, rng: Random) -> Image:
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


def write_signs(
    out: Path, *, images: int, seed: int, written: Callable[[int], object], workers: int = 0
) -> None:
    """Write the data set as OUT/COUNTRY/CLASS/VIDEO_FRAME.png; the same bytes for the same seed.

    `written` is told how many images each finished video had; `workers` processes draw them, 0
    being one for each processor. OUT appears when all is done.

    Raises:
        DataError: OUT is there and not an empty folder, or `images` is below `MIN_IMAGES`.
        OSError: the folder cannot be written.

    """
    videos = plan(images)
    with _appearing(out) as folder:
        for frames in _write_videos(videos, folder, seed, workers or os.cpu_count() or 1):
            written(frames)


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """Give a folder beside `out` that becomes `out` if all goes well, or else goes away."""
    out = out.resolve()
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out} is not an empty folder: name a new one, or remove it first")
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    try:
        yield part
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_videos(videos: list[Video], folder: Path, seed: int, workers: int) -> Iterator[int]:
    """Write videos on several processes; yield the number of frames of each."""
    write = partial(_write_video, folder=folder, seed=seed)
    if workers == 1:
        yield from map(write, videos)
        return
    # Spawned, not forked: OpenCV's threads do not survive a fork.
    with get_context("spawn").Pool(workers, _start_worker) as pool:
        yield from pool.imap_unordered(write, videos, chunksize=4)


def _start_worker() -> None:
    cv2.setNumThreads(1)  # one process for each processor is enough
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us


def _write_video(video: Video, *, folder: Path, seed: int) -> int:
    """Write the frames of one video into folder/COUNTRY/CLASS and say how many they are."""
    place = folder / video.country / video.label
    place.mkdir(parents=True, exist_ok=True)
    for frame, image in enumerate(film(video, seed)):
        _, png = cv2.imencode(".png", image)
        (place / f"{video.number:05}_{frame:05}.png").write_bytes(png.tobytes())
    return video.frames


def write_video(out: Path, *, seed: int = 0, seconds: float = 12) -> int:
    """Write the demo, an mp4v video of northland's signs with pauses; return its frames.

    Frames are (256, 256, 3) at 12 per second. A file that exists is replaced.

    Raises:
        DataError: the name does not end in .mp4, or OpenCV cannot write such a video there.

    """
    if out.suffix.lower() != ".mp4":
        raise DataError(f"{out} must end in .mp4")
    frames = max(1, round(seconds * DEMO_FPS))
    out.resolve().parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.stem}.{os.getpid()}.part.mp4")
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(part), codec, DEMO_FPS, (DEMO_PX, DEMO_PX))
    try:
        if not writer.isOpened():
            raise DataError(f"OpenCV cannot write {out}: is the folder writable?")
        for image in islice(_demo(seed), frames):
            writer.write(image)
        writer.release()
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return frames


def _demo(seed: int) -> Iterator[Image]:
    """Yield the frames of the demo without end: a pause, a sign, a pause, a sign ..."""
    rng = np.random.default_rng([seed, len(LABELS)])
    for label in cycle(rng.permutation(LABELS).tolist()):
        scene = replace(_scene(label, NORTHLAND, rng), haze=0.0, defocus_px=0.4, noise=0.01)
        for pose in _passing(rng):
            yield _photograph(scene, pose, rng)


def _passing(rng: Random) -> Iterator[Pose]:
    """Yield the poses of one pause and one sign: background, then a sign that comes near."""
    pan, tilt = rng.uniform(-0.15, 0.15, 2), rng.uniform(-0.12, 0.12, 3)
    for frame in range(-DEMO_PAUSE, DEMO_SIGN):
        near = (frame + 1) / DEMO_SIGN
        yield Pose(
            width_px=DEMO_PX,
            height_px=DEMO_PX,
            fill=0.9 - 0.25 * (1 - near) ** 2 if frame >= 0 else 0.0,
            shift=(0.08 * (1 - near), 0.0),
            angles=(tilt[0], tilt[1], tilt[2]),
            pan=(pan[0] + 0.06 * near, pan[1]),
        )
