"""The networks that recipes name. Every one takes (N, C, S, S) float32 pixels in [-1, 1).

All are one `Classifier`: a body, the mean of its features over the picture, and a head of dense
layers. Bodies of our own are here, timm's in `backbones`.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from leansight.runtime.errors import DataError
from leansight.runtime.preprocessing import PIXEL_SCALE, PIXEL_ZERO
from leansight.sdk.models.backbones import SideBySide, TimmBody
from leansight.sdk.recipes.schema import ModelRecipe

EXPANSION = 4  # output channels of a block over its inner width (He et al., 2015)


def build_network(recipe: ModelRecipe, *, classes: int, channels: int) -> "Classifier":
    """Return the network that a recipe names, with fresh weights; nothing is downloaded."""
    body: nn.Module
    features = recipe.width << len(recipe.blocks) - 1
    match recipe.name:
        case "resnet-custom":
            body = residual_body(channels, recipe.width, recipe.blocks)
            features *= EXPANSION
        case "masks-cnn":
            body = plain_body(channels, recipe.width, recipe.blocks)
        case "mixed-blocks":
            body = mixed_body(channels, recipe.width, recipe.blocks)
            features *= EXPANSION
        case "ensemble":
            body = SideBySide([TimmBody(name, channels) for name in recipe.bodies])
            features = body.features
        case name:
            body = TimmBody(name, channels)
            features = body.features
    return Classifier(body, recipe, features=features, classes=classes)


def load_network(file: Path, recipe: ModelRecipe, *, classes: int, channels: int) -> "Classifier":
    """Return the network that a recipe names with the weights of a file, pruned ones as well.

    Raises:
        DataError: the file is damaged, or of another network.

    """
    network = build_network(recipe, classes=classes, channels=channels)
    try:
        weights = load_file(file)
        _shrink(network, weights)
        network.load_state_dict(weights)
    except Exception as error:  # safetensors' own error has no public base class
        reason = " ".join(str(error).split())  # torch's fills several lines
        raise DataError(f"{file} is damaged or of another network: {reason}") from error
    if (found := network.head.out_features) != classes:
        raise DataError(f"{file} is of another network: it has {found} classes, not {classes}")
    return network


def _shrink(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give layers the channels that their weights have: pruning left fewer of them."""
    for name, module in network.named_modules():
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for kind, tensor in own:
            given = weights.get(f"{name}.{kind}")
            if given is None or given.shape == tensor.shape:
                continue
            if any(new > old for new, old in zip(given.shape, tensor.shape, strict=True)):
                raise ValueError(
                    f"{name}.{kind} has {tuple(given.shape)}, not up to {tensor.shape}"
                )
            tensor.data = torch.empty_like(given)
        match module:
            case nn.Conv2d():
                if module.groups == module.in_channels > 1:  # each channel by itself
                    module.groups = len(module.weight)
                module.out_channels = len(module.weight)
                module.in_channels = module.weight.shape[1] * module.groups
            case nn.Linear():
                module.out_features, module.in_features = module.weight.shape
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                module.num_features = len(module.weight)


def network_input(pixels: Tensor) -> Tensor:
    """Turn uint8 pixels into what every network takes: float32 in [-1, 1), same shape."""
    return (pixels.float() - PIXEL_ZERO) * PIXEL_SCALE


class Classifier(nn.Module):
    """A body, the mean over the picture, and dense layers as the recipe's `head` has them.

    Dropout, then for each hidden layer batch norm where the recipe says so, ReLU and its own
    dropout, then the output. Dense layers begin with Glorot's normal weights (Glorot & Bengio,
    2010) and no bias. Batch norms whose weights are frozen keep the statistics that they have.

    Args:
        body: maps pixels to features (N, C, h, w).
        recipe: its dropout and head.
        features: C.
        classes: outputs.

    """

    def __init__(
        self, body: nn.Module, recipe: ModelRecipe, *, features: int, classes: int
    ) -> None:
        super().__init__()
        self.body = body
        # Bodies that end in one number a channel need no mean, nor its node in the exported graph.
        pooled = isinstance(body, SideBySide | TimmBody) and body.pooled
        self.pool = nn.Identity() if pooled else nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(recipe.dropout)
        self.hidden = _hidden_layers(features, recipe)
        self.head = nn.Linear(recipe.head[-1] if recipe.head else features, classes)
        for layer in (*self.hidden, self.head):
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map pixels (N, channels, S, S) to logits (N, classes)."""
        features = self.pool(self.body(x)).flatten(1)
        return self.head(self.hidden(self.dropout(features)))  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> "Classifier":  # noqa: FBT001, FBT002 -- torch's own
        """Switch to training, except the batch norms that do not learn."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.train(mode and module.weight.requires_grad)
        return self


