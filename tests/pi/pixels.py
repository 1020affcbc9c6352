"""Prepare drawn pictures by drawn settings, and compare the bytes of several machines.

    pixels.py write c=C.json opencv=CV.json [--settings 100] [--seed 0]     on each machine
    pixels.py compare NAME=C.json NAME=CV.json...     on one of them

`c` is the C library, `opencv` what stands in for it where it was not compiled.
Settings and pictures come of Python's own random numbers and of whole-number arithmetic: they
are the same with every version of Python and numpy, and on every processor.
"""

import argparse
import hashlib
import json
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import numpy as np

from leansight.runtime.pixels import compiled
from leansight.runtime.preprocessing import (
    MAX_ASPECT,
    Clahe,
    Colour,
    Fit,
    Image,
    Interpolation,
    Preprocessing,
)

IMAGES_PER_SETTING = 3
LARGEST_SIZE = 300
# Sizes that people write, beside any: networks' own, and those around a power of two.
USUAL_SIZES = (8, 16, 24, 28, 32, 33, 48, 64, 75, 96, 100, 112, 128, 160, 192, 224, 256, 299, 300)
CLIP_LIMITS = (0.01, 0.5, 1.0, 2.0, 2.5, 3.0, 4.0, 7.7, 40.0, 1000.0)
# Height and width: as cameras give them, single rows and pixels, primes.
SHAPES = ((480, 640), (97, 131), (1, 1), (1, 37), (53, 2), (240, 320), (64, 64), (211, 40))


def seeded(*seed: object) -> random.Random:
    """Return random numbers that come out the same wherever they are drawn again."""
    return random.Random(str(seed))  # noqa: S311 -- no secret


def draw_setting(drawn: random.Random) -> Preprocessing:
    """Return a preprocessing that a recipe can state, of up to 300 pixels a side."""
    usual = drawn.random() < 0.5
    clahe = Clahe(clip_limit=drawn.choice(CLIP_LIMITS), tiles=drawn.randrange(1, 17))
    setting = Preprocessing(
        size=drawn.choice(USUAL_SIZES) if usual else drawn.randrange(1, LARGEST_SIZE + 1),
        colour=drawn.choice(get_args(Colour)),
        clahe=drawn.choice((None, clahe, clahe, clahe)),
        fit=drawn.choice(get_args(Fit)),
        interpolation=drawn.choice(get_args(Interpolation)),
        difference_of_gaussians=drawn.choice((False, True)),
    )
    if drawn.random() < 0.5:
        return setting
    return replace(setting, size=_unequal_sides(drawn, setting))


def _unequal_sides(drawn: random.Random, setting: Preprocessing) -> tuple[int, int]:
    """Return height and width, of which one is the setting's."""
    least = -(-setting.height // MAX_ASPECT)
    most = min(LARGEST_SIZE, MAX_ASPECT * setting.height)
    other = drawn.randrange(least, most + 1)
    return drawn.choice(((setting.height, other), (other, setting.height)))


def draw_image(drawn: random.Random) -> Image:
    """Return a picture, gray or BGR: noise, smooth shades, or flat patches with hard edges."""
    height, width = drawn.choice(SHAPES)
    channels = drawn.choice((1, 3, 3))
    texture = drawn.choice((_noise, _shades, _patches))
    image = np.dstack([texture(drawn, height, width) for _ in range(channels)])
    return image[..., 0].copy() if channels == 1 else image


def _noise(drawn: random.Random, height: int, width: int) -> Image:
    noise: Image = np.frombuffer(drawn.randbytes(height * width), np.uint8)
    return noise.reshape(height, width)


def _shades(drawn: random.Random, height: int, width: int) -> Image:
    """Return a slope in both directions, with a little noise, as a dark photo has it."""
    down, right = drawn.randrange(256), drawn.randrange(256)
    slope = np.arange(height)[:, None] * down // height + np.arange(width) * right // width
    shades: Image = (slope // 2 + _noise(drawn, height, width) // 32).astype(np.uint8)
    return shades


def _patches(drawn: random.Random, height: int, width: int) -> Image:
    patch = drawn.randrange(1, 40)
    rows, columns = -(-height // patch), -(-width // patch)
    few = _noise(drawn, rows, columns).repeat(patch, axis=0).repeat(patch, axis=1)
    return few[:height, :width]


def digests(settings: int, seed: int) -> Iterator[tuple[str, list[str]]]:
    """Yield each drawn setting as JSON, with a digest of the bytes of each of its pictures."""
    for number in range(settings):
        drawn = seeded(seed, number)
        setting = draw_setting(drawn)
        images = [draw_image(drawn) for _ in range(IMAGES_PER_SETTING)]
        text = json.dumps(setting.to_dict(), sort_keys=True)
        yield f"{number}: {text}", [_digest(setting(image)) for image in images]


def _digest(pixels: Image) -> str:
    shape = np.array(pixels.shape, "<i8").tobytes()
    return hashlib.sha256(shape + pixels.tobytes()).hexdigest()[:16]


Machines = Mapping[str, Mapping[str, Sequence[str]]]


def differing(machines: Machines) -> dict[str, list[str]]:
    """Return which machines gave other bytes than the first, by setting.

    Raises:
        ValueError: a machine did not prepare the same settings.

    """
    (_, expected), *others = machines.items()
    for machine, found in others:
        if found.keys() != expected.keys():
            raise ValueError(f"{machine} prepared other settings: give all the same --seed")
    names = {
        setting: [machine for machine, found in others if found[setting] != bytes_here]
        for setting, bytes_here in expected.items()
    }
    return {setting: machines for setting, machines in names.items() if machines}


def write(arguments: argparse.Namespace) -> int:
    """Write the digests of this machine."""
    for engine, out in arguments.files:
        library = compiled.library() if engine == "c" else None
        if engine == "c" and library is None:
            sys.stderr.write("pixels: the C library of leansight was not compiled here\n")
            return 2
        with patch.object(compiled, "library", return_value=library):
            out.write_text(json.dumps(dict(digests(arguments.settings, arguments.seed)), indent=1))
    return 0


def compare(arguments: argparse.Namespace) -> int:
    """Name the settings whose bytes differ; return 1 if there is one, 2 for files of no use."""
    try:
        machines = {name: json.loads(file.read_text()) for name, file in arguments.files}
        found = differing(machines)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"pixels: {error}\n")
        return 2
    for setting, others in found.items():
        sys.stderr.write(f"pixels: {', '.join(others)}: other bytes for {setting}\n")
    total = len(next(iter(machines.values())))
    sys.stdout.write(f"{len(found)} of {total} settings give other bytes\n")
    return 1 if found else 0


def named_file(text: str) -> tuple[str, Path]:
    """Split NAME=FILE."""
    name, separator, file = text.partition("=")
    if not (name and separator and file):
        raise argparse.ArgumentTypeError(f"expected NAME=FILE, not {text!r}")
    return name, Path(file)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of the head of this file."""
    parser = argparse.ArgumentParser(prog="pixels.py", description=__doc__.partition("\n")[0])
    commands: Any = parser.add_subparsers(required=True)
    writing = commands.add_parser("write", help=str(write.__doc__))
    writing.set_defaults(run=write)
    writing.add_argument("files", nargs="+", type=named_file, metavar="ENGINE=OUT.json")
    writing.add_argument("--settings", type=int, default=100)
    writing.add_argument("--seed", type=int, default=0)
    comparing = commands.add_parser("compare", help=str(compare.__doc__))
    comparing.set_defaults(run=compare)
    comparing.add_argument("files", nargs="+", type=named_file, metavar="NAME=FILE")
    arguments = parser.parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
