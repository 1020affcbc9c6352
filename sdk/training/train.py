"""Train a recipe's network: the loop, checkpoints and progress bar are Lightning's."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypedDict

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from leansight.exporters.conversion.inference import predict
from leansight.exporters.verification.compare import judge
from leansight.exporters.verification.skill import measure_skill
from leansight.sdk.models.build import build_network, load_network
from leansight.sdk.models.pretrained import load_pretrained
from leansight.sdk.recipes.schema import Recipe
from leansight.sdk.runs.begin import alone_in, begin_or_join, is_first_process
from leansight.sdk.runs.images import read_part
from leansight.sdk.runs.run import Run, RunConfig, TrainingOptions, read_split
from leansight.sdk.system.allocator import keep_freed_memory
from leansight.sdk.system.console import console, tell
from leansight.sdk.system.cores import crowding
from leansight.sdk.training.bank import Bank, open_bank
from leansight.sdk.training.batches import (
    Batch,
    EpochDataset,
    EpochSampler,
    Images,
    PreparedImages,
    augmented_scenes,
    read_images,
    training_batches,
)
from leansight.sdk.training.checkpoints import (
    BEST_CHECKPOINT,
    LAST_CHECKPOINT,
    mend_checkpoints,
    read_checkpoint,
)
from leansight.sdk.training.lightning_module import LearningTask
from leansight.sdk.training.metrics_log import earlier_metrics
from leansight.sdk.training.normalisation import measure_normalisation
from leansight.sdk.training.readers import readers
from leansight.sdk.training.teachers import Teachers
from leansight.sdk.training.trainer import (
    Hardware,
    find_learning_rate,
    make_trainer,
    quiet_lightning,
)


class _Shape(TypedDict):
    """What a network is built for."""

    classes: int
    channels: int
    size: int | tuple[int, int]


_SAFE_CHANNELS: Final = 16
VALIDATION_BATCH: Final = 16  # small batches stay in the processor's cache
WHAT_TO_TRY: Final = (
    "Try more epochs (training.epochs), another learning rate (training.learning_rate, or "
    "training.find_learning_rate=true), more images of each class; see whether their labels are "
    "right"
)


def train(
    data: Path,
    recipe: Recipe,
    *,
    out: Path,
    options: TrainingOptions | None = None,
    hardware: Hardware | None = None,
) -> Run:
    """Make a run in `out`: split `data`, train, score the validation and the test images.

    Where `out` holds an unfinished run, it goes on with that run's recipe, options and lists
    (see `RunConfig`), and ends as if it had not been interrupted.

    Raises:
        DataError: the data cannot be split, an image cannot be read, the loss diverged, or
            another training is at work in `out`.
        ReaderError: a process that reads images was killed, or has crashed.

    """
    keep_freed_memory()
    if (line := crowding(torch.get_num_threads())) and is_first_process():
        console().print(line, highlight=False)
    begin_or_join(data, recipe, out, options or TrainingOptions())
    with alone_in(out), readers():
        return _train_begun(out, hardware or Hardware())


def _train_begun(out: Path, hardware: Hardware) -> Run:
    start = RunConfig.load(out)
    split, chosen = read_split(out), start.options
    teachers = [Run.load(path) for path in chosen.teachers]
    if is_first_process():
        mend_checkpoints(out / "checkpoints")
    earlier_metrics(out / "checkpoints")  # refused before the images are read
    images = read_images(start, split, folder=out)
    bank = None
    if chosen.bank:
        workers = hardware.workers
        bank = open_bank(start, split.train, images.scenes, teachers, workers=workers)
    files = [str(s.path) for s in split.train]
    network, trainer = train_network(
        start, images, files, out=out, teachers=teachers, bank=bank, on=hardware
    )
    if not trainer.is_global_zero:
        raise SystemExit(0)  # the other processes of one training end here
    start = RunConfig.load(out)  # a learning rate may have been found
    scored = {"validation": images.validation, "shifted": images.shifted}
    if chosen.score_test and split.test:
        scored["test"] = read_part(start, start.data, split.test, "test")
    metrics: dict[str, float] = {}
    for name, part in scored.items():
        if part is not None and len(part.classes):
            logits = predict(network, part.pixels)
            metrics |= {f"{name} {k}": v for k, v in scores(logits, part.classes, start).items()}
            if name != "shifted":
                _tell_skill(name, logits, part.classes, start)
    run = Run(path=out, data=start.data, recipe=start.recipe, labels=start.labels, metrics=metrics)
    run.save(network)
    return run


def train_network(
    start: RunConfig,
    images: Images,
    files: Sequence[str],
    *,
    out: Path,
    teachers: Sequence[Run] = (),
    bank: Bank | None = None,
    on: Hardware,
) -> tuple[nn.Module, pl.Trainer]:
    """Train and return the network of the best epoch (with `everything`: of the last one).

    Checkpoints, `metrics.csv` and TensorBoard's files go to `out`/checkpoints; if it holds
    `last.ckpt`, training goes on from there. With a bank, its answers are the teachers'.

    Raises:
        DataError: the loss is not a finite number, or pretrained weights do not fit.

    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # no advertisements
    recipe, folder, shape = start.recipe, out / "checkpoints", _shape(start)
    last = folder / LAST_CHECKPOINT
    pl.seed_everything(recipe.training.seed, workers=True, verbose=False)
    if start.options.network:
        network = load_network(start.options.network, recipe.model, **shape)
    else:
        network = build_network(recipe.model, **shape)
        if recipe.model.pretrained and not last.exists():
            if recipe.model.data_normalisation:
                start = measure_normalisation(start, images.scenes, out)
            load_pretrained(network, start.recipe.model, start.options.weights)
    classes = len(start.labels)
    network = network.to(memory_format=fast_memory_format(network))
    weights = class_weights(images.scenes.classes, classes, recipe)
    taught = Teachers(teachers) if teachers and not bank else None
    task = LearningTask(network, recipe, weights, files, taught)
    scenes = bank or augmented_scenes(
        start,
        images.scenes,
        seed=recipe.training.seed,
        teachers=taught.preprocessings if taught else (),
    )
    batches, held_out = _loaders(start, images, scenes, workers=0 if bank else on.workers)
    with quiet_lightning():
        if recipe.training.find_learning_rate and not last.exists():
            start = find_learning_rate(task, batches, start, out)
            task.learning_rate = start.recipe.training.learning_rate
        done = read_checkpoint(last)["epoch"] + 1 if last.exists() else 0
        assert isinstance(batches.sampler, EpochSampler)
        batches.sampler.start_at(done)
        trainer = make_trainer(recipe, folder, on, everything=start.options.everything)
        trainer.fit(task, batches, held_out or None, ckpt_path=last if last.exists() else None)
    kept = folder / (LAST_CHECKPOINT if start.options.everything else BEST_CHECKPOINT)
    task.load_state_dict(read_checkpoint(kept)["state_dict"])
    return network.eval(), trainer


