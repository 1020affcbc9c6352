"""Train a recipe's network: the loop, checkpoints and progress bar are Lightning's."""

import csv
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import (
    Callback,
    EarlyStopping,
    ModelCheckpoint,
    RichProgressBar,
    WeightAveraging,
)
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.tuner.tuning import Tuner
from torch import Tensor, nn
from torch.utils.data import DataLoader

from leansight.exporters.conversion.convert import predict
from leansight.runtime.decision import are_sure, probabilities_of
from leansight.runtime.errors import DataError
from leansight.sdk.data.samples import Labelled
from leansight.sdk.models.backbones import load_pretrained
from leansight.sdk.models.networks import build_network, load_network
from leansight.sdk.recipes.schema import Precision, Recipe
from leansight.sdk.runs.begin import begin_or_join, is_first_process
from leansight.sdk.runs.run import Options, Run, Start, read_split
from leansight.sdk.system.allocator import keep_freed_memory
from leansight.sdk.system.console import console
from leansight.sdk.training.batches import (
    Batch,
    EpochSampler,
    Images,
    PreparedImages,
    TrainingScenes,
    mirrored_classes,
    read_images,
    read_part,
    training_batches,
)
from leansight.sdk.training.lightning_module import SCORE, LearningTask

_SAFE_CHANNELS: Final = 16
LAST_CHECKPOINT: Final = "last.ckpt"
VALIDATION_BATCH: Final = 16  # small batches stay in the processor's cache
FINDER_STEPS: Final = 100


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Where a training runs: Lightning's own names, passed on to its Trainer.

    `workers`: processes that read and change the images.
    """

    accelerator: str = "auto"
    devices: str = "auto"
    nodes: int = 1
    strategy: str = "auto"
    workers: int = 2


def train(
    data: Path,
    recipe: Recipe,
    *,
    out: Path,
    options: Options | None = None,
    hardware: Hardware | None = None,
) -> Run:
    """Make a run in `out`: split `data`, train, score the validation and the test images.

    Where `out` holds an unfinished run, it goes on with that run's recipe, options and lists
    (see `Start`), and ends as if it had not been interrupted.

    Raises:
        DataError: the data cannot be split, an image cannot be read, the loss diverged.

    """
    keep_freed_memory()
    hardware = hardware or Hardware()
    start = begin_or_join(data, recipe, out, options or Options())
    split, chosen = read_split(out), start.options
    teacher = Run.load(chosen.teacher) if chosen.teacher else None
    images = read_images(start, split, folder=out)
    network, trainer = train_network(
        start, images, [str(s.path) for s in split.train], out=out, teacher=teacher, on=hardware
    )
    if not trainer.is_global_zero:
        raise SystemExit(0)  # the other processes of one training end here
    start = Start.load(out)  # a learning rate may have been found
    scored = {"validation": images.validation, "shifted": images.shifted}
    if chosen.score_test and split.test:
        scored["test"] = read_part(start, split.test, "test")
    metrics: dict[str, float] = {}
    for name, part in scored.items():
        if part is not None and len(part.classes):
            metrics |= {f"{name} {k}": v for k, v in scores(network, part, start).items()}
    run = Run(path=out, data=start.data, recipe=start.recipe, labels=start.labels, metrics=metrics)
    run.save(network)
    return run


def train_network(
    start: Start,
    images: Images,
    files: Sequence[str],
    *,
    out: Path,
    teacher: Run | None,
    on: Hardware,
) -> tuple[nn.Module, pl.Trainer]:
    """Train and return the network of the best epoch (with `everything`: of the last one).

    Checkpoints, `metrics.csv` and TensorBoard's files go to `out`/checkpoints; if it holds
    `last.ckpt`, training goes on from there.

    Raises:
        DataError: the loss is not a finite number, or pretrained weights do not fit.

    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # no advertisements
    recipe, folder = start.recipe, out / "checkpoints"
    last = folder / LAST_CHECKPOINT
    pl.seed_everything(recipe.training.seed, workers=True, verbose=False)
    classes, channels = len(start.labels), recipe.preprocessing.channels
    if start.options.network:
        given = start.options.network
        network = load_network(given, recipe.model, classes=classes, channels=channels)
    else:
        network = build_network(recipe.model, classes=classes, channels=channels)
        if recipe.model.pretrained and not last.exists():
            load_pretrained(network, recipe.model, start.options.weights)
    network = network.to(memory_format=fast_memory_format(network))
    weights = class_weights(images.scenes.classes, classes, recipe)
    taught = teacher.network().to(memory_format=torch.channels_last) if teacher else None
    task = LearningTask(network, recipe, weights, files, taught)
    batches, held_out = _loaders(start, images, teacher, on)
    with _quiet_lightning():
        if recipe.training.find_learning_rate and not last.exists():
            start = _find_learning_rate(task, batches, start, out)
            task.learning_rate = start.recipe.training.learning_rate
        done = torch.load(last, weights_only=True)["epoch"] + 1 if last.exists() else 0
        assert isinstance(batches.sampler, EpochSampler)
        batches.sampler.start_at(done)
        trainer = _trainer(recipe, folder, on, everything=start.options.everything)
        trainer.fit(task, batches, held_out or None, ckpt_path=last if last.exists() else None)
    kept = folder / (LAST_CHECKPOINT if start.options.everything else "best.ckpt")
    task.load_state_dict(torch.load(kept, weights_only=True)["state_dict"])
    return network.eval(), trainer


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


