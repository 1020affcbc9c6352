"""The Lightning module of a training: losses, optimiser, schedule and metrics."""

import time
from collections.abc import Sequence
from typing import Any, Final

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import LRSchedulerConfigType, OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MultilabelAccuracy

from leansight.runtime.decision import Task
from leansight.runtime.errors import DataError
from leansight.sdk.models.layer_groups import freeze, parameter_groups
from leansight.sdk.models.networks import network_input
from leansight.sdk.recipes.schema import Recipe, Training
from leansight.sdk.system.text import first_five
from leansight.sdk.training.batches import Batch
from leansight.sdk.training.losses import label_loss, teacher_loss
from leansight.sdk.training.teachers import Teachers

WARMUP_SHARE: Final = 0.1  # of the one-cycle schedule: short trainings have no time for more
# The data loaders of validation, in their order; the second where the recipe has a shift.
HELD_OUT: Final = ("val", "shifted")
# What the best epoch has most of. Lightning keeps one more for the epochs that do not count.
SCORE: Final = "score"
_NOT_COUNTED: Final = -1e9


class LearningTask(pl.LightningModule):
    """One network that learns from the labels and, where there is one, from a teacher.

    Args:
        network: pixels (N, C, S, S) float32 to logits (N, K).
        recipe: its training, distillation and task.
        weights: of the classes in the loss, (K,).
        files: names of the training samples, to say which batch went wrong.
        teachers: asked at each step, unless the batches bring their answers.

    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        weights: Tensor,
        files: Sequence[str],
        teachers: Teachers | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.learning_rate = recipe.training.learning_rate  # Lightning's finder sets it
        self._recipe = recipe
        self._training = recipe.training
        self._files = files
        self._teachers = teachers  # no module: not part of the checkpoint
        self.class_weights: Tensor  # moves to the network's device with it
        self.register_buffer("class_weights", weights, persistent=False)
        scores = [_accuracy(recipe.task, len(weights)) for _ in HELD_OUT]
        self._accuracies = nn.ModuleList(scores)
        self._losses: list[list[float]] = [[], []]
        self._started = self._ended = 0.0

    # Training

    def on_train_epoch_start(self) -> None:
        """Freeze what this epoch does not learn."""
        training = self._training
        unfrozen = 0 < training.unfreeze_epoch <= self.current_epoch
        freeze(self.network, -1 if unfrozen else training.trainable_layers)
        self.network.train()
        self._started = time.perf_counter()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Let dropout depend on the seed and the step alone: loaders draw numbers as well."""
        del batch, batch_idx
        torch.manual_seed((self._training.seed << 32) + self.global_step)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the mean loss of a batch.

        Raises:
            DataError: it is not a finite number; the message names the batch.

        """
        loss = self._loss(self.network(self._sized(network_input(batch.pixels))), batch)
        if not torch.isfinite(loss):
            names = [self._files[i] for i in batch.indices.tolist()]
            raise DataError(
                f"the loss is not a finite number in epoch {self.current_epoch}, batch {index}: "
                f"{first_five(names)}. Lower training.learning_rate",
                parameter="overrides",
            )
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        """Note when the epoch's last batch was learnt; validation follows before the epoch ends."""
        del outputs, batch, batch_idx
        self._ended = time.perf_counter()

    def on_train_epoch_end(self) -> None:
        """Note how fast the epoch was learnt, with all that feeding it took."""
        images = int(self.trainer.num_training_batches) * self._training.batch_size
        images *= self.trainer.world_size
        self.log("images_per_s", images / (self._ended - self._started), sync_dist=True)

    # Validation

    def on_validation_epoch_start(self) -> None:
        """Forget the losses of the epoch before."""
        self._losses = [[], []]

    def validation_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:
        """Count the right answers of a batch, at the size that is being learnt."""
        del index
        logits = self.network(self._sized(network_input(batch.pixels)))
        self._accuracies[dataloader_idx](_scores(logits, self._recipe.task), batch.targets)
        loss = label_loss(logits, batch.targets, self._recipe, self.class_weights)
        self._losses[dataloader_idx].append(float(loss))

    def on_validation_epoch_end(self) -> None:
        """Log what was measured, and the score by which the best epoch is chosen."""
        measured: dict[str, float] = {}
        for name, metric, losses in zip(HELD_OUT, self._accuracies, self._losses, strict=True):
            if losses:
                assert isinstance(metric, Metric)
                measured[f"{name}_accuracy"] = float(metric.compute())
                measured[f"{name}_loss"] = sum(losses) / len(losses)
                metric.reset()
        self.log_dict(measured, prog_bar=True, sync_dist=True)
        score = {
            "accuracy": measured["val_accuracy"],
            "shifted accuracy": measured.get("shifted_accuracy", 0.0),
            "loss": -measured["val_loss"],
        }[self._training.choose_by]
        self.log(SCORE, _NOT_COUNTED if self._half_size() else score, sync_dist=True)

    # Optimiser and schedule

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the optimiser with the recipe's schedule."""
        training = self._training
        groups = parameter_groups(
            self.network,
            learning_rate=self.learning_rate,
            layer_decay=training.layer_decay,
            weight_decay=training.weight_decay,
        )
        chosen = optimiser(training, groups, self.learning_rate)
        schedule: lr_scheduler.LRScheduler
        match training.schedule:
            case "constant":
                return chosen
            case "one-cycle":
                schedule = one_cycle(chosen, int(self.trainer.estimated_stepping_batches))
                timing = LRSchedulerConfigType(scheduler=schedule, interval="step")
            case "steps":
                schedule = lr_scheduler.MultiStepLR(
                    chosen, list(training.drop_epochs), training.drop_factor
                )
                timing = LRSchedulerConfigType(scheduler=schedule, interval="epoch")
            case "plateau":
                plateau = lr_scheduler.ReduceLROnPlateau(
                    chosen, factor=training.drop_factor, patience=training.plateau_patience
                )
                timing = LRSchedulerConfigType(scheduler=plateau, monitor="val_loss")
        return {"optimizer": chosen, "lr_scheduler": timing}

    def _half_size(self) -> bool:
        training = self._training
        return self.current_epoch < round(training.half_size_share * training.epochs)

    def _sized(self, pixels: Tensor) -> Tensor:
        return functional.avg_pool2d(pixels, 2) if self._half_size() else pixels

    def _loss(self, logits: Tensor, batch: Batch) -> Tensor:
        from_labels = label_loss(logits, batch.targets, self._recipe, self.class_weights)
        if self._teachers:
            taught = self._teachers(batch.teacher_pixels)
        elif batch.teacher_logits.numel():
            taught = batch.teacher_logits
        else:
            return from_labels
        distillation = self._recipe.distillation
        from_teacher = teacher_loss(logits, taught, distillation, self._recipe.task)
        return distillation.share * from_teacher + (1 - distillation.share) * from_labels


