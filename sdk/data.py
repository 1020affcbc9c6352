"""Labelled images on disk: which layout a folder has, how it is split, and their pixels."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from leansight.runtime.errors import DataError
from leansight.runtime.images import list_images, read_image
from leansight.runtime.preprocessing import Image, Preprocessing
from leansight.sdk.console import console

SplitBy = Literal["video", "image"]

# S1's file names: `01165_00001` is frame 1 of video 01165. Both parts are digits, so that
# IMG_0001, IMG_0002 … are not taken for frames of one video.
_VIDEO_FRAME: Final = re.compile(r"(?P<video>\d+)_\d+")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One labelled image: `path` is relative to the data's root, `country` "" without countries."""

    path: Path
    label: str
    country: str = ""

    @property
    def video(self) -> str:
        """Name what this image is a frame of; an image that is no frame is its own video."""
        frame = _VIDEO_FRAME.fullmatch(self.path.stem)
        return f"{self.path.parent}/{frame['video'] if frame else self.path.name}"


@dataclass(frozen=True, kw_only=True)
class Split:
    """Samples to learn from, to choose by, and to look at once at the end."""

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    test: tuple[Sample, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Preprocessed images with their classes: pixels (N, S, S, C) uint8, classes (N,) int64."""

    pixels: Image
    classes: NDArray[np.int64]


def find_samples(root: Path) -> list[Sample]:
    """Read `root/CLASS/IMAGE` or `root/COUNTRY/CLASS/IMAGE`, sorted by path.

    Raises:
        DataError: the folder is missing, holds no image, or is neither of the two layouts.

    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder of labelled images: it does not exist")
    samples = []
    for path in (p.relative_to(root) for p in list_images([root])):
        match path.parts:
            case (label, _):
                samples.append(Sample(path=path, label=label))
            case (country, label, _):
                samples.append(Sample(path=path, label=label, country=country))
            case _:
                raise DataError(
                    f"{root / path} is neither {root}/CLASS/IMAGE nor {root}/COUNTRY/CLASS/IMAGE"
                )
    if len({bool(s.country) for s in samples}) > 1:
        raise DataError(f"{root} mixes CLASS/IMAGE and COUNTRY/CLASS/IMAGE: keep to one of them")
    return samples


def find_labels(samples: Iterable[Sample]) -> tuple[str, ...]:
    """Return the class names in alphabetical order; DataError if there are fewer than two."""
    labels = tuple(sorted({s.label for s in samples}))
    if len(labels) < 2:  # noqa: PLR2004 -- a classifier tells at least two classes apart
        raise DataError(
            f"found one class only ({labels[0]}): put the images of each class in their own folder"
        )
    return labels


def split_samples(
    samples: Sequence[Sample], *, by: SplitBy, validation: float, seed: int, test_on: str = ""
) -> Split:
    """Draw the validation share of each class over whole videos (or over single images).

    No video is on both sides. `test_on` names the country that is kept for the test.

    Raises:
        DataError: an unknown country, a class with one video, or one absent from training.

    """
    countries = {s.country for s in samples}
    if test_on and test_on not in countries:
        raise DataError(f"--test-on {test_on}: the data has {_names(countries) or 'no countries'}")
    test = tuple(s for s in samples if test_on and s.country == test_on)
    groups: dict[str, dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        if sample.country != test_on or not test_on:
            groups[sample.label][sample.video if by == "video" else str(sample.path)].append(sample)
    unseen = {s.label for s in test} - set(groups)
    if unseen or not groups:
        raise DataError(f"only {test_on} has {_names(unseen)}: no image is left to learn from")
    train: list[Sample] = []
    held_out: list[Sample] = []
    rng = np.random.default_rng(seed)
    for label, videos in sorted(groups.items()):
        if len(videos) < 2:  # noqa: PLR2004 -- one to learn from, one to judge by
            hint = " (or split single images: --set split.by=image)" if by == "video" else ""
            raise DataError(f"class {label} has one {by}: two or more are needed to split it{hint}")
        names = sorted(videos)
        count = min(max(1, round(validation * len(names))), len(names) - 1)
        chosen = set(rng.choice(len(names), count, replace=False).tolist())
        for index, name in enumerate(names):
            (held_out if index in chosen else train).extend(videos[name])
    return Split(train=tuple(train), validation=tuple(held_out), test=test)


def load_labelled(
    root: Path,
    samples: Sequence[Sample],
    labels: Sequence[str],
    preprocessing: Preprocessing,
    *,
    what: str,
) -> Labelled:
    """Read and preprocess images once, with a progress bar named `what`.

    Raises:
        DataError: files that are no images; the first five are named.

    """
    pixels = np.empty((len(samples), *preprocessing.shape[1:]), np.uint8)

    def load(index: int) -> str:
        try:
            pixels[index] = preprocessing(read_image(root / samples[index].path))[0]
        except DataError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor() as pool:
        done = pool.map(load, range(len(samples)))
        bar = track(done, what, len(samples), console=console(), transient=True)
        problems = [problem for problem in bar if problem]
    if problems:
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""  # noqa: PLR2004
        raise DataError("; ".join(problems[:5]) + more)
    position = {label: index for index, label in enumerate(labels)}
    classes = np.array([position[s.label] for s in samples], np.int64)
    return Labelled(pixels=pixels, classes=classes)


def write_samples(path: Path, samples: Iterable[Sample]) -> None:
    """Write one relative path a line: the split, to read and to repeat."""
    path.write_bytes(b"".join(os.fsencode(s.path.as_posix()) + b"\n" for s in samples))


def read_samples(path: Path) -> list[Sample]:
    """Read what `write_samples` wrote."""
    samples = []
    # Bytes, because a name may hold any of them; and not only "\n" ends a line of a str.
    for line in path.read_bytes().split(b"\n")[:-1]:
        image = Path(os.fsdecode(line))
        country = image.parts[0] if len(image.parts) > 2 else ""  # noqa: PLR2004 -- COUNTRY/CLASS/IMAGE
        samples.append(Sample(path=image, label=image.parts[-2], country=country))
    return samples


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(name for name in names if name))
