"""The networks that recipes name. Every one takes (N, C, S, S) float32 pixels in [-1, 1).

All are one `TrainableNetwork`: a body, the mean of its features over the picture or all of them,
and a head of dense layers. Bodies of our own are here, in `plain_cnn` and in `unpadded_cnn`, timm's
in `backbones`.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from leansight.runtime.preprocessing import PIXEL_SCALE, PIXEL_ZERO
from leansight.sdk.models.backbones import TimmBody
from leansight.sdk.models.ensemble import SideBySide
from leansight.sdk.recipes.model import ModelRecipe

EXPANSION = 4  # output channels of a block over its inner width (He et al., 2015)


def network_input(pixels: Tensor) -> Tensor:
    """Turn uint8 pixels into what every network takes: float32 in [-1, 1), same shape."""
    return (pixels.float() - PIXEL_ZERO) * PIXEL_SCALE


class TrainableNetwork(nn.Module):
    """A body, the mean over the picture, and dense layers as the recipe's `head` has them.

    Where the recipe flattens, the first hidden layer reads the features of every position instead
    of their mean: a convolution as large as they are, which is the same and needs no
    transposition in a TFLite graph.

    Dropout, then for each hidden layer batch norm where the recipe says so, ReLU and its own
    dropout, then the output. Dense layers begin with Glorot's normal weights (Glorot & Bengio,
    2010) and no bias. Batch norms whose weights are frozen keep the statistics that they have.

    Args:
        body: maps pixels to features (N, C, h, w).
        recipe: its dropout and head.
        features: C.
        classes: outputs.
        sides: (h, w), for a recipe that flattens.

    """

    def __init__(
        self,
        body: nn.Module,
        recipe: ModelRecipe,
        *,
        features: int,
        classes: int,
        sides: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        self.body = body
        # Bodies that end in one number a channel need no mean, nor its node in the exported graph.
        pooled = isinstance(body, SideBySide | TimmBody) and body.pooled
        mean: nn.Module = nn.Identity() if pooled else nn.AdaptiveAvgPool2d(1)
        self.pool = nn.Identity() if recipe.flatten else nn.Sequential(mean, nn.Flatten())
        self.dropout = nn.Dropout(recipe.dropout)
        self.hidden = _hidden_layers(features, recipe, sides)
        self.head = nn.Linear(recipe.head[-1] if recipe.head else features, classes)
        for layer in (*self.hidden, self.head):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                # A dense layer's fans: those of a convolution count each position as an output.
                nn.init.xavier_normal_(layer.weight.detach().flatten(1))
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map pixels (N, channels, H, W) to logits (N, classes)."""
        features = self.pool(self.body(x))
        logits: Tensor = self.head(self.hidden(self.dropout(features)))
        return logits

    def train(self, mode: bool = True) -> "TrainableNetwork":  # noqa: FBT001, FBT002 -- torch's own
        """Switch to training, except the batch norms that do not learn."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.train(mode and module.weight.requires_grad)
        return self


class ResNetCustom(TrainableNetwork):
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
        features: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return features


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


def _hidden_layers(features: int, recipe: ModelRecipe, sides: tuple[int, int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    dropouts = recipe.head_dropout or (0.0,) * len(recipe.head)
    flat = not recipe.flatten
    for width, dropout in zip(recipe.head, dropouts, strict=True):
        layers.append(nn.Linear(features, width) if flat else nn.Conv2d(features, width, sides))
        if recipe.head_batch_norm:
            layers.append(nn.BatchNorm1d(width) if flat else nn.BatchNorm2d(width))
        layers += [nn.ReLU(inplace=True), nn.Dropout(dropout), *([] if flat else [nn.Flatten()])]
        features, flat = width, True
    return nn.Sequential(*layers)
