"""The network of every shipped recipe is counted as by hand, in both formats and precisions."""

import os
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leansight.benchmarks.graph_count import count_graph
from leansight.exporters.conversion.convert import convert
from leansight.exporters.int8.calibrated_network import quantize
from leansight.runtime.preprocessing import Preprocessing
from leansight.sdk.models.build import build_network
from leansight.sdk.recipes.load import load_recipe, recipe_names
from leansight.sdk.recipes.model import ModelRecipe

CLASSES = 21
SMALL = ("traffic-signs-tiny", "traffic-signs-small")  # converted in seconds
# The others take smaller pictures here; what is halved four or five times needs some.
LEAST_SIDE, INCEPTION_SIDE = 64, 96


@dataclass(frozen=True)
class Case:
    model: ModelRecipe
    preprocessing: Preprocessing
    classes: int = CLASSES

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of a picture."""
        return self.preprocessing.channels, self.preprocessing.height, self.preprocessing.width


def of_recipe(name: str) -> Case:
    recipe = load_recipe(name, ["model.pretrained=false", "model.data_normalisation=false"])
    if name in SMALL:
        return Case(recipe.model, recipe.preprocessing)
    side = INCEPTION_SIDE if recipe.model.name == "inception_resnet_v2" else LEAST_SIDE
    return Case(recipe.model, replace(recipe.preprocessing, size=side))


def of_imagenet(name: str) -> Case:
    model = ModelRecipe(name=name)  # type: ignore[arg-type]  # parametrized: a string
    return Case(model, Preprocessing(size=224), classes=1000)


def settled(case: Case) -> nn.Module:
    """Return a network whose batch norms know what they see: else int8 has nothing to round."""
    torch.manual_seed(0)
    channels, *sides = case.shape
    network = build_network(
        case.model, classes=case.classes, channels=channels, size=(sides[0], sides[1])
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None  # the mean of what it sees, of the one batch
    with torch.inference_mode():
        network.train()(torch.rand(4, *case.shape) * 2 - 1)
    return network.eval()


class HandCount:
    """The MACs of each layer as torch runs it: results, times the products that each sums up."""

    def __init__(self) -> None:
        self.macs: list[int] = []
        self._outputs: list[Tensor] = []  # of layers, into which a batch norm behind is folded

    def convolution(self, layer: nn.Conv2d, _: object, result: Tensor) -> None:
        height, width = layer.kernel_size
        self.macs.append(result.numel() * layer.in_channels // layer.groups * height * width)
        self._outputs.append(result)

    def dense(self, layer: nn.Linear, _: object, result: Tensor) -> None:
        self.macs.append(result.numel() * layer.in_features)
        self._outputs.append(result)

    def norm(self, _: nn.Module, taken: tuple[Tensor], result: Tensor) -> None:
        """Behind anything else (DenseNet's joined features) it is a factor of each channel."""
        if not any(taken[0] is output for output in self._outputs):
            self.macs.append(result.numel())

    def average(self, layer: nn.AvgPool2d, _: object, result: Tensor) -> None:
        """Leansight writes it as a convolution of each channel alone: rounding is the same then."""
        size = layer.kernel_size
        height, width = (size, size) if isinstance(size, int) else size
        self.macs.append(result.numel() * height * width)


def macs_by_hand(network: nn.Module, shape: tuple[int, int, int]) -> int:
    count, hooks = HandCount(), []
    for module in network.modules():
        match module:
            case nn.Conv2d():
                hooks.append(module.register_forward_hook(count.convolution))
            case nn.Linear():
                hooks.append(module.register_forward_hook(count.dense))
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                hooks.append(module.register_forward_hook(count.norm))
            case nn.AvgPool2d():
                hooks.append(module.register_forward_hook(count.average))
            case _:
                own = [p for p in module.parameters(recurse=False) if p.ndim > 1]
                assert not own, f"{type(module).__name__} has weights that nobody counts"
    with torch.inference_mode():
        network(torch.zeros(1, *shape))
    for hook in hooks:
        hook.remove()
    return sum(count.macs)


def pixels(case: Case) -> NDArray[np.uint8]:
    channels, height, width = case.shape
    return np.random.default_rng(0).integers(0, 256, (2, height, width, channels), np.uint8)


def check(case: Case) -> None:
    network = settled(case)
    expected = macs_by_hand(network, case.shape)
    assert expected > 0
    floats = convert(network, case.preprocessing)
    int8 = quantize(floats, pixels(case), lambda *_: None)
    for precision, files in (("float32", floats.files), ("int8", int8)):
        for model_format, model in files.items():
            count = count_graph(model, model_format)
            assert (count.macs, count.precision_text) == (expected, precision), model_format
            assert sum(layer.macs for layer in count.layers) == expected


@pytest.mark.parametrize(("name", "millions"), [("resnet50", 4_089), ("mobilenetv2_100", 300.8)])
def test_what_is_counted_by_hand_are_the_figures_that_are_known(name: str, millions: float) -> None:
    case = of_imagenet(name)
    assert macs_by_hand(settled(case), case.shape) == pytest.approx(millions * 1e6, rel=2e-4)


def test_layers_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 6, (3, 1), groups=2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(24, 5)
    )
    assert macs_by_hand(network, (4, 6, 4)) == (4 * 4 * 6) * (2 * 3) + (2 * 2 * 6) * 4 + 5 * 24


@pytest.mark.parametrize("name", SMALL)
def test_a_small_recipe_is_counted_as_by_hand(name: str) -> None:
    check(of_recipe(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(recipe_names()) - set(SMALL)))
def test_a_recipe_is_counted_as_by_hand(name: str) -> None:
    if "LEANSIGHT_WHOLE_NETWORKS" not in os.environ:
        pytest.skip("all take minutes: LEANSIGHT_WHOLE_NETWORKS=1 counts them")
    check(of_recipe(name))
