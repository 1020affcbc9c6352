"""Labelled images read into memory, and the unreadable ones named."""

import math
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.decision import Task
from leansight.runtime.errors import DataError
from leansight.runtime.images import read_image
from leansight.runtime.preprocessing import Image, Preprocessing
from leansight.sdk.data.samples import Sample, classes_of
from leansight.sdk.system.files import allocate
from leansight.sdk.system.progress import track
from leansight.sdk.system.text import first_five


@dataclass(frozen=True, kw_only=True)
class ImageSet:
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
    image = read_image(path)
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
        bar = track(done, what, len(samples))
        return {index: problem for index, problem in enumerate(bar) if problem}


def require_readable(problems: dict[int, str], count: int) -> None:
    """Raise DataError if any of `count` images cannot be read; the first five are named."""
    if problems:
        raise DataError(
            f"{len(problems)} of {count} images cannot be used: "
            f"{first_five(problems.values())}: put them right, or leave them out",
            parameter="skip_bad",
        )


def require_pictures(samples: Sequence[Sample], flat: NDArray[np.bool_]) -> None:
    """Raise DataError if most of the samples show one flat colour; `flat`: (N,), which do."""
    found = [str(s.path) for s, is_flat in zip(samples, flat, strict=True) if is_flat]
    if 2 * len(found) > len(samples):
        raise DataError(
            f"{len(found)} of {len(samples)} images are one flat colour each: {first_five(found)}: "
            "there is nothing to see in them. Were they saved or copied wrongly?"
        )


def load_labelled(
    root: Path,
    samples: Sequence[Sample],
    labels: Sequence[str],
    preprocessing: Preprocessing,
    *,
    what: str,
    task: Task = "classification",
    folder: Path | None = None,
) -> ImageSet:
    """Read and preprocess images once, with a progress bar named `what`.

    The pixels lie in memory, or in a nameless file in `folder`, mapped into memory: for more
    images than fit into it. The file is gone when nobody has the pixels any more.

    Raises:
        DataError: files that are no images (the first five are named), no room for the file; see
            `classes_of`.

    """
    classes = classes_of(samples, labels, task)
    shape = (len(samples), *preprocessing.shape[1:])
    pixels: Image
    if folder is None or not samples:
        pixels = np.empty(shape, np.uint8)
    else:
        with tempfile.TemporaryFile(dir=folder) as file:
            allocate(file, math.prod(shape))
            pixels = np.memmap(file, np.uint8, "w+", shape=shape)

    def keep(index: int, image: Image) -> None:
        pixels[index] = preprocessing(image)[0]

    require_readable(visit_images(root, samples, keep, what=what), len(samples))
    return ImageSet(pixels=pixels, classes=classes)
