"""The networks that recipes name. Every one takes (N, C, S, S) float32 pixels in [-1, 1)."""

from collections.abc import Sequence

from torch import Tensor, nn

from leansight.runtime.preprocessing import PIXEL_SCALE, PIXEL_ZERO
from leansight.sdk.recipe import ModelRecipe

EXPANSION = 4  # output channels of a bottleneck over its inner width (He et al., 2015)


def build_network(recipe: ModelRecipe, *, classes: int, channels: int) -> nn.Module:
    """Return the network that a recipe names, with fresh weights."""
    match recipe.name:
        case "resnet-custom":
            return ResNetCustom(
                classes=classes,
                channels=channels,
                width=recipe.width,
                blocks=recipe.blocks,
                dropout=recipe.dropout,
            )


def network_input(pixels: Tensor) -> Tensor:
    """Turn uint8 pixels into what every network takes: float32 in [-1, 1), same shape."""
    return (pixels.float() - PIXEL_ZERO) * PIXEL_SCALE


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 convolutions around a shortcut (He et al., arXiv 1512.03385, figure 5).

    The stride is in the 3×3 convolution, as in torchvision's ResNet.
    """

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = width * EXPANSION
        self.body = nn.Sequential(
            *_convolution(in_channels, width, kernel=1),
            nn.ReLU(inplace=True),
            *_convolution(width, width, kernel=3, stride=stride),
            nn.ReLU(inplace=True),
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


class ResNetCustom(nn.Module):
    """System S1's small network: ResNet-50's design for small pictures.

    A 3×3 stem of stride 1 with `width` filters and no pooling, one stage per entry of `blocks`
    (each after the first halves the picture and doubles the width), the global mean, dropout
    and one dense layer. With 16 filters, 3 + 4 + 6 blocks and one 64×64 channel: 541 K
    convolution and dense parameters for 21 classes, 258.5 M multiply-accumulates.
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
        super().__init__()
        stages: list[nn.Module] = []
        in_channels = width
        for stage, count in enumerate(blocks):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(Bottleneck(in_channels, width << stage, stride))
                in_channels = (width << stage) * EXPANSION
        self.stem = nn.Sequential(*_convolution(channels, width, kernel=3), nn.ReLU(inplace=True))
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(in_channels, classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map pixels (N, channels, S, S) to logits (N, classes)."""
        features = self.pool(self.stages(self.stem(x))).flatten(1)
        return self.head(self.dropout(features))  # type: ignore[no-any-return]


def _convolution(
    in_channels: int, out_channels: int, *, kernel: int, stride: int = 1
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    convolution = nn.Conv2d(
        in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False
    )
    return convolution, nn.BatchNorm2d(out_channels)


def _initialise(network: nn.Module) -> None:
    """He initialisation (arXiv 1502.01852)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
