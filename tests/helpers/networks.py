"""Recipes of every kind of network, and what is counted in them."""

import re
from collections import Counter
from collections.abc import Sequence

import timm
import torch
from torch import Tensor, nn

from leansight.sdk.models.build import build_network
from leansight.sdk.recipes.model import ModelRecipe

# Parameters with 1000 classes: torchvision's tables, timm's own for the others.
PUBLISHED = {
    "resnet50": 25_557_032,
    "resnetv2_50": 25_549_352,
    "mobilenetv1_100": 4_231_976,
    "mobilenetv2_100": 3_504_872,
    "mobilenetv3_large_100": 5_483_032,
    "efficientnet_lite0": 4_652_008,
    "inception_resnet_v2": 55_843_464,
    "resnext50_32x4d": 25_028_904,
    "resnext101_32x8d": 88_791_336,
    "densenet201": 20_013_928,
}


TIMM = [*PUBLISHED, "vgg19"]
LIGHT = ("mobilenetv1_100", "mobilenetv2_100")


OWN = {
    "resnet-custom": ModelRecipe(width=4, blocks=(1, 2)),
    "plain-cnn": ModelRecipe(name="plain-cnn", blocks=(1, 2), widths=(4, 12), stem_stride=2),
    "masks-cnn": ModelRecipe(name="masks-cnn", width=4, blocks=(1, 2)),
    "mixed-blocks": ModelRecipe(name="mixed-blocks", width=4, blocks=(1, 2)),
}


S2_HEAD = ModelRecipe(
    name="masks-cnn", head=(100, 10), head_dropout=(0.5, 0.2), head_batch_norm=True
)


LITE0 = ModelRecipe(name="efficientnet_lite0", pretrained=True)


def weightless(recipe: ModelRecipe, classes: int, channels: int = 3) -> nn.Module:
    """Return a network that has shapes, but takes neither memory nor time."""
    with torch.device("meta"):
        return build_network(recipe, classes=classes, channels=channels)


def count(module: nn.Module, *, trainable: bool = False) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)


def statistics(module: nn.Module) -> int:
    """Count means and variances of batch norms, which Keras counts as parameters."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    return sum(2 * norm.num_features for norm in norms)


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [m for m in module.modules() if isinstance(m, nn.Conv2d)]


def gray_noise(count: int, channels: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (count, channels, size, size)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def check_partition(network: nn.Module, groups: Sequence[nn.Module]) -> None:
    """Every parameter is in exactly one group."""
    ids = Counter(id(p) for group in groups for p in group.parameters())
    assert ids == Counter(id(p) for p in network.parameters())


_build = timm.create_model


def with_fewer_layers(name: str, **options: object) -> nn.Module:
    """Build timm's network with the first block alone of each of its stages.

    That whole ones learn is tested beside `sdk/models/backbones.py`.
    """
    if name.startswith("densenet"):
        return _build(name, block_config=(2, 2, 2, 2), **options)
    network = _build(name, **options)
    for child, stage in network.named_children():
        if re.fullmatch(r"layer\d|repeat(_\d)?", child):
            del stage[1:]
        elif child == "blocks":
            for blocks in stage:
                del blocks[1:]
    return network
