"""Two small networks that have learnt shapes, converted and quantized."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from shapes import LABELS, photos
from torch import Tensor, nn

from leansight.exporters.conversion.convert import FloatGraphs, convert
from leansight.exporters.export import ExportImages
from leansight.exporters.int8.calibrated_network import quantize
from leansight.exporters.verification.report import ExportReport
from leansight.runtime.bundle import Bundle, Precision
from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.interpreter import Format
from leansight.runtime.preprocessing import Preprocessing

Pixels = NDArray[np.uint8]
EPOCHS = 4


@dataclass(frozen=True)
class Images:
    pixels: Pixels
    classes: NDArray[np.int64]


def prepared(preprocessing: Preprocessing, count: int, seed: int) -> Images:
    pictures, classes = photos(count, seed)
    return Images(np.concatenate([preprocessing(p) for p in pictures]), classes)


def to_tensor(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().sub(128).div(128)


class Mixed(nn.Module):
    """Colour, stride 2, depthwise and grouped convolutions, ReLU6, a concatenation."""

    def __init__(self) -> None:
        super().__init__()

        def layer(before: int, after: int, kernel: int, **options: int) -> nn.Sequential:
            convolution = nn.Conv2d(
                before, after, kernel, padding=kernel // 2, bias=False, **options
            )
            return nn.Sequential(convolution, nn.BatchNorm2d(after))

        self.stem = nn.Sequential(layer(3, 16, 3, stride=2), nn.ReLU6())
        self.depthwise = nn.Sequential(layer(16, 16, 3, groups=16), nn.ReLU6())
        self.grouped = nn.Sequential(layer(16, 16, 3, groups=4, stride=2), nn.ReLU())
        self.side = layer(16, 8, 1, stride=2)
        self.mix = nn.Sequential(layer(24, 12, 1), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(12, len(LABELS))

    def features(self, x: Tensor) -> Tensor:
        x = self.depthwise(self.stem(x))
        return self.pool(self.mix(torch.cat([self.grouped(x), self.side(x)], 1))).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def teach(network: nn.Module, images: Images) -> nn.Module:
    """Train for a moment: batch norms get something to fold, and decisions mean something."""
    pixels, classes = to_tensor(images.pixels), torch.from_numpy(images.classes)
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for batch in torch.arange(len(classes)).repeat(EPOCHS).split(30):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(pixels[batch]), classes[batch]).backward()
        optimiser.step()
    return network.eval()


@dataclass(frozen=True)
class Converted:
    network: nn.Module
    preprocessing: Preprocessing
    floats: FloatGraphs
    int8: Mapping[Format, bytes]
    calibration: Pixels


def ignore(*_: object) -> None:
    pass


def convert_and_quantize(network: nn.Module, preprocessing: Preprocessing) -> Converted:
    calibration = prepared(preprocessing, 60, seed=1).pixels
    floats = convert(network, preprocessing)
    int8 = quantize(floats, calibration, ignore)
    return Converted(network, preprocessing, floats, int8, calibration)


def draft(path: Path, precision: Precision = "int8") -> Bundle:
    return Bundle(
        path=path,
        name="shapes",
        labels=LABELS,
        preprocessing=Preprocessing(size=32, colour="gray"),
        decision=DecisionPolicy(threshold=0.6),
        precision=precision,
        provenance={"images": {"train": 90}},
    )


def images(plain: Converted) -> ExportImages:
    return ExportImages(
        calibration=plain.calibration,
        validation=prepared(plain.preprocessing, 60, seed=4),
        golden=photos(3, seed=5)[0],
    )


Written = tuple[Bundle, dict[str, ExportReport]]
