"""The images of a run: its lists, read with its recipe's preprocessing."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from leansight.runtime.errors import DataError
from leansight.runtime.preprocessing import Preprocessing
from leansight.sdk.data.dataset import describe_samples, show_lines
from leansight.sdk.data.images import ImageSet, load_labelled
from leansight.sdk.data.samples import Part, Sample, Split
from leansight.sdk.recipes.schema import Recipe
from leansight.sdk.runs.run import Run


class ReadsImages(Protocol):
    """A run, begun or finished, or a network from elsewhere: its labels, and how it sees images."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the network's outputs."""
        ...

    @property
    def recipe(self) -> Recipe:
        """The recipe with the task and the preprocessing."""
        ...


def find_images(run: Run, data: Path | None) -> Path:
    """Return the root of a run's images: `data`, or without it what the run remembers.

    Raises:
        DataError: nothing is there.

    """
    root = data or run.data
    if not root.exists():
        raise DataError(
            f"the images of {run.path} are no longer at {root}: say where they are now",
            parameter="data",
        )
    return root


def show_lists(run: Run, root: Path, split: Split) -> None:
    """Print to standard error which images a run's lists name; `root`: where they are."""
    parts: dict[Part, tuple[Sample, ...]] = {
        "train": split.train,
        "validation": split.validation,
        "test": split.test,
    }
    # An image that an epoch sees several times counts once.
    samples = [replace(s, part=part) for part, own in parts.items() for s in dict.fromkeys(own)]
    block = [f"layout: the lists of files of {run.path}", *describe_samples(samples)]
    show_lines([f"{root}:", *(f"  {line}" for line in block)])


def read_part(
    reader: ReadsImages,
    root: Path,
    samples: Sequence[Sample],
    name: str,
    *,
    preprocessing: Preprocessing | None = None,
    folder: Path | None = None,
) -> ImageSet:
    """Read samples of the images at `root` as the network sees them, or prepared otherwise.

    `name`: the part of the split, for the progress bar; `folder`: see `load_labelled`.

    Raises:
        DataError: as `load_labelled`.

    """
    return load_labelled(
        root,
        samples,
        reader.labels,
        preprocessing or reader.recipe.preprocessing,
        what=f"reading {name} images",
        task=reader.recipe.task,
        folder=folder,
    )
