"""Lightning's trainer, as a recipe asks for it."""

import math
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    Callback,
    EarlyStopping,
    ModelCheckpoint,
    WeightAveraging,
)
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.tuner.tuning import Tuner
from torch import Tensor
from torch.utils.data import DataLoader

from leansight.runtime.errors import DataError
from leansight.sdk.recipes.schema import Recipe, TrainingPrecision
from leansight.sdk.runs.begin import is_first_process
from leansight.sdk.runs.run import RunConfig
from leansight.sdk.system.console import console
from leansight.sdk.training.batches import Batch
from leansight.sdk.training.checkpoints import (
    BEST_CHECKPOINT,
    LAST_CHECKPOINT,
    WholeCheckpoints,
)
from leansight.sdk.training.lightning_module import SCORE, LearningTask
from leansight.sdk.training.metrics_log import open_metrics_log
from leansight.sdk.training.progress_bar import show_progress

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


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the update of an exponential moving average, for torch's AveragedModel.

    After n updates the decay is at most (1 + n) / (10 + n), as TensorFlow's, so that the first
    weights, which are random, are forgotten in a short training too.
    """

    def update(average: Tensor, weights: Tensor, updates: Tensor) -> Tensor:
        count = float(updates)
        return average + (weights - average) * (1 - min(decay, (1 + count) / (10 + count)))

    return update


def make_trainer(recipe: Recipe, folder: Path, on: Hardware, *, everything: bool) -> pl.Trainer:
    """Return the trainer that the recipe asks for; it writes its checkpoints into `folder`."""
    training = recipe.training
    best = ModelCheckpoint(
        folder,
        filename=BEST_CHECKPOINT.removesuffix(".ckpt"),
        monitor=SCORE,
        mode="max",
        enable_version_counter=False,
    )
    # Of every epoch: Lightning's own `save_last` is of the last that was the best.
    last = ModelCheckpoint(
        folder, filename=LAST_CHECKPOINT.removesuffix(".ckpt"), enable_version_counter=False
    )
    callbacks: list[Callback] = [
        *(() if everything else (best,)),
        last,
        show_progress(),
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
        plugins=[WholeCheckpoints()],
        logger=[
            open_metrics_log(folder),
            # Ctrl-C may cost TensorBoard's thread a wake-up, and it then ends at its next flush.
            TensorBoardLogger(folder, name="", version="tensorboard", flush_secs=5),
        ],
        num_sanity_val_steps=0,  # a resumed run would take it twice
        log_every_n_steps=1,
        enable_progress_bar=console().is_terminal,
        enable_model_summary=False,
        deterministic=True,
        use_distributed_sampler=False,  # ours shares the images out itself
    )


def _precision(wanted: TrainingPrecision) -> Literal["bf16-mixed", "32-true"]:
    """Return bfloat16 where the processor computes in it, else float32.

    "auto" asks for instructions made for it (AMX, or a GPU's): with AVX-512's alone it is no
    faster than float32 in networks of this size.
    """
    if wanted == "auto":
        on_gpu = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        amx = torch.backends.cpu.get_cpu_capability() and torch.cpu._is_amx_tile_supported()  # noqa: SLF001 -- no public name yet
        wanted = "bfloat16" if on_gpu or amx else "float32"
    return "bf16-mixed" if wanted == "bfloat16" else "32-true"


def find_learning_rate(
    task: LearningTask, batches: DataLoader[Batch], start: RunConfig, out: Path
) -> RunConfig:
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


@contextmanager
def quiet_lightning() -> Iterator[None]:
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
        with _errors_of_tensorboard_once():
            yield


@contextmanager
def _errors_of_tensorboard_once() -> Iterator[None]:
    """Keep TensorBoard's thread from printing what has ended it: its next call raises that."""
    usual = threading.excepthook

    def hook(ended: threading.ExceptHookArgs) -> None:
        if not type(ended.thread).__module__.startswith("tensorboard."):
            usual(ended)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = usual
