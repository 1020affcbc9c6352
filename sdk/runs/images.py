"""The images of a run: its lists, read with its recipe's preprocessing."""

from collections.abc import Sequence
from pathlib import Path

from leansight.runtime.preprocessing import Preprocessing
from leansight.sdk.data.images import ImageSet, load_labelled
from leansight.sdk.data.samples import Sample
from leansight.sdk.runs.run import Run, RunConfig


def read_part(
    start: RunConfig,
    samples: Sequence[Sample],
    name: str,
    preprocessing: Preprocessing | None = None,
    folder: Path | None = None,
) -> ImageSet:
    """Read the images of one part of a run's split, prepared as its recipe says or otherwise."""
    return load_labelled(
        start.data,
        samples,
        start.labels,
        preprocessing or start.recipe.preprocessing,
        what=f"reading {name} images",
        task=start.recipe.task,
        folder=folder,
    )


def read_images(run: Run, root: Path, samples: Sequence[Sample], what: str) -> ImageSet:
    """Read samples of the images at `root` as the run's network sees them."""
    return load_labelled(
        root,
        samples,
        run.labels,
        run.recipe.preprocessing,
        what=f"reading {what} images",
        task=run.recipe.task,
    )
