"""Print how often real photos, and what dusk, fog and night make of them, are called unusable.

    LEANSIGHT_DATA=... python tests/perf/unusable_pictures.py [--half report] [--most 400]

The thresholds were chosen on the half `choose`; decision 25 has the table of the half `report`.
Dusk, night, fog and over-exposure are computed in linear light: shot noise of a pixel that holds
8,000 electrons, read noise of 4, and Koschmieder's law for fog of one distance.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np

from leansight.runtime.preprocessing import Image
from leansight.runtime.stream.visibility import find_fault

ELECTRONS = 8000
READ_NOISE = 4.0
AIRLIGHT = 0.6  # linear: a light grey
DATA = Path(os.environ.get("LEANSIGHT_DATA", "../shared/data"))
FOLDERS = {
    **{kind: f"weather/{kind}" for kind in ("cloudy", "rain", "shine", "sunrise")},
    "flowers": "flowers",
    "sign crops": "signs/germany",
}

Change = Callable[[Image, np.random.Generator], Image]


def linear(image: Image) -> np.ndarray:
    """Return light of 0 to 1 (sRGB's curve undone)."""
    values = image / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encoded(light: np.ndarray) -> Image:
    """Return levels of 0 to 255 of light, clipped to 0 to 1."""
    light = np.clip(light, 0, 1)
    curve = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(curve * 255).astype(np.uint8)


def exposed(exposure: float, gain: float = 1) -> Change:
    """Return a change to so much of the light, then amplified."""

    def change(image: Image, chance: np.random.Generator) -> Image:
        electrons = chance.poisson(linear(image) * exposure * ELECTRONS)
        read = electrons + chance.normal(0, READ_NOISE, image.shape)
        return encoded(read / ELECTRONS * gain)

    return change


def foggy(transmission: float) -> Change:
    """Return a change to fog that lets so much of the light through."""
    return lambda image, _: encoded(linear(image) * transmission + AIRLIGHT * (1 - transmission))


def defocused(share: float) -> Change:
    """Return a change to a Gaussian blur of so much of the longer side, computed on 64 pixels."""

    def change(image: Image, _: np.random.Generator) -> Image:
        small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)
        blurred = cv2.GaussianBlur(small, (0, 0), share * 64, borderType=cv2.BORDER_REPLICATE)
        return np.asarray(cv2.resize(blurred, image.shape[1::-1]), np.uint8)

    return change


OF_PHOTOS: dict[str, Change] = {
    "as it is": lambda image, _: image,
    **{f"dusk, 1/{n} of the light": exposed(1 / n) for n in (4, 16)},
    **{f"night, 1/{n}, gain 16": exposed(1 / n, 16) for n in (64, 256, 1024, 4096)},
    **{f"fog, {t:.0%} let through": foggy(t) for t in (0.3, 0.1, 0.05, 0.03, 0.01)},
    **{f"{n} times the light": exposed(n) for n in (4, 16, 1024)},
    **{f"blur of {s:.0%} of the side": defocused(s) for s in (0.05, 0.2, 0.5)},
}


def drawn(level: float, noise: float, blur: float = 0, vignette: float = 0) -> Change:
    """Return a picture (480, 640, 3) of one level, with noise and darker corners."""

    def draw(_: Image, chance: np.random.Generator) -> Image:
        y, x = np.mgrid[-1:1:480j, -1:1:640j]
        ground = level * (1 - vignette * (x**2 + y**2) / 2)
        grain = chance.normal(0, noise, (480, 640, 3))
        if blur:
            grain = cv2.GaussianBlur(grain, (0, 0), blur) * blur * 2 * np.sqrt(np.pi)
        return np.clip(np.rint(ground[..., None] + grain), 0, 255).astype(np.uint8)

    return draw


DRAWN: dict[str, Change] = {
    "black": drawn(0, 0),
    "black, noise 3": drawn(2, 3),
    "black, noise 15": drawn(8, 15),
    "black, coarse noise 8": drawn(8, 8, blur=1),
    "white": drawn(255, 0),
    "white, noise 5": drawn(252, 5),
    "gray": drawn(120, 0),
    "gray, noise 4": drawn(120, 4),
    "gray, corners 1 % darker": drawn(120, 2, vignette=0.01),
    "gray, corners 10 % darker": drawn(120, 2, vignette=0.1),
    "noise 30": drawn(128, 30),
    "noise 80": drawn(128, 80),
    "coarse noise 30": drawn(128, 30, blur=1),
    "coarser noise 30": drawn(128, 30, blur=3),
}


def photos_of(half: str, most: int) -> dict[str, list[Image]]:
    """Return up to so many photos of each kind, of one half of the files."""
    chance, first = np.random.default_rng(0), half == "report"
    photos = {}
    for kind, folder in FOLDERS.items():
        files = sorted(path for path in (DATA / folder).rglob("*") if path.is_file())
        chosen = [files[i] for i in chance.permutation(len(files))[first::2][:most]]
        read = (cv2.imread(str(path)) for path in chosen)
        photos[kind] = [np.asarray(image, np.uint8) for image in read if image is not None]
    return photos


def rows(changes: Mapping[str, Change], photos: Mapping[str, list[Image]]) -> Iterator[str]:
    """Yield for each change the share of each kind of photo called unusable, and as what."""
    chance = np.random.default_rng(1)
    for name, change in changes.items():
        cells, names = [], Counter[str]()
        for images in photos.values():
            faults = [find_fault(change(image, chance)) for image in images]
            names.update(fault for fault in faults if fault)
            cells.append(f"{sum(map(bool, faults)) / len(faults):.1%}")
        yield f"| {name} | {' | '.join(cells)} | {', '.join(sorted(names))} |"


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--half", choices=("choose", "report"), default="report")
    arguments.add_argument("--most", type=int, default=400)
    options = arguments.parse_args()
    if not DATA.is_dir():
        sys.exit(f"{DATA} is missing: set LEANSIGHT_DATA to the folder of real photos")
    photos = photos_of(options.half, options.most)
    heads = (f"{kind} ({len(images)})" for kind, images in photos.items())
    print(f"| | {' | '.join(heads)} | called |")
    print("|---|" + "---|" * (len(photos) + 1))
    for row in rows(OF_PHOTOS, photos):
        print(row, flush=True)
    print("\n| drawn, 20 of each | noticed | called |\n|---|---|---|")
    print(*rows(DRAWN, {"": [np.zeros((1, 1, 3), np.uint8)] * 20}), sep="\n")
    frame = DRAWN["noise 80"](np.zeros((1, 1, 3), np.uint8), np.random.default_rng(2))
    times = []
    for _ in range(200):
        begin = perf_counter()
        find_fault(frame)
        times.append((perf_counter() - begin) * 1000)
    print(f"\n640x480: {np.median(times):.2f} ms in the middle")


if __name__ == "__main__":
    main()
