"""The beginning of a run: its images are split and checked, and its definition is written."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Final

from leansight.runtime.errors import DataError
from leansight.runtime.preprocessing import Preprocessing
from leansight.sdk.data.dataset import show
from leansight.sdk.data.layouts.detect import find_data, find_labels
from leansight.sdk.data.leakage import (
    check_leaks,
    check_twins,
    check_videos,
    find_twins,
    find_unreadable,
)
from leansight.sdk.data.samples import Sample
from leansight.sdk.data.splits import limit_classes, split_samples
from leansight.sdk.recipes.schema import Recipe
from leansight.sdk.runs.bank import check_bank
from leansight.sdk.runs.run import LOCK, Run, RunConfig, TrainingOptions, read_split, write_split
from leansight.sdk.system.locks import exclusive
from leansight.sdk.system.text import first_five

# Set by Lightning, torchrun and SLURM for the processes of one training; 0 is the first one's.
_RANKS: Final = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")
_POLL_SECONDS: Final = 0.5


def is_first_process() -> bool:
    """Whether this process is a training's only one, or the first of several."""
    return all(os.environ.get(name, "0") == "0" for name in _RANKS)


def begin_or_join(data: Path, recipe: Recipe, out: Path, options: TrainingOptions) -> RunConfig:
    """Begin a run in `out`, or go on with the one that is there.

    Of several processes, on machines that all see `out`, the first begins; the others wait for it.

    Raises:
        DataError: see `begin`.

    """
    while not RunConfig.exists(out):
        if is_first_process():
            return begin(data, recipe, out, options)
        time.sleep(_POLL_SECONDS)
    return RunConfig.load(out)


def begin(data: Path, recipe: Recipe, out: Path, options: TrainingOptions) -> RunConfig:
    """Split the images at `data` and write the definition of the run to `out`.

    Raises:
        DataError: the data cannot be split, leaks from one side to another, or has unreadable
            images that are not to be skipped; the recipe has a threshold for a label that there
            is not; the teacher is of other classes, or has learnt images that are held out here;
            the bank was made from something else;
            another process begins, or has begun, a run in `out`.

    """
    found = find_data(data, recipe.data)
    show(found)
    samples = list(found.samples)
    if options.skip_bad:
        bad = {s.path for s in find_unreadable(data, samples)}
        samples = [s for s in samples if s.path not in bad]
    if options.lists:
        split = read_split(options.lists)
        check_leaks(data, split, by=recipe.split.by)
    else:
        twins = find_twins(data, samples)
        split = split_samples(samples, recipe.split, test_on=options.test_on, twins=twins)
        check_videos(split, by=recipe.split.by)
        check_twins(split, [[samples[i] for i in group] for group in twins])
    labels = find_labels(samples)
    try:
        recipe.decision.thresholds_of(labels)
    except ValueError as error:
        raise DataError(f"recipe {recipe.name}: {error}; {data} has {', '.join(labels)}") from error
    held_out = split.test if options.everything else (*split.validation, *split.test)
    for teacher in options.teachers:
        _check_teacher(Run.load(teacher), labels, data, held_out)
        _check_proportions(Run.load(teacher), recipe.preprocessing)
    learnt = [*split.train, *split.validation] if options.everything else split.train
    learnt = limit_classes(learnt, recipe.data, seed=recipe.split.seed)
    options = replace(
        options,
        weights=tuple(path.resolve() for path in options.weights),
        network=options.network.resolve() if options.network else None,
        teachers=tuple(path.resolve() for path in options.teachers),
        bank=options.bank.resolve() if options.bank else None,
    )
    start = RunConfig(data=data.resolve(), recipe=recipe, labels=labels, options=options)
    check_bank(start, learnt)
    with alone_in(out):
        if RunConfig.exists(out):  # since `begin_or_join` looked
            raise DataError(f"{out}: another process has begun a run there: choose another folder")
        write_split(out, replace(split, train=tuple(learnt)))
        start.save(out)
    return start


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Keep a run's folder to one training: its first process holds it.

    Raises:
        DataError: another training is at work there.

    """
    with exclusive(out / LOCK) if is_first_process() else nullcontext():
        yield


def _check_teacher(
    teacher: Run, labels: Sequence[str], data: Path, held_out: Sequence[Sample]
) -> None:
    """Raise DataError for other classes, or where the images held out would flatter its pupil."""
    if teacher.labels != tuple(labels):
        raise DataError(
            f"the teacher {teacher.path} knows the classes {', '.join(teacher.labels)}, "
            f"the images are of {', '.join(labels)}"
        )
    if teacher.data != data.resolve():
        return
    judges = {s.path for s in held_out}
    known = sorted(str(s.path) for s in teacher.split().train if s.path in judges)
    if known:
        raise DataError(
            f"the teacher {teacher.path} has learnt {len(known)} of the images that are held out "
            f"here ({first_five(known)}): use the lists of files of {teacher.path}",
            parameter="lists",
        )


def _check_proportions(teacher: Run, own: Preprocessing) -> None:
    """Raise DataError for a teacher that would see parts of pictures, or other bars."""
    theirs = teacher.recipe.preprocessing
    if own.fit != "stretch" and own.height * theirs.width != own.width * theirs.height:
        raise DataError(
            f"the teacher {teacher.path} sees pictures of {theirs.size_text}, of other proportions "
            f"than {own.size_text}, which the fit {own.fit} has cut off or put between bars: give "
            'both the same proportions, or preprocessing.fit = "stretch"'
        )
