"""Train a recipe's network: the loop, checkpoints and progress bar are Lightning's."""

import csv
import logging
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchmetrics.classification import MulticlassAccuracy
from torchvision.transforms import v2

from leansight.exporters.convert import predict
from leansight.runtime.errors import DataError
from leansight.sdk.data import Labelled, find_labels, find_samples, load_labelled, split_samples
from leansight.sdk.models import build_network, network_input
from leansight.sdk.recipe import Augmentation, Recipe, Training
from leansight.sdk.run import Run, read_split, write_split

LAST_CHECKPOINT = "last.ckpt"  # Lightning's name for it

WARMUP_SHARE = 0.1  # of the one-cycle schedule: short trainings have no time for a longer rise


class TrainingImages(Dataset[tuple[Tensor, Tensor]]):
    """Images as network inputs (C, S, S) float32, each changed at random every time it is read."""

    def __init__(self, images: Labelled, change: nn.Module) -> None:
        self._pixels = torch.from_numpy(images.pixels).permute(0, 3, 1, 2)
        self._classes = torch.from_numpy(images.classes)
        self._change = change

    def __len__(self) -> int:
        return len(self._classes)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return network_input(self._change(self._pixels[index])), self._classes[index]


class ClassifierTask(pl.LightningModule):
    """What Lightning needs to know: the loss, the optimiser and its schedule, the accuracy."""

    def __init__(self, network: nn.Module, training: Training, weights: Tensor) -> None:
        super().__init__()
        self.network = network
        self._training = training
        self._loss = nn.CrossEntropyLoss(weights, label_smoothing=training.label_smoothing)
        self._accuracy = MulticlassAccuracy(num_classes=len(weights), average="micro")

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Return the mean loss of a batch: pixels (N, C, S, S) float32, classes (N,) int64."""
        del index
        pixels, classes = batch
        if self.current_epoch < round(self._training.half_size_share * self._training.epochs):
            pixels = nn.functional.avg_pool2d(pixels, 2)
        loss: Tensor = self._loss(self.network(pixels), classes)
        if not torch.isfinite(loss):
            raise DataError(
                f"the loss is not a finite number in epoch {self.current_epoch}: "
                "lower training.learning_rate"
            )
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Count the right answers of a batch."""
        del index
        pixels, classes = batch
        logits = self.network(pixels)
        self._accuracy(logits, classes)
        self.log("val_loss", self._loss(logits, classes))
        self.log("val_accuracy", self._accuracy, prog_bar=True)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 -- Lightning's own union of eight types
        """Return the optimiser, with a one-cycle schedule per batch if the recipe asks for it."""
        training = self._training
        optimiser = _optimiser(training, list(self.parameters()))
        if training.schedule == "constant":
            return optimiser
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = one_cycle(optimiser, training.learning_rate, steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def train(data: Path, recipe: Recipe, *, out: Path, test_on: str = "") -> Run:
    """Make a run in `out`: split `data`, train, score the validation and the test images.

    Where `out` holds an unfinished run, it goes on with that run's split.

    Raises:
        DataError: the data cannot be split, an image cannot be read, the loss diverged.

    """
    if (out / "checkpoints" / LAST_CHECKPOINT).exists():
        split = read_split(out)
        labels = find_labels(split.train)
    else:
        samples = find_samples(data)
        labels = find_labels(samples)
        split = split_samples(samples, **asdict(recipe.split), test_on=test_on)
        out.mkdir(parents=True, exist_ok=True)
        write_split(out, split)
    train_images, validation, test = (
        load_labelled(data, part, labels, recipe.preprocessing, what=f"reading {what} images")
        for what, part in (
            ("training", split.train),
            ("validation", split.validation),
            ("test", split.test),
        )
    )
    network = train_network(
        recipe,
        labels=len(labels),
        train=train_images,
        validation=validation,
        folder=out / "checkpoints",
    )
    metrics = {"validation accuracy": accuracy(network, validation)}
    if split.test:
        metrics["test accuracy"] = accuracy(network, test)
    run = Run(path=out, data=data.resolve(), recipe=recipe, labels=labels, metrics=metrics)
    run.save(network)
    return run


def train_network(
    recipe: Recipe, *, labels: int, train: Labelled, validation: Labelled, folder: Path
) -> nn.Module:
    """Train and return the network of the epoch with the best validation accuracy.

    Checkpoints and `metrics.csv` go to `folder`; if it holds `last.ckpt`, training goes on
    from there.

    Raises:
        DataError: the loss is not a finite number.

    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # no advertisements
    pl.seed_everything(recipe.training.seed, workers=True, verbose=False)
    network = build_network(recipe.model, classes=labels, channels=recipe.preprocessing.channels)
    network = network.to(memory_format=torch.channels_last)
    task = ClassifierTask(network, recipe.training, _weights(train.classes, labels, recipe))
    best = ModelCheckpoint(
        folder, filename="best", monitor="val_accuracy", mode="max", save_last=True
    )
    progress = RichProgressBar(leave=False, console_kwargs={"stderr": True})
    trainer = pl.Trainer(
        max_epochs=recipe.training.epochs,
        default_root_dir=folder,
        accelerator="auto",
        callbacks=[best, progress, *_early_stopping(recipe.training)],
        logger=_metrics_log(folder),
        log_every_n_steps=1,
        enable_model_summary=False,
        deterministic=True,
    )
    size = recipe.training.batch_size
    change = augmentation(recipe.augmentation, recipe.preprocessing.size)
    last = folder / LAST_CHECKPOINT
    # A last batch of one image would have no variance to normalise by.
    whole = len(train.classes) > size
    batches = DataLoader(TrainingImages(train, change), size, shuffle=True, drop_last=whole)
    held_out = DataLoader(TrainingImages(validation, nn.Identity()), size)
    with warnings.catch_warnings():
        # Lightning's own business with torch's next version.
        warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
        trainer.fit(task, batches, held_out, ckpt_path=last if last.exists() else None)
    state = torch.load(best.best_model_path, weights_only=True)["state_dict"]
    task.load_state_dict(state)
    return network.eval()


def augmentation(recipe: Augmentation, size: int) -> nn.Module:
    """Return the random changes of one (C, size, size) uint8 image, as a torch module."""
    changes: list[nn.Module] = []
    if recipe.rotation_degrees or recipe.shift or recipe.scale:
        margin = size // 4  # what moves in from outside repeats the edge instead of being black
        changes += [
            v2.Pad(margin, padding_mode="edge"),
            v2.RandomAffine(
                recipe.rotation_degrees,
                translate=(recipe.shift * size / (size + 2 * margin),) * 2,
                scale=(1 - recipe.scale, 1 + recipe.scale),
                interpolation=v2.InterpolationMode.BILINEAR,
            ),
            v2.CenterCrop(size),
        ]
    if recipe.exposure or recipe.contrast:
        changes.append(v2.ColorJitter(brightness=recipe.exposure, contrast=recipe.contrast))
    if recipe.blur_probability:
        changes.append(v2.RandomApply([v2.GaussianBlur(5, (0.3, 1.5))], recipe.blur_probability))
    return v2.Compose(changes) if changes else nn.Identity()


def accuracy(network: nn.Module, images: Labelled) -> float:
    """Return the share (0 to 1) of images whose best class is theirs."""
    return float((predict(network, images.pixels).argmax(axis=1) == images.classes).mean())


def one_cycle(
    optimiser: torch.optim.Optimizer, peak: float, steps: int
) -> torch.optim.lr_scheduler.OneCycleLR:
    """Return the schedule over `steps` batches (Smith and Topin, arXiv 1708.07120)."""
    steps = max(steps, 4)  # torch divides by zero where the rise is one step long
    rise = max(WARMUP_SHARE, 2 / steps)
    return torch.optim.lr_scheduler.OneCycleLR(optimiser, peak, total_steps=steps, pct_start=rise)


def _optimiser(training: Training, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
    rate, decay = training.learning_rate, training.weight_decay
    match training.optimiser:
        case "sgd":
            momentum = training.momentum
            return torch.optim.SGD(
                weights, rate, momentum, weight_decay=decay, nesterov=momentum > 0
            )
        case "adamw":
            return torch.optim.AdamW(weights, rate, weight_decay=decay)


def _weights(classes: NDArray[np.int64], labels: int, recipe: Recipe) -> Tensor:
    """Weigh each class by the inverse of its count, with a mean of 1 over the images."""
    if not recipe.training.class_weights:
        return torch.ones(labels)
    counts = np.bincount(classes, minlength=labels)
    return torch.tensor(len(classes) / (labels * counts), dtype=torch.float32)


def _metrics_log(folder: Path) -> CSVLogger:
    """Log every step to `metrics.csv`; go on with the one of an interrupted run."""
    file, last = folder / "metrics.csv", folder / LAST_CHECKPOINT
    earlier: list[dict[str, Any]] = []
    if file.exists() and last.exists():
        done = torch.load(last, weights_only=True)["global_step"]
        with file.open(newline="") as rows:
            earlier = [row for row in csv.DictReader(rows) if int(row["step"]) < done]
    logger = CSVLogger(folder, name="", version="", flush_logs_every_n_steps=1)
    with warnings.catch_warnings():
        # Lightning warns that it deletes the file; its rows are written again.
        warnings.simplefilter("ignore", UserWarning)
        logger.experiment.metrics.extend(earlier)
    return logger


def _early_stopping(training: Training) -> list[Callback]:
    if not training.patience:
        return []
    return [EarlyStopping("val_accuracy", mode="max", patience=training.patience)]
