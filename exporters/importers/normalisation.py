"""A classifier made elsewhere, with a normalisation of its own, as one like those trained here."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leansight.runtime.preprocessing import PIXEL_SCALE, PIXEL_ZERO, Image


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


class NormalisedNetwork(nn.Sequential):
    """A network from elsewhere behind the layer that normalises its pixels, where it needs one."""

    def __init__(self, network: nn.Module, normalisation: Normalisation, channels: int) -> None:
        super().__init__(*_layers(normalisation, channels), network)
        self.normalisation, self.channels = normalisation, channels

    @property
    def network(self) -> nn.Module:
        """The network as it came, for pixels as it wants them."""
        return self[-1]


def normalised(network: nn.Module, normalisation: Normalisation, *, channels: int) -> nn.Module:
    """Return the network for (pixel - 128) / 128, from one that wants another normalisation.

    What is between the two is a layer of its own, exact but for int8's one rounding; where
    nothing is between them, there is none.
    """
    return NormalisedNetwork(network, normalisation, channels).eval()


def _layers(normalisation: Normalisation, channels: int) -> list[nn.Module]:
    """Return the layer that leads from (pixel - 128) / 128 to what is wanted, or none."""
    factor, summand = normalisation.factors(channels)
    if normalisation.bgr:
        turned = nn.Conv2d(channels, channels, 1)
        turned.weight.data = _float(np.diag(factor)[:, ::-1].copy())[..., None, None]
        turned.bias = nn.Parameter(_float(summand))
        return [turned]
    if (factor == 1).all() and not summand.any():
        return []
    norm = nn.BatchNorm2d(channels, eps=0.0)
    norm.weight.data, norm.bias.data = _float(factor), _float(summand)
    return [norm]


def _float(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values).float()