def optimiser(
    training: Training, groups: list[dict[str, Any]], learning_rate: float
) -> torch.optim.Optimizer:
    """Return the recipe's optimiser over parameter groups that name their own rate and decay."""
    match training.optimiser:
        case "sgd":
            momentum = training.momentum
            return torch.optim.SGD(groups, learning_rate, momentum, nesterov=momentum > 0)
        case "adam":
            return torch.optim.Adam(groups, learning_rate)
        case "nadam":
            return torch.optim.NAdam(groups, learning_rate)
        case "adamw":
            return torch.optim.AdamW(groups, learning_rate)


def one_cycle(chosen: torch.optim.Optimizer, steps: int) -> lr_scheduler.OneCycleLR:
    """Return the schedule over `steps` batches (Smith and Topin, arXiv 1708.07120).

    The rates that the optimiser's groups have are the peaks.
    """
    steps = max(steps, 4)  # torch divides by zero where the rise is one step long
    peaks = [float(group["lr"]) for group in chosen.param_groups]
    rise = max(WARMUP_SHARE, 2 / steps)
    return lr_scheduler.OneCycleLR(chosen, peaks, total_steps=steps, pct_start=rise)


def _accuracy(task: Task, labels: int) -> Metric:
    """Count right classes, or right single labels where there are many."""
    if task == "multilabel":
        return MultilabelAccuracy(labels, average="micro")
    return MulticlassAccuracy(labels, average="micro")


def _scores(logits: Tensor, task: Task) -> Tensor:
    return torch.sigmoid(logits) if task == "multilabel" else logits
