"""A body whose convolutions are listed one by one, none of them padded: S2's small network."""

from torch import nn

from leansight.sdk.recipes.model import ModelRecipe


def unpadded_body(channels: int, recipe: ModelRecipe) -> nn.Sequential:
    """Return convolutions with ReLU, each with its maximum pooling (1: none) as a stage.

    Glorot's normal weights. Nothing is padded, as Keras does it by default.
    """
    stages: list[nn.Module] = []
    in_channels = channels
    for filters, kernel, pool in zip(recipe.filters, recipe.kernels, recipe.pools, strict=True):
        convolution = nn.Conv2d(in_channels, filters, kernel)
        nn.init.xavier_normal_(convolution.weight)
        assert convolution.bias is not None
        nn.init.zeros_(convolution.bias)
        pooling = [nn.MaxPool2d(pool)] if pool > 1 else []
        stages.append(nn.Sequential(convolution, nn.ReLU(inplace=True), *pooling))
        in_channels = filters
    return nn.Sequential(*stages)