def _shape(start: RunConfig) -> _Shape:
    seen = start.recipe.preprocessing
    return {"classes": len(start.labels), "channels": seen.channels, "size": seen.size}


def fast_memory_format(network: nn.Module) -> torch.memory_format:
    """Return how a network's tensors lie best: channels last, unless that crashes.

    The gradient of strided 1×1 convolutions of fewer than 16 channels, which pruning leaves,
    writes past its memory in torch 2.14 (oneDNN), channels last only.
    """
    convolutions = (module for module in network.modules() if isinstance(module, nn.Conv2d))
    crashes = any(
        c.kernel_size == (1, 1) != c.stride and c.in_channels < _SAFE_CHANNELS for c in convolutions
    )
    return torch.contiguous_format if crashes else torch.channels_last


def _tell_skill(
    name: str, logits: NDArray[np.float32], classes: NDArray[np.int64], start: RunConfig
) -> None:
    """Say how good the network is beside guessing, and what to try where it is no better."""
    skill = measure_skill(logits, classes, start.labels, start.recipe.task)
    tell(f"{name}: {skill}")
    if skill.doubt:
        tell(f"{skill.doubt}. {WHAT_TO_TRY}")


def scores(
    logits: NDArray[np.float32], classes: NDArray[np.int64], start: RunConfig
) -> dict[str, float]:
    """Return shares (0 to 1): accuracy and, with a threshold, the coverage and the accuracy there.

    With many labels, accuracy is the label accuracy (see `describe_metric`); an image is covered,
    which is kept, where none of its labels is undecided.
    """
    recipe, policy = start.recipe, start.recipe.decision
    judged = judge(logits, classes, policy, start.labels, recipe.task)
    measured = {"accuracy": float(judged.right.mean())}
    if policy.threshold > 0:
        measured[f"kept at {policy.threshold:g}"] = float(judged.sure.mean())
        if judged.sure.any():
            accuracy = float(judged.right[judged.sure].mean())
            measured[f"accuracy of kept at {policy.threshold:g}"] = accuracy
    return measured


def class_weights(classes: NDArray[np.int64], labels: int, recipe: Recipe) -> Tensor:
    """Weigh each class by the inverse of its count, with a mean of 1 over the images; (K,)."""
    if recipe.task == "multilabel" or not recipe.training.class_weights:
        return torch.ones(labels)
    counts = np.bincount(classes, minlength=labels)
    return torch.tensor(len(classes) / (labels * np.maximum(counts, 1)), dtype=torch.float32)


def _loaders(
    start: RunConfig, images: Images, scenes: EpochDataset, *, workers: int
) -> tuple[DataLoader[Batch], list[DataLoader[Batch]]]:
    recipe = start.recipe
    batches = training_batches(
        scenes,
        batch_size=recipe.training.batch_size,
        seed=recipe.training.seed,
        workers=workers,
    )
    held_out = [part for part in (images.validation, images.shifted) if part is not None]
    if start.options.everything:
        held_out = []
    return batches, [DataLoader(PreparedImages(p), VALIDATION_BATCH) for p in held_out]
