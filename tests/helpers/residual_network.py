"""A small residual network that learns shapes, and how to spoil it for int8."""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapes import LABELS, photos
from torch import Tensor, nn
from torch.nn import functional

from leansight.exporters.conversion.any_number import for_any_number
from leansight.exporters.conversion.inference import predict
from leansight.exporters.int8.calibrated_network import CalibratedNetwork
from leansight.runtime.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(size=24, colour="gray")
TOO_LARGE = 4000.0  # what one channel is multiplied by, which the next layer undoes
numbers = st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=60)


@dataclass(frozen=True)
class Images:
    pixels: NDArray[np.uint8]
    classes: NDArray[np.int64]


def prepared(count: int, seed: int) -> Images:
    pictures, classes = photos(count, seed)
    return Images(np.concatenate([PREPROCESSING(p) for p in pictures]), classes)


class Residual(nn.Module):
    """Convolutions, one of each channel alone, a shortcut, a maximum."""

    def __init__(self, activation: type[nn.ReLU | nn.ReLU6] = nn.ReLU) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), activation())
        self.wide = nn.Sequential(nn.Conv2d(8, 16, 1), nn.BatchNorm2d(16), activation(inplace=True))
        self.alone = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, groups=16), activation())
        self.narrow = nn.Conv2d(16, 8, 1)
        self.head = nn.Linear(8, len(LABELS))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(self.stem(x), 2)
        x = functional.relu(x + self.narrow(self.alone(self.wide(x))))
        return self.head(x.mean((2, 3)))


def teach(network: nn.Module) -> nn.Module:
    images = prepared(300, seed=0)
    pixels = torch.from_numpy(images.pixels).permute(0, 3, 1, 2).float().sub(128).div(128)
    classes = torch.from_numpy(images.classes)
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for batch in torch.arange(300).repeat(12).split(30):
        optimiser.zero_grad()
        functional.cross_entropy(network(pixels[batch]), classes[batch]).backward()
        optimiser.step()
    return network.eval()


@torch.no_grad()
def spoil(network: Residual) -> None:
    """Let one channel be so large that the others have few levels; in float nothing changes."""
    norm = network.wide[1]
    norm.weight[3] *= TOO_LARGE
    norm.bias[3] *= TOO_LARGE
    network.alone[0].weight[3] /= TOO_LARGE


def exact(found: CalibratedNetwork) -> Tensor:
    return torch.from_numpy(predict(for_any_number(found.floats.folded), found.pixels))
