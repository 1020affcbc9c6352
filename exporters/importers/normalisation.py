"""A classifier made elsewhere, with a normalisation of its own, as one like those trained here."""

import math
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leansight.exporters.errors import ConversionError
from leansight.exporters.importers import keras_to_onnx
from leansight.exporters.importers.onnx_reader import OnnxClassifier
from leansight.runtime.preprocessing import PIXEL_SCALE, PIXEL_ZERO, Image

KERAS_PACKAGES: Final = ("tensorflow", "tf2onnx", "onnx")


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """What a network made elsewhere wants done to its pixels: (pixel - mean) / std.

    Both in units of pixels, 0 to 255, one number or one a channel, in the network's order of
    channels, which is blue, green, red if it is `bgr`.

    Raises:
        ValueError: not as many means as deviations, or a deviation below one pixel, which would
            be for pixels from 0 to 1.

    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool = False

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) for number in (*self.mean, *self.std)):
            raise ValueError("mean and std are finite numbers")
        if not self.std or min(self.std) < 1:
            times = ",".join(f"{255 * number:g}" for number in self.std)
            raise ValueError(
                f"mean and std are of pixels from 0 to 255, and no std is below 1: for a network "
                f"that takes pixels from 0 to 1, multiply both by 255 (std {times})"
            )

    def factors(self, channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return factor and summand (C,) that lead from (pixel - 128) / 128 to what is wanted."""
        mean, std = (self._each(name, channels) for name in ("mean", "std"))
        return 1 / (PIXEL_SCALE * std), (PIXEL_ZERO - mean) / std

    def __call__(self, pixels: Image) -> NDArray[np.float32]:
        """Return pixels (..., C) uint8 as the network wants them."""
        channels = pixels.shape[-1]
        ordered = pixels[..., ::-1] if self.bgr else pixels
        mean, std = (self._each(name, channels) for name in ("mean", "std"))
        return ((ordered - mean) / std).astype(np.float32)

    def _each(self, name: str, channels: int) -> NDArray[np.float64]:
        numbers = np.array(getattr(self, name), np.float64)
        if len(numbers) not in (1, channels):
            raise ValueError(f"{name} is one number or {channels}, not {len(numbers)}")
        return np.broadcast_to(numbers, channels)


def normalised(network: nn.Module, normalisation: Normalisation, *, channels: int) -> nn.Module:
    """Return the network for (pixel - 128) / 128, from one that wants another normalisation.

    What is between the two is a layer of its own, exact but for int8's one rounding; where
    nothing is between them, there is none.
    """
    factor, summand = normalisation.factors(channels)
    if (factor == 1).all() and not summand.any() and not normalisation.bgr:
        return network
    if not normalisation.bgr:
        norm = nn.BatchNorm2d(channels, eps=0.0)
        norm.weight.data, norm.bias.data = _float(factor), _float(summand)
        return nn.Sequential(norm, network).eval()
    turned = nn.Conv2d(channels, channels, 1)
    turned.weight.data = _float(np.diag(factor)[:, ::-1].copy())[..., None, None]
    turned.bias.data = _float(summand)  # type: ignore[union-attr]
    return nn.Sequential(turned, network).eval()


def largest_difference(
    classifier: OnnxClassifier, logits: NDArray[np.float32], outputs: NDArray[np.float64]
) -> float:
    """Return by how much torch's logits (N, K) say something else than the file's outputs.

    Where the file ends in probabilities, of these; else of its numbers, as a share of the largest.
    """
    given = logits.astype(np.float64)
    if classifier.outputs == 1:
        given = given[:, 1:] - given[:, :1]
    exponentials = np.exp(given - given.max(axis=1, keepdims=True))
    match classifier.end:
        case "softmax":
            given = exponentials / exponentials.sum(axis=1, keepdims=True)
        case "log-softmax":
            given, outputs = exponentials / exponentials.sum(axis=1, keepdims=True), np.exp(outputs)
        case "sigmoid":
            given = 1 / (1 + np.exp(-given))
        case "logits":
            largest = max(float(np.abs(outputs).max()), 1e-6)
            given, outputs = given / largest, outputs / largest
    return float(np.abs(given - outputs).max())


def convert_keras(source: Path, target: Path, *, python: Path) -> None:
    """Write a Keras model or a SavedModel folder as ONNX, in a process of another Python.

    Raises:
        ConversionError: that Python has no TensorFlow or tf2onnx, or they cannot read the model.

    """
    with tempfile.TemporaryDirectory() as folder:
        # Away from our own files: a script's folder is where Python looks for modules first.
        script = Path(shutil.copy(keras_to_onnx.__file__, folder))
        command = [str(python), str(script), str(source.resolve()), str(target.resolve())]
        done = subprocess.run(  # noqa: S603 -- the Python that the user names
            command, capture_output=True, text=True, errors="replace", check=False
        )
    if done.returncode == 0:
        return
    said = [line for line in done.stderr.splitlines() if line.strip()]
    last = said[-1].strip() if said else f"exit code {done.returncode}"
    if any(last.endswith(f"No module named '{package}'") for package in KERAS_PACKAGES):
        raise ConversionError(
            f"{source} needs TensorFlow, which {python} lacks ({last}). Type: python3 -m venv "
            "keras && keras/bin/pip install tensorflow tf2onnx, and add --keras-python "
            "keras/bin/python"
        )
    raise ConversionError(f"TensorFlow cannot convert {source}: {last}")


def _float(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values).float()
