"""Layers in groups from the input to the head: frozen, or with learning rates of their own."""

from collections import defaultdict
from typing import Any

from torch import nn

from leansight.sdk.models.backbones import TimmBody, has_weights
from leansight.sdk.models.ensemble import SideBySide

# Which part learns, and how fast


def layer_groups(network: nn.Module) -> list[nn.ModuleList]:
    """Return the network's layers in groups, from input to output; the last is the head.

    A group of the body is what works at one resolution of the picture: five with timm's, and
    of our own networks the stem and each stage. Bodies side by side are counted from their ends.
    A network that has no `body` is one group.
    """
    children = dict(network.named_children())
    body = children.pop("body", None)
    if body is None:
        return [nn.ModuleList([network])]
    return [*_body_groups(body), nn.ModuleList(children.values())]


def freeze(network: nn.Module, trainable_layers: int) -> None:
    """Let the head and the last `trainable_layers` of the body learn (-1: everything, 0: the head).

    A layer is a convolution with the batch norm that follows it: the last one of ResNet-50 has
    1.05 M weights, and is what the last four layers are in Keras (convolution, batch norm,
    addition, ReLU). Of bodies side by side, the last layers of each. Frozen batch norms keep
    their statistics once `train` is called.
    """
    for body in _bodies(network):
        layers = _layers(body)
        for number, layer in enumerate(reversed(layers)):
            learns = trainable_layers < 0 or number < trainable_layers
            layer.requires_grad_(learns)


def parameter_groups(
    network: nn.Module, *, learning_rate: float, layer_decay: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Return what torch's optimisers take: parameters with their rate and weight decay.

    The head learns at `learning_rate`, each group of the body `layer_decay` times as fast as the
    one above it. Biases and batch norms do not decay. Frozen parameters are included, so that they
    may be unfrozen later; without a gradient, optimisers leave them alone.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for depth, group in enumerate(reversed(layer_groups(network))):
        rate = learning_rate * layer_decay**depth
        for parameter in group.parameters():
            groups[rate, weight_decay if parameter.ndim > 1 else 0.0].append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def _body_groups(body: nn.Module) -> list[nn.ModuleList]:
    if isinstance(body, TimmBody):
        return body.groups()
    if not isinstance(body, SideBySide):
        return [nn.ModuleList([child]) for child in body.children()]
    each = [_body_groups(one) for one in body.bodies]
    return [
        nn.ModuleList(
            module for groups in each if depth <= len(groups) for module in groups[-depth]
        )
        for depth in range(max(map(len, each)), 0, -1)
    ]


def _bodies(network: nn.Module) -> list[nn.Module]:
    body = dict(network.named_children()).get("body")
    if isinstance(body, SideBySide):
        return list(body.bodies)
    return [] if body is None else [body]


def _layers(body: nn.Module) -> list[nn.ModuleList]:
    """Return each convolution with the batch norms that follow it, from input to output."""
    layers: list[nn.ModuleList] = []
    for module in filter(has_weights, body.modules()):
        if not layers or next(module.parameters(recurse=False)).ndim > 1:
            layers.append(nn.ModuleList())
        layers[-1].append(module)
    return layers
