"""A body of 3×3 convolutions with ReLU: what int8 kernels compute fastest."""

from torch import Tensor, nn

from leansight.sdk.recipes.model import Block, ModelRecipe


def plain_body(channels: int, recipe: ModelRecipe) -> nn.Sequential:
    """Return stages of the recipe's blocks, with Glorot's normal weights.

    The first block is always one convolution. With "max-pool", each stage ends in the maximum of
    2×2; with "stride", each after the first begins with a stride of 2.
    """
    pooled = recipe.downsampling == "max-pool"
    stages: list[nn.Module] = []
    in_channels = channels
    for count, out_channels in zip(recipe.blocks, recipe.stage_widths, strict=True):
        layers: list[nn.Module] = []
        for block in range(count):
            kind, stride = recipe.block, 2 if stages and block == 0 and not pooled else 1
            if not stages and block == 0:
                kind, stride = "plain", recipe.stem_stride
            norm = recipe.body_batch_norm
            layers += _block(kind, in_channels, out_channels, stride=stride, norm=norm)
            in_channels = out_channels
        stages.append(nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pooled else [])))
    body = nn.Sequential(*stages)
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return body


class Residual(nn.Module):
    """Two 3×3 convolutions around a shortcut (He et al., arXiv 1512.03385, figure 5, left).

    The stride is in the first; where the shape changes, the shortcut is a 1×1 convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, *, norm: bool) -> None:
        super().__init__()
        first = _convolution(in_channels, out_channels, stride=stride, norm=norm)
        second = _convolution(out_channels, out_channels, norm=norm)
        self.body = nn.Sequential(*first, nn.ReLU(inplace=True), *second)
        same = stride == 1 and in_channels == out_channels
        shortcut = _convolution(in_channels, out_channels, kernel=1, stride=stride, norm=norm)
        self.shortcut = nn.Identity() if same else nn.Sequential(*shortcut)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H / stride, W / stride)."""
        features: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return features


def _block(
    kind: Block, in_channels: int, out_channels: int, *, stride: int, norm: bool
) -> list[nn.Module]:
    if kind == "residual":
        return [Residual(in_channels, out_channels, stride, norm=norm)]
    convolution = _convolution(in_channels, out_channels, stride=stride, norm=norm)
    return [*convolution, nn.ReLU(inplace=True)]


def _convolution(
    in_channels: int, out_channels: int, *, kernel: int = 3, stride: int = 1, norm: bool
) -> list[nn.Module]:
    padding = kernel // 2
    convolution = nn.Conv2d(
        in_channels, out_channels, kernel, stride=stride, padding=padding, bias=not norm
    )
    return [convolution, *([nn.BatchNorm2d(out_channels)] if norm else [])]
