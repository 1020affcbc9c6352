"""The data set of drawn signs, frames of short videos, and a longer video for a demo."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from leansight.runtime.errors import DataError, LeansightError
from leansight.runtime.preprocessing import Image
from leansight.runtime.system.parent import end_with
from leansight.runtime.system.whole_files import whole_file, whole_folder
from leansight.sdk.data.synthetic.backgrounds import Random
from leansight.sdk.data.synthetic.camera import photograph
from leansight.sdk.data.synthetic.countries import STYLES
from leansight.sdk.data.synthetic.northland import NORTHLAND
from leansight.sdk.data.synthetic.scenes import Pose, approach, draw_scene
from leansight.sdk.data.synthetic.styles import LABELS
from leansight.sdk.system.files import write_text

FRAMES_PER_VIDEO: Final = 11
MIN_FRAMES: Final = 2
MIN_VIDEOS: Final = 2
GOOD_VIDEOS: Final = 4  # so that a small set, too, can be split by video
SOUTHLAND_SHARE: Final = 4  # one image of so many is from southland
MIN_IMAGES: Final = SOUTHLAND_SHARE * len(LABELS) * MIN_VIDEOS * MIN_FRAMES
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


def plan(images: int) -> list[Video]:
    """Share out exactly `images` frames: 3/8 to northland and eastland each, 1/4 to southland.

    Evenly over classes and videos; video numbers are unique within a class, over all countries.

    Raises:
        DataError: too few images for two videos of each sign in each country.

    """
    if images < MIN_IMAGES:
        raise DataError(
            f"{images} images are too few for {MIN_VIDEOS} videos of each of {len(LABELS)} signs "
            f"in each country: ask for at least {MIN_IMAGES}"
        )
    few = images // SOUTHLAND_SHARE
    totals = (*_share(images - few, len(STYLES) - 1), few)
    shares = [_share(total, len(LABELS)) for total in totals]
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
    scene = draw_scene(video.label, STYLES[video.country], rng)
    return [photograph(scene, pose, rng) for pose in approach(video.frames, rng)]


def write_signs(
    out: Path, *, images: int, seed: int, written: Callable[[int], object], workers: int = 0
) -> None:
    """Write the data set as OUT/COUNTRY/CLASS/VIDEO_FRAME.png; the same bytes for the same seed.

    `written` is told how many images each finished video had; `workers` processes draw them, 0
    being one for each processor. OUT appears when all is done.

    Raises:
        DataError: OUT is there and not an empty folder, or `images` is below `MIN_IMAGES`.
        LeansightError: one of the processes was killed.
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
    with whole_folder(out) as part:
        yield part


def _write_videos(videos: list[Video], folder: Path, seed: int, workers: int) -> Iterator[int]:
    """Write videos on several processes; yield the number of frames of each."""
    write = partial(_write_video, folder=folder, seed=seed)
    if workers == 1:
        yield from map(write, videos)
        return
    # Spawned, not forked: OpenCV's threads do not survive a fork. A Pool of multiprocessing would
    # wait for ever for one that is killed.
    spawn = get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, spawn, _start_worker, (os.getpid(),)) as pool:
            yield from pool.map(write, videos, chunksize=4)
    except BrokenProcessPool as error:
        raise LeansightError(
            "a process that draws images was killed (not enough memory?): end other programs"
        ) from error


def _start_worker(parent: int) -> None:
    if not end_with(parent):  # without it, a worker waits for ever for the next video
        os._exit(0)
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


def write_video(
    out: Path, *, seed: int = 0, seconds: float = 12, labels: Path | None = None
) -> int:
    """Write the demo, an mp4v video of northland's signs with pauses; return its frames.

    Frames are (256, 256, 3) at 12 per second. `labels` is a CSV file, frame,label, of what each
    frame shows: frames count from 0, a pause has no label. Files that exist are replaced.

    Raises:
        DataError: the name does not end in .mp4, or OpenCV cannot write such a video there.

    """
    if out.suffix.lower() != ".mp4":
        raise DataError(f"{out} must end in .mp4")
    frames = max(1, round(seconds * DEMO_FPS))
    out.resolve().parent.mkdir(parents=True, exist_ok=True)
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    shown = ["frame,label"]
    with whole_file(out, suffix=".part.mp4") as part:
        writer = cv2.VideoWriter(str(part), codec, DEMO_FPS, (DEMO_PX, DEMO_PX))
        if not writer.isOpened():
            raise DataError(f"OpenCV cannot write {out}: is the folder writable?")
        for number, (label, image) in enumerate(islice(_demo(seed), frames)):
            writer.write(image)
            shown.append(f"{number},{label}")
        writer.release()
    if labels is not None:
        write_text(labels, "\n".join(shown) + "\n")
    return frames


def _demo(seed: int) -> Iterator[tuple[str, Image]]:
    """Yield the demo's frames with what they show, without end: a pause, a sign, a pause ..."""
    rng = np.random.default_rng([seed, len(LABELS)])
    for label in cycle(rng.permutation(LABELS).tolist()):
        scene = replace(draw_scene(label, NORTHLAND, rng), haze=0.0, defocus_px=0.4, noise=0.01)
        for pose in _passing(rng):
            yield (label if pose.fill else ""), photograph(scene, pose, rng)


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
