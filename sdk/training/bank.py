"""A bank: augmented views of the training images with the teachers' answers, made once.

`FOLDER/bank.json` says what the views were made from, `FOLDER/view-000.npy` holds the first view of
every image: one record each, with the pixels as the network sees them, the class that they show
and the teachers' logits. Every training with the same images, augmentation and preprocessing reads
them, whatever its network, loss and seed: the views are drawn with a seed of their own.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from leansight.runtime.errors import DataError
from leansight.runtime.system.whole_files import whole_file
from leansight.sdk.data.images import ImageSet
from leansight.sdk.data.samples import Sample
from leansight.sdk.runs.bank import LOCK, MADE_FROM, check_bank, made_from
from leansight.sdk.runs.run import Run, RunConfig
from leansight.sdk.system.files import allocate, write_json
from leansight.sdk.system.locks import locked
from leansight.sdk.system.progress import track
from leansight.sdk.training.batches import (
    Batch,
    EpochDataset,
    TrainingScenes,
    augmented_scenes,
)
from leansight.sdk.training.readers import reader_options
from leansight.sdk.training.teachers import Teachers

SEED: Final = 0  # of the views
TEACHER_BATCH: Final = 32

Records = NDArray[np.void]
"""One view: `pixels` (C, S, S) uint8, `target` int64 or (K,) int64, `teacher` (K,) float16."""


class Bank(EpochDataset):
    """The views of a bank, mapped into memory: epoch e reads view e modulo their number."""

    def __init__(self, views: Sequence[Records]) -> None:
        self._views = views

    def __len__(self) -> int:
        return len(self._views[0])

    def __getitem__(self, position: tuple[int, int]) -> Batch:
        epoch, index = position
        record = self._views[epoch % len(self._views)][index]
        return Batch(
            pixels=torch.from_numpy(record["pixels"].copy()),
            targets=torch.as_tensor(record["target"].copy()),
            indices=torch.tensor(index),
            teacher_pixels=(),
            teacher_logits=torch.from_numpy(record["teacher"].astype(np.float32)),
        )


def open_bank(
    start: RunConfig,
    samples: Sequence[Sample],
    scenes: ImageSet,
    teachers: Sequence[Run],
    *,
    workers: int,
) -> Bank:
    """Return the bank of a training, once the views that it lacks are made.

    `samples` and their `scenes` are learnt from; `workers` processes change them. Of several
    trainings with one bank, the first makes the views and the others wait. Who is killed loses one
    view; the others are there.

    Raises:
        DataError: the folder holds something else, or views that were made from something else; a
            view is damaged; the disk has no room for the next one.

    """
    folder, count = start.options.bank, start.options.bank_views
    assert folder is not None
    dtype = _record_type(start, taught=bool(teachers))
    files = [folder / f"view-{view:03}.npy" for view in range(count)]
    with locked(folder / LOCK):
        check_bank(start, samples)
        if not (folder / MADE_FROM).exists():
            write_json(folder / MADE_FROM, made_from(start, samples))
        missing = {view: file for view, file in enumerate(files) if not file.exists()}
        if missing:
            _make_views(missing, start, scenes, dtype, teachers, workers=workers)
    return Bank([_read_view(file, len(samples), dtype) for file in files])


def _make_views(
    missing: Mapping[int, Path],
    start: RunConfig,
    scenes: ImageSet,
    dtype: np.dtype[np.void],
    teachers: Sequence[Run],
    *,
    workers: int,
) -> None:
    """Write the views that are missing, by their number, with one progress bar."""
    taught = Teachers(teachers) if teachers else None
    seen = taught.preprocessings if taught else ()
    changed = augmented_scenes(start, scenes, seed=SEED, teachers=seen)
    each = math.ceil(len(changed) / TEACHER_BATCH)
    batches = _batches(changed, list(missing), workers)
    shown = iter(track(batches, "making the bank", each * len(missing)))
    for file in missing.values():
        _write_view(file, len(changed), dtype, islice(shown, each), taught)
    next(shown, None)  # the bar ends


def _record_type(start: RunConfig, *, taught: bool) -> np.dtype[np.void]:
    preprocessing, labels = start.recipe.preprocessing, len(start.labels)
    return np.dtype(
        [
            ("pixels", "u1", tuple(preprocessing.shape[axis] for axis in (3, 1, 2))),
            ("target", "<i8", (labels,) if start.recipe.task == "multilabel" else ()),
            ("teacher", "<f2", (labels if taught else 0,)),
        ]
    )


def _batches(scenes: TrainingScenes, views: Sequence[int], workers: int) -> DataLoader[Batch]:
    """Return the batches of one view after the other, each in the order of the images."""
    count = len(scenes)
    positions = [
        [(view, index) for index in range(first, min(first + TEACHER_BATCH, count))]
        for view in views
        for first in range(0, count, TEACHER_BATCH)
    ]
    return DataLoader(scenes, batch_sampler=positions, **reader_options(workers))


def _write_view(
    file: Path,
    count: int,
    dtype: np.dtype[np.void],
    batches: Iterable[Batch],
    teachers: Teachers | None,
) -> None:
    """Write one view, see `whole_file`."""
    with whole_file(file) as part:
        records = open_memmap(part, "w+", dtype, (count,))
        allocate(part, part.stat().st_size, parameter="bank")
        for batch in batches:
            rows = batch.indices.numpy()
            records["pixels"][rows] = batch.pixels.numpy()
            records["target"][rows] = batch.targets.numpy()
            if teachers:
                records["teacher"][rows] = teachers(batch.teacher_pixels).numpy()
        records.flush()


def _read_view(file: Path, count: int, dtype: np.dtype[np.void]) -> Records:
    try:
        records: Records = np.load(file, mmap_mode="r")
    except (ValueError, OSError) as error:
        raise DataError(f"{file} is damaged ({error}): remove it", parameter="bank") from error
    if records.shape != (count,) or records.dtype != dtype:
        raise DataError(f"{file} is of another bank: remove it", parameter="bank")
    return records
