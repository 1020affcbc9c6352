"""The network that a recipe names, fresh or with the weights of a run."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from leansight.runtime.errors import DataError
from leansight.sdk.models.backbones import TimmBody
from leansight.sdk.models.ensemble import SideBySide
from leansight.sdk.models.networks import (
    EXPANSION,
    TrainableNetwork,
    mixed_body,
    residual_body,
)
from leansight.sdk.models.plain_cnn import plain_body
from leansight.sdk.models.unpadded_cnn import unpadded_body
from leansight.sdk.recipes.model import ModelRecipe

Size = int | tuple[int, int] | None


def build_network(
    recipe: ModelRecipe, *, classes: int, channels: int, size: Size = None
) -> "TrainableNetwork":
    """Return the network that a recipe names, with fresh weights; nothing is downloaded.

    `size`: of its pictures in pixels, the side of a square or (height, width), for a recipe that
    flattens.

    Raises:
        DataError: the recipe flattens, and pictures of that size leave no features.

    """
    body: nn.Module
    features = recipe.stage_widths[-1]
    match recipe.name:
        case "resnet-custom":
            body = residual_body(channels, recipe.width, recipe.blocks)
            features *= EXPANSION
        case "plain-cnn" | "masks-cnn":
            body = plain_body(channels, recipe)
        case "mixed-blocks":
            body = mixed_body(channels, recipe.width, recipe.blocks)
            features *= EXPANSION
        case "unpadded-cnn":
            body = unpadded_body(channels, recipe)
            features = recipe.filters[-1]
        case "ensemble":
            body = SideBySide([TimmBody(name, channels) for name in recipe.bodies])
            features = body.features
        case name:
            body = TimmBody(name, channels)
            features = body.features
    sides = _sides_of_features(body, recipe, channels, size) if recipe.flatten else (0, 0)
    return TrainableNetwork(body, recipe, features=features, classes=classes, sides=sides)


def load_network(
    file: Path, recipe: ModelRecipe, *, classes: int, channels: int, size: Size = None
) -> "TrainableNetwork":
    """Return the network that a recipe names with the weights of a file, pruned ones as well.

    `size` as in `build_network`.

    Raises:
        DataError: the file is damaged, or of another network.

    """
    network = build_network(recipe, classes=classes, channels=channels, size=size)
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


def _sides_of_features(
    body: nn.Module, recipe: ModelRecipe, channels: int, size: Size
) -> tuple[int, int]:
    if size is None:
        raise ValueError("a head that flattens needs the size of the pictures: give size")
    height, width = (size, size) if isinstance(size, int) else size
    try:
        with torch.inference_mode():
            features: Tensor = body.eval()(torch.zeros(1, channels, height, width))
    except RuntimeError as error:
        raise DataError(
            f"pictures of {height}×{width} pixels are too small for {recipe.name}: "
            "raise preprocessing.size"
        ) from error
    body.train()
    return features.shape[-2], features.shape[-1]


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
