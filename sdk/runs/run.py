"""A training run on disk: what it was begun with, its file lists, weights and scores."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from safetensors.torch import save
from torch import nn

from leansight.runtime.decision import Task
from leansight.runtime.errors import DataError
from leansight.runtime.system.regular_files import read_regular
from leansight.runtime.system.whole_files import write_whole
from leansight.sdk.data.lists import read_samples, write_samples
from leansight.sdk.data.samples import Split
from leansight.sdk.models.build import load_network
from leansight.sdk.recipes.schema import Recipe
from leansight.sdk.system.files import write_json

WEIGHTS: Final = "model.safetensors"
# What a damaged file, or another JSON than expected, leads to.
_DAMAGED: Final = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
_MOST_BYTES: Final = 4 << 20  # of start.json and run.json
LOCK: Final = "run.lock"  # held by the process that works on the run
# The files of a run that are written before all others.
LISTS: Final = frozenset({"train.csv", "validation.csv", "test.csv"})


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What one training is told beside its recipe and data.

    `test_on`: the country kept for the test; `lists`: a run whose lists of files are used again;
    `weights`: files of pretrained weights, one for each body; `network`: a file of the recipe's
    network to go on from, pruned or not; `teachers`: runs to learn from, by the mean of their
    probabilities; `bank`: a folder of views of the images with the teachers' answers, made if
    need be (see `leansight.sdk.training.bank`), and `bank_views` how many of each image;
    `skip_bad`: leave out unreadable images; `everything`: learn from the validation images as
    well, and keep the last epoch; `score_test`: look at the test images at the end.
    """

    test_on: str = ""
    lists: Path | None = None
    weights: tuple[Path, ...] = ()
    network: Path | None = None
    teachers: tuple[Path, ...] = ()
    bank: Path | None = None
    bank_views: int = 10
    skip_bad: bool = False
    everything: bool = False
    score_test: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads, as plain JSON values."""
        return asdict(self) | {
            "lists": os.fspath(self.lists) if self.lists else None,
            "weights": [os.fspath(file) for file in self.weights],
            "network": os.fspath(self.network) if self.network else None,
            "teachers": [os.fspath(path) for path in self.teachers],
            "bank": os.fspath(self.bank) if self.bank else None,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainingOptions":
        """Build from `to_dict`'s form; TypeError or KeyError if it does not fit."""
        values = dict(values)
        if teacher := values.pop("teacher", None):  # of older versions, which had one
            values["teachers"] = [teacher]
        for key in ("lists", "network", "bank"):
            values[key] = Path(values[key]) if values.get(key) else None
        for key in ("weights", "teachers"):
            values[key] = tuple(Path(name) for name in values.get(key, ()))
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a run was begun with: enough to go on with it after a kill.

    On disk it is `start.json`, beside the lists of files.
    """

    data: Path
    recipe: Recipe
    labels: tuple[str, ...]
    options: TrainingOptions = field(default_factory=TrainingOptions)

    @staticmethod
    def exists(path: Path) -> bool:
        """Tell whether a run was begun at `path`."""
        return (path / "start.json").is_file()

    @classmethod
    def load(cls, path: Path) -> "RunConfig":
        """Read what was begun at `path`; DataError if it is damaged."""
        file = path / "start.json"
        try:
            values = json.loads(read_regular(file, _MOST_BYTES))
            return cls(
                data=Path(values["data"]),
                recipe=Recipe.from_dict(values["recipe"]),
                labels=_texts(values["labels"]),
                options=TrainingOptions.from_dict(values["options"]),
            )
        except _DAMAGED as error:
            raise DataError(f"{file} is damaged: {error}") from error

    def save(self, path: Path) -> None:
        """Write `start.json`, whole or not at all."""
        values = {
            "data": os.fspath(self.data),
            "recipe": self.recipe.to_dict(),
            "labels": self.labels,
            "options": self.options.to_dict(),
        }
        write_json(path / "start.json", values)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run: `data` is the root of the images, `metrics` plain JSON values.

    On disk it is a folder: `run.json` (written last, so that a run that has it is whole),
    `start.json`, `train.csv`, `validation.csv`, `test.csv` (paths relative to `data`),
    `model.safetensors`, and `checkpoints/` with Lightning's own files.
    """

    path: Path
    data: Path
    recipe: Recipe
    labels: tuple[str, ...]
    metrics: Mapping[str, Any]

    @classmethod
    def load(cls, path: Path) -> "Run":
        """Read a run; DataError if it is missing, unfinished or damaged."""
        file = path / "run.json"
        if not file.is_file():
            unfinished = RunConfig.exists(path)
            what = "has not finished: resume its training" if unfinished else "is not a run"
            raise DataError(f"{path} {what} (it has no run.json)")
        try:
            values = json.loads(read_regular(file, _MOST_BYTES))
            return cls(
                path=path,
                data=Path(values["data"]),
                recipe=Recipe.from_dict(values["recipe"]),
                labels=_texts(values["labels"]),
                metrics=values["metrics"],
            )
        except _DAMAGED as error:
            raise DataError(f"{file} is damaged: {error}") from error

    def save(self, network: nn.Module) -> None:
        """Write the weights, then `run.json`, each whole or not at all."""
        write_weights(network, self.path / WEIGHTS)
        values = {
            "data": os.fspath(self.data),
            "labels": self.labels,
            "recipe": self.recipe.to_dict(),
            "metrics": self.metrics,
        }
        write_json(self.path / "run.json", values)

    def network(self) -> nn.Module:
        """Return the trained network, in evaluation mode."""
        return load_network(
            self.path / WEIGHTS,
            self.recipe.model,
            classes=len(self.labels),
            channels=self.recipe.preprocessing.channels,
            size=self.recipe.preprocessing.size,
        ).eval()

    def split(self) -> Split:
        """Read the lists of files that the run was trained, chosen and tested on."""
        return read_split(self.path)


def weights_digest(path: Path) -> str:
    """Return the SHA-256 of the weights of a finished run, in hexadecimal."""
    return hashlib.sha256((path / WEIGHTS).read_bytes()).hexdigest()


def write_weights(network: nn.Module, file: Path) -> None:
    """Write a network's state dict as safetensors, whole or not at all."""
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    write_whole(file, save(state))  # its save_file would leave a file of a killed process behind


def _texts(values: Sequence[object]) -> tuple[str, ...]:
    if wrong := [value for value in values if not isinstance(value, str)]:
        raise TypeError(f"labels are text, not {wrong[0]!r}")
    return tuple(map(str, values))


def describe_metric(name: str, task: Task) -> str:
    """Return the name of a metric of a run as people read it.

    With many labels, its accuracy is the label accuracy: the share of single labels that are
    right, each given from a probability of a half on (1 - Hamming loss). An evaluation also
    knows the image accuracy: the share of images that are right in all their labels (subset
    accuracy).
    """
    return name.replace("accuracy", "label accuracy") if task == "multilabel" else name


def read_split(path: Path) -> Split:
    """Read the lists of files of a run, finished or not."""
    return Split(
        train=tuple(read_samples(path / "train.csv")),
        validation=tuple(read_samples(path / "validation.csv")),
        test=tuple(read_samples(path / "test.csv")),
    )


def write_split(path: Path, split: Split) -> None:
    """Write the lists of files of a run that begins."""
    write_samples(path / "train.csv", split.train)
    write_samples(path / "validation.csv", split.validation)
    write_samples(path / "test.csv", split.test)