class ResNetCustom(Classifier):
    """System S1's small network, without a recipe: ResNet-50's design for small pictures.

    With 16 filters, 3 + 4 + 6 blocks and one 64×64 channel: 541 K convolution and dense
    parameters for 21 classes, 258.5 M multiply-accumulates.
    """

    def __init__(
        self,
        *,
        classes: int,
        channels: int,
        width: int = 16,
        blocks: Sequence[int] = (3, 4, 6),
        dropout: float = 0.2,
    ) -> None:
        body = residual_body(channels, width, blocks)
        recipe = ModelRecipe(width=width, blocks=tuple(blocks), dropout=dropout)
        features = width << len(blocks) - 1
        super().__init__(body, recipe, features=features * EXPANSION, classes=classes)

    @property
    def stem(self) -> nn.Module:
        """The first convolution with its batch norm and ReLU."""
        return self.body.get_submodule("stem")


def residual_body(channels: int, width: int, blocks: Sequence[int]) -> nn.Sequential:
    """Return S1's: a 3×3 stem of stride 1 with `width` filters, no pooling, bottleneck blocks.

    One stage per entry of `blocks`; each after the first halves the picture and doubles the width.
    """
    return _staged_body(_stem(channels, width, stride=1), width, blocks, mixed=False)


def mixed_body(channels: int, width: int, blocks: Sequence[int]) -> nn.Sequential:
    """Return S5's: as S1's, of as many pairs of a residual and an Inception block.

    The stem halves the picture: S5's are 128×128.
    """
    return _staged_body(_stem(channels, width, stride=2), width, blocks, mixed=True)


def plain_body(channels: int, width: int, blocks: Sequence[int]) -> nn.Sequential:
    """Return S2's small network: 3×3 convolutions with ReLU, halved by their maximum.

    One stage per entry of `blocks`, of as many convolutions; the first has `width` filters, each
    one after it twice as many. Glorot's normal weights, as S2's.
    """
    stages: list[nn.Module] = []
    in_channels = channels
    for stage, count in enumerate(blocks):
        layers: list[nn.Module] = []
        for _ in range(count):
            layers += [nn.Conv2d(in_channels, width << stage, 3, padding=1), nn.ReLU(inplace=True)]
            in_channels = width << stage
        stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
    body = nn.Sequential(*stages)
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_normal_(module.weight)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    return body


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 convolutions around a shortcut (He et al., arXiv 1512.03385, figure 5).

    The stride is in the 3×3 convolution, as in torchvision's ResNet.
    """

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = width * EXPANSION
        self.body = nn.Sequential(
            *_activated(in_channels, width, kernel=1),
            *_activated(width, width, kernel=3, stride=stride),
            *_convolution(width, out_channels, kernel=1),
        )
        same = stride == 1 and in_channels == out_channels
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(*_convolution(in_channels, out_channels, kernel=1, stride=stride))
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, 4 × width, H / stride, W / stride)."""
        return self.relu(self.body(x) + self.shortcut(x))  # type: ignore[no-any-return]


class Inception(nn.Module):
    """Four views of different reach, one quarter of the channels each (arXiv 1512.00567, figure 5).

    1×1; 1×1 and 3×3; 1×1 and twice 3×3; the maximum of 3×3 and 1×1. All with batch norm.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*_activated(in_channels, width, kernel=1)) for _ in range(4)
        )
        for branch, wider in zip(self.branches, (0, 1, 2, 0), strict=True):
            assert isinstance(branch, nn.Sequential)
            for _ in range(wider):
                branch.extend(_activated(width, width, kernel=3))
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, 4 × width, H, W)."""
        *reaching, pooled = self.branches
        return torch.cat([*(branch(x) for branch in reaching), pooled(self.pool(x))], dim=1)


def _staged_body(
    stem: nn.Sequential, width: int, blocks: Sequence[int], *, mixed: bool
) -> nn.Sequential:
    """Return stem and stages, He-initialised (arXiv 1502.01852)."""
    body = nn.Sequential(OrderedDict(stem=stem))
    in_channels = width
    for stage, count in enumerate(blocks):
        layers: list[nn.Module] = []
        inner, out_channels = width << stage, (width << stage) * EXPANSION
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(Bottleneck(in_channels, inner, stride))
            if mixed:
                layers.append(Inception(out_channels, inner))
            in_channels = out_channels
        body.add_module(f"stage{stage + 1}", nn.Sequential(*layers))
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return body


def _stem(channels: int, width: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(*_activated(channels, width, kernel=3, stride=stride))


def _activated(
    in_channels: int, out_channels: int, *, kernel: int, stride: int = 1
) -> tuple[nn.Module, ...]:
    layers = _convolution(in_channels, out_channels, kernel=kernel, stride=stride)
    return (*layers, nn.ReLU(inplace=True))


def _convolution(
    in_channels: int, out_channels: int, *, kernel: int, stride: int = 1
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    convolution = nn.Conv2d(
        in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False
    )
    return convolution, nn.BatchNorm2d(out_channels)


def _hidden_layers(features: int, recipe: ModelRecipe) -> nn.Sequential:
    layers: list[nn.Module] = []
    dropouts = recipe.head_dropout or (0.0,) * len(recipe.head)
    for width, dropout in zip(recipe.head, dropouts, strict=True):
        layers.append(nn.Linear(features, width))
        if recipe.head_batch_norm:
            layers.append(nn.BatchNorm1d(width))
        layers += [nn.ReLU(inplace=True), nn.Dropout(dropout)]
        features = width
    return nn.Sequential(*layers)
