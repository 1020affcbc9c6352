"""Export a run: its images, its network and its labels handed to the exporters."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from leansight.exporters.export import ExportImages, export
from leansight.exporters.verification import ExportReport
from leansight.runtime.bundle import Bundle, Precision
from leansight.runtime.errors import DataError
from leansight.sdk.console import console
from leansight.sdk.data import Labelled, Sample, Split, images_folder, load_labelled, read_sample
from leansight.sdk.run import Run

GOLDEN_PHOTOS = 8
PACKAGES = ("torch", "litert-torch", "ai-edge-quantizer", "onnx", "onnxruntime")


def export_run(
    path: Path,
    *,
    out: Path,
    precision: Precision,
    max_drop: float,
    data: Path | None,
    calibration_images: int,
    threshold: float | None,
) -> dict[str, ExportReport]:
    """Export the run at `path` as a bundle at `out`; see `leansight.exporters.export.export`.

    Calibration images are drawn from the training images; `data` replaces the folder that the
    run remembers; `threshold` the recipe's.

    Raises:
        DataError: the run is not finished, or its images have gone.

    """
    run = Run.load(path)
    root = data or run.data
    if not root.exists():
        raise DataError(
            f"the images of {path} are no longer at {root}: give their folder as --data"
        )
    split, folder = run.split(), images_folder(root)
    drawn = _draw(split.train, calibration_images)
    images = ExportImages(
        calibration=_load(run, root, drawn, "calibration").pixels,
        validation=_load(run, root, split.validation, "validation"),
        test=_load(run, root, split.test, "test") if split.test else None,
        golden=[read_sample(folder, s) for s in _draw(split.validation, GOLDEN_PHOTOS)],
    )
    draft = _draft(run, split, len(drawn), out=out, precision=precision, threshold=threshold)
    with Progress(
        TextColumn("{task.description:32}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=console(),
    ) as bar:
        return export(run.network(), draft, images, max_drop=max_drop, progress=_Steps(bar))


def _draft(
    run: Run,
    split: Split,
    calibration: int,
    *,
    out: Path,
    precision: Precision,
    threshold: float | None,
) -> Bundle:
    """Describe the bundle that is to be made, with so many `calibration` images."""
    decision = run.recipe.decision
    if threshold is not None:
        decision = replace(decision, threshold=threshold, label_thresholds={})
    return Bundle(
        path=out,
        name=run.recipe.name,
        task=run.recipe.task,
        labels=run.labels,
        preprocessing=run.recipe.preprocessing,
        decision=decision,
        precision=precision,
        provenance={
            "recipe": run.recipe.to_dict(),
            "images": {
                "train": len(split.train),
                "validation": len(split.validation),
                "test": len(split.test),
                "calibration": calibration,
            },
            "versions": {"leansight": version("leansight")} | {p: version(p) for p in PACKAGES},
        },
    )


def _load(run: Run, root: Path, samples: Sequence[Sample], what: str) -> Labelled:
    return load_labelled(
        root,
        samples,
        run.labels,
        run.recipe.preprocessing,
        what=f"reading {what} images",
        task=run.recipe.task,
    )


def _draw(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Draw `count` samples, the same ones every time."""
    chosen = np.random.default_rng(0).permutation(len(samples))[:count]
    return [samples[i] for i in sorted(chosen)]


class _Steps:
    """Shows each named step as a bar of its own."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, step: str, done: int, total: int) -> None:
        if step not in self._tasks:
            self._tasks[step] = self._bar.add_task(step, total=total)
        self._bar.update(self._tasks[step], completed=done, total=total)
