"""A training run on disk: its recipe, labels, file lists, weights and what it scored."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn

from leansight.runtime.errors import DataError
from leansight.sdk.data import Split, read_samples, write_samples
from leansight.sdk.models import build_network
from leansight.sdk.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run: `data` is the root of the images, `metrics` plain JSON values.

    On disk it is a folder: `run.json` (written last, so that a run that has it is whole),
    `train.txt`, `validation.txt`, `test.txt` (paths relative to `data`), `model.safetensors`,
    and `checkpoints/` with Lightning's own files.
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
            unfinished = (path / "checkpoints").is_dir()
            what = "has not finished: go on with --resume" if unfinished else "is not a run"
            raise DataError(f"{path} {what} (it has no run.json)")
        try:
            values = json.loads(file.read_text())
            return cls(
                path=path,
                data=Path(values["data"]),
                recipe=Recipe.from_dict(values["recipe"]),
                labels=tuple(values["labels"]),
                metrics=values["metrics"],
            )
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{file} is damaged: {error}") from error

    def save(self, network: nn.Module) -> None:
        """Write the weights, then `run.json`, each under a temporary name and renamed."""
        weights = self.path / "model.safetensors"
        state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
        save_file(state, weights.with_suffix(".part"))
        weights.with_suffix(".part").rename(weights)
        values = {
            "data": os.fspath(self.data),
            "labels": self.labels,
            "recipe": self.recipe.to_dict(),
            "metrics": self.metrics,
        }
        part = self.path / "run.json.part"
        part.write_text(json.dumps(values, indent=2) + "\n")
        part.rename(self.path / "run.json")

    def network(self) -> nn.Module:
        """Return the trained network, in evaluation mode."""
        channels = self.recipe.preprocessing.channels
        network = build_network(self.recipe.model, classes=len(self.labels), channels=channels)
        file = self.path / "model.safetensors"
        try:
            network.load_state_dict(load_file(file))
        except Exception as error:  # safetensors' own error has no public base class
            reason = " ".join(str(error).split())  # torch's fills several lines
            raise DataError(f"{file} is damaged or of another network: {reason}") from error
        return network.eval()

    def split(self) -> Split:
        """Read the lists of files that the run was trained, chosen and tested on."""
        return read_split(self.path)


def read_split(path: Path) -> Split:
    """Read the lists of files of a run, finished or not."""
    return Split(
        train=tuple(read_samples(path / "train.txt")),
        validation=tuple(read_samples(path / "validation.txt")),
        test=tuple(read_samples(path / "test.txt")),
    )


def write_split(path: Path, split: Split) -> None:
    """Write the lists of files of a run that begins."""
    write_samples(path / "train.txt", split.train)
    write_samples(path / "validation.txt", split.validation)
    write_samples(path / "test.txt", split.test)