def scores(network: nn.Module, images: Labelled, start: Start) -> dict[str, float]:
    """Return shares (0 to 1): accuracy and, with a threshold, what is kept and right of it.

    With many labels, accuracy is that of the single labels, each given from a probability of a
    half on; an image is kept where none of its labels is undecided.
    """
    logits, recipe = predict(network, images.pixels), start.recipe
    if recipe.task == "multilabel":
        right = ((logits >= 0) == images.classes).mean(axis=1)
    else:
        right = (logits.argmax(axis=1) == images.classes).astype(float)
    measured = {"accuracy": float(right.mean())}
    policy = recipe.decision
    if policy.threshold > 0:
        probabilities = probabilities_of(logits, recipe.task, policy.temperature)
        kept = are_sure(probabilities, recipe.task, policy.thresholds_of(start.labels))
        measured[f"kept at {policy.threshold:g}"] = float(kept.mean())
        if kept.any():
            measured[f"accuracy of kept at {policy.threshold:g}"] = float(right[kept].mean())
    return measured


def class_weights(classes: NDArray[np.int64], labels: int, recipe: Recipe) -> Tensor:
    """Weigh each class by the inverse of its count, with a mean of 1 over the images; (K,)."""
    if recipe.task == "multilabel" or not recipe.training.class_weights:
        return torch.ones(labels)
    counts = np.bincount(classes, minlength=labels)
    return torch.tensor(len(classes) / (labels * np.maximum(counts, 1)), dtype=torch.float32)


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the update of an exponential moving average, for torch's AveragedModel.

    After n updates the decay is at most (1 + n) / (10 + n), as TensorFlow's, so that the first
    weights, which are random, are forgotten in a short training too.
    """

    def update(average: Tensor, weights: Tensor, updates: Tensor) -> Tensor:
        count = float(updates)
        return average + (weights - average) * (1 - min(decay, (1 + count) / (10 + count)))

    return update


def _loaders(
    start: Start, images: Images, teacher: Run | None, on: Hardware
) -> tuple[DataLoader[Batch], list[DataLoader[Batch]]]:
    recipe = start.recipe
    scenes = TrainingScenes(
        images.scenes,
        recipe.augmentation,
        mirrored_classes(start, recipe.augmentation),
        recipe.preprocessing,
        teacher=teacher.recipe.preprocessing if teacher else None,
        seed=recipe.training.seed,
    )
    batches = training_batches(
        scenes,
        batch_size=recipe.training.batch_size,
        seed=recipe.training.seed,
        workers=on.workers,
    )
    held_out = [part for part in (images.validation, images.shifted) if part is not None]
    if start.options.everything:
        held_out = []
    return batches, [DataLoader(PreparedImages(p), VALIDATION_BATCH) for p in held_out]


def _trainer(recipe: Recipe, folder: Path, on: Hardware, *, everything: bool) -> pl.Trainer:
    training = recipe.training
    best = ModelCheckpoint(
        folder, filename="best", monitor=SCORE, mode="max", enable_version_counter=False
    )
    # Of every epoch: Lightning's own `save_last` is of the last that was the best.
    last = ModelCheckpoint(
        folder, filename=LAST_CHECKPOINT.removesuffix(".ckpt"), enable_version_counter=False
    )
    callbacks: list[Callback] = [
        *(() if everything else (best,)),
        last,
        RichProgressBar(leave=False, console_kwargs={"stderr": True}),
    ]
    if training.average_decay:
        callbacks.append(WeightAveraging(avg_fn=moving_average(training.average_decay)))
    if training.patience and not everything:
        callbacks.append(
            EarlyStopping(
                SCORE, training.min_delta, training.patience, mode="max", check_finite=False
            )
        )
    return pl.Trainer(
        max_epochs=training.epochs,
        default_root_dir=folder,
        accelerator=on.accelerator,
        devices=on.devices if on.devices == "auto" or "," in on.devices else int(on.devices),
        num_nodes=on.nodes,
        strategy=on.strategy,
        precision=_precision(training.precision),
        callbacks=callbacks,
        logger=[_metrics_log(folder), TensorBoardLogger(folder, name="", version="tensorboard")],
        num_sanity_val_steps=0,  # a resumed run would take it twice
        log_every_n_steps=1,
        enable_model_summary=False,
        deterministic=True,
        use_distributed_sampler=False,  # ours shares the images out itself
    )


def _precision(wanted: Precision) -> Any:  # noqa: ANN401 -- Lightning's own names
    """Return bfloat16 where the processor computes in it, else float32.

    "auto" asks for instructions made for it (AMX, or a GPU's): with AVX-512's alone it is no
    faster than float32 in networks of this size.
    """
    if wanted == "auto":
        on_gpu = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        amx = torch.backends.cpu.get_cpu_capability() and torch.cpu._is_amx_tile_supported()  # noqa: SLF001 -- no public name yet
        wanted = "bfloat16" if on_gpu or amx else "float32"
    return "bf16-mixed" if wanted == "bfloat16" else "32-true"


def _find_learning_rate(
    task: LearningTask, batches: DataLoader[Batch], start: Start, out: Path
) -> Start:
    """Look for the rate (Lightning's finder), and write it into the run's recipe."""
    folder = out / "checkpoints"
    trainer = pl.Trainer(
        max_epochs=math.ceil(FINDER_STEPS / len(batches)),
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[],
    )
    found = Tuner(trainer).lr_find(task, batches, num_training=FINDER_STEPS)
    rate = found.suggestion() if found else None
    if rate is None or not math.isfinite(rate):
        raise DataError("no learning rate was found: set training.learning_rate")
    console().print(f"learning rate found: {rate:.2g}")
    training = replace(start.recipe.training, learning_rate=rate, find_learning_rate=False)
    start = replace(start, recipe=replace(start.recipe, training=training))
    if is_first_process():
        start.save(out)
    return start


def _metrics_log(folder: Path) -> CSVLogger:
    """Log every step to `metrics.csv`; go on with the one of an interrupted run."""
    file, last = folder / "metrics.csv", folder / LAST_CHECKPOINT
    earlier: list[dict[str, Any]] = []
    if file.exists() and last.exists() and is_first_process():
        done = torch.load(last, weights_only=True)["global_step"]
        with file.open(newline="") as rows:
            earlier = [row for row in csv.DictReader(rows) if int(row["step"]) < done]
    logger = CSVLogger(folder, name="", version="", flush_logs_every_n_steps=1)
    if earlier:
        with warnings.catch_warnings():
            # Lightning warns that it deletes the file; its rows are written again.
            warnings.simplefilter("ignore", UserWarning)
            logger.experiment.metrics.extend(earlier)
        logger.save()  # it has deleted them
    return logger


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep to itself what is Lightning's own business with torch, or settled here on purpose."""
    with warnings.catch_warnings():
        for message in (
            ".*LeafSpec.* is deprecated",
            # Validation images are in memory, and a last short batch is not left out.
            ".*does not have many workers",
            "Checkpoint directory .* is not empty",
            "You defined a `validation_step` but have no `val_dataloader`",  # --everything
        ):
            warnings.filterwarnings("ignore", message=message)
        yield
