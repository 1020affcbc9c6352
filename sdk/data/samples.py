"""Labelled images: what a sample is, their pixels in memory, and lists of them on disk."""

import csv
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from leansight.runtime.decision import Task
from leansight.runtime.errors import DataError
from leansight.runtime.images import read_image
from leansight.runtime.preprocessing import Image, Preprocessing
from leansight.sdk.system.console import console

Box = tuple[int, int, int, int]

# The header of a written list, which is a data set of the layout "csv" as well.
LIST_FIELDS: Final = ("path", "labels", "country", "video", "box")
LABEL_SEPARATOR: Final = "|"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image: `path` is relative to the data's root, `country` "" without countries.

    `labels`: one for classification, any number for many labels. Images with the same `video`,
    unique over the data set, belong together; "" is no video's. `box` is the region of the image
    that is meant: x1, y1, x2, y2 in pixels, x2 and y2 exclusive.
    """

    path: Path
    labels: tuple[str, ...]
    country: str = ""
    video: str = ""
    box: Box | None = None

    def __post_init__(self) -> None:
        if self.box is not None:
            x1, y1, x2, y2 = self.box
            if not (0 <= x1 < x2 and 0 <= y1 < y2):
                raise ValueError(f"a box is x1 y1 x2 y2 with x1 < x2 and y1 < y2, not {self.box}")

    @property
    def label(self) -> str:
        """The one label; "" unless there is exactly one."""
        return self.labels[0] if len(self.labels) == 1 else ""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Samples to learn from, to choose by, and to look at once at the end."""

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    test: tuple[Sample, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Preprocessed images with what they show: pixels (N, S, S, C) uint8.

    `classes` is (N,) int64 for classification, (N, K) int64 of 0 and 1 for many labels.
    """

    pixels: Image
    classes: NDArray[np.int64]


def images_folder(root: Path) -> Path:
    """Return what the paths of samples are relative to: a CSV file's folder, or `root` itself."""
    return root.parent if root.is_file() else root


def read_sample(folder: Path, sample: Sample) -> Image:
    """Return a sample's image, or its region of it, as (H, W, 3) uint8 BGR.

    Raises:
        DataError: the file cannot be read, is no image, or does not hold the region.

    """
    path = folder / sample.path
    try:
        image = read_image(path)
    except OSError as error:  # no rights, a folder, a bad disk
        raise DataError(f"{path} cannot be opened: {error.strerror}") from error
    if sample.box is None:
        return image
    x1, y1, x2, y2 = sample.box
    height, width = image.shape[:2]
    if x2 > width or y2 > height:
        raise DataError(f"{path} has {width}×{height} pixels: its box {sample.box} lies outside")
    return image[y1:y2, x1:x2]


def visit_images(
    root: Path, samples: Sequence[Sample], visit: Callable[[int, Image], None], *, what: str
) -> dict[int, str]:
    """Hand (position, image) of every sample to `visit`, in threads, with a bar named `what`.

    Returns what is wrong with the images that cannot be read, by their position.
    """
    folder = images_folder(root)

    def read(index: int) -> str:
        try:
            visit(index, read_sample(folder, samples[index]))
        except DataError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor() as pool:
        done = pool.map(read, range(len(samples)))
        bar = track(done, what, len(samples), console=console(), transient=True)
        return {index: problem for index, problem in enumerate(bar) if problem}


def require_readable(problems: dict[int, str], count: int) -> None:
    """Raise DataError if any of `count` images cannot be read; the first five are named."""
    if problems:
        raise DataError(
            f"{len(problems)} of {count} images cannot be used: "
            f"{first_five(problems.values())}: put them right, or leave them out with --skip-bad"
        )


def first_five(names: Iterable[str]) -> str:
    """Return the first five names and how many more there are."""
    listed = list(names)
    more = f" (and {len(listed) - 5} more)" if len(listed) > 5 else ""  # noqa: PLR2004 -- as it says
    return "; ".join(listed[:5]) + more


def load_labelled(
    root: Path,
    samples: Sequence[Sample],
    labels: Sequence[str],
    preprocessing: Preprocessing,
    *,
    what: str,
    task: Task = "classification",
    folder: Path | None = None,
) -> Labelled:
    """Read and preprocess images once, with a progress bar named `what`.

    The pixels lie in memory, or in a nameless file in `folder`, mapped into memory: for more
    images than fit into it. The file is gone when nobody has the pixels any more.

    Raises:
        DataError: files that are no images (the first five are named); see `classes_of`.

    """
    classes = classes_of(samples, labels, task)
    shape = (len(samples), *preprocessing.shape[1:])
    pixels: Image
    if folder is None or not samples:
        pixels = np.empty(shape, np.uint8)
    else:
        with tempfile.TemporaryFile(dir=folder) as file:
            pixels = np.memmap(file, np.uint8, "w+", shape=shape)

    def keep(index: int, image: Image) -> None:
        pixels[index] = preprocessing(image)[0]

    require_readable(visit_images(root, samples, keep, what=what), len(samples))
    return Labelled(pixels=pixels, classes=classes)


def classes_of(samples: Sequence[Sample], labels: Sequence[str], task: Task) -> NDArray[np.int64]:
    """Return what samples show as positions in the labels: (N,) int64; many labels (N, K).

    Raises:
        DataError: a label that is not among them, or other than one label for classification.

    """
    position = {label: index for index, label in enumerate(labels)}
    marks = np.zeros((len(samples), len(labels)), np.int64)
    for row, sample in enumerate(samples):
        if task == "classification" and len(sample.labels) != 1:
            raise DataError(
                f"{sample.path} has {len(sample.labels)} labels: one is needed to tell classes "
                "apart (or learn many labels: --set task=multilabel)"
            )
        for label in sample.labels:
            if label not in position:
                known = ", ".join(labels)
                raise DataError(f"{sample.path} has the label {label}, which is not of: {known}")
            marks[row, position[label]] = 1
    if task == "multilabel":
        return marks
    shown: NDArray[np.int64] = marks.argmax(axis=1) if len(samples) else np.zeros(0, np.int64)
    return shown


def write_samples(path: Path, samples: Iterable[Sample]) -> None:
    """Write a list as CSV (RFC 4180): the split, to read and to repeat.

    Labels are joined with "|", a box is four numbers. File names may hold any byte.

    Raises:
        DataError: a label is empty or holds "|".

    """
    # surrogateescape: names of files are bytes, and not all of them are UTF-8
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.writer(file)
        rows.writerow(LIST_FIELDS)
        for sample in samples:
            for label in sample.labels:
                if not label or LABEL_SEPARATOR in label:
                    raise DataError(
                        f"{sample.path}: {label!r} is no name for a label: "
                        f'give one without "{LABEL_SEPARATOR}"'
                    )
            labels = LABEL_SEPARATOR.join(sample.labels)
            box = " ".join(map(str, sample.box or ()))
            rows.writerow([sample.path.as_posix(), labels, sample.country, sample.video, box])


def read_samples(path: Path) -> list[Sample]:
    """Read what `write_samples` wrote; DataError if it is missing or damaged."""
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return _samples(list(csv.reader(file, strict=True)))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path} is no list of images: {error}") from error


def _samples(rows: Sequence[Sequence[str]]) -> list[Sample]:
    if not rows or tuple(rows[0]) != LIST_FIELDS:
        raise ValueError(f"it does not begin with {','.join(LIST_FIELDS)}")
    return [_sample(row) for row in rows[1:]]


def _sample(row: Sequence[str]) -> Sample:
    if len(row) != len(LIST_FIELDS):
        raise ValueError(f"a row has {len(row)} values: {row}")
    image, labels, country, video, box = row
    return Sample(
        path=Path(image),
        labels=tuple(labels.split(LABEL_SEPARATOR)) if labels else (),
        country=country,
        video=video,
        box=read_box(box),
    )


def read_box(text: str) -> Box | None:
    """Return the four numbers of a box, None for an empty text; ValueError for anything else."""
    if not text.strip():
        return None
    numbers = re.split(r"[\s,;]+", text.strip())
    if len(numbers) != 4 or not all(n.isdecimal() for n in numbers):  # noqa: PLR2004 -- two corners
        raise ValueError(f"a box is four whole numbers x1 y1 x2 y2, not {text!r}")
    x1, y1, x2, y2 = map(int, numbers)
    return x1, y1, x2, y2
