"""Cross-layer equalisation: channels between two layers share out their range evenly."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from leansight.exporters.conversion.any_number import for_any_number
from leansight.exporters.conversion.inference import batches
from leansight.exporters.conversion.torch_graph import (
    EQUIVARIANT,
    layer_constants,
    layers,
    upper_bound,
    watch,
)
from leansight.runtime.preprocessing import Image

CountProgress = Callable[[int, int], None]


@torch.no_grad()
def equalise(folded: fx.GraphModule, pixels: Image) -> int:
    """Let channels between two layers use the same part of their range; return how many pairs.

    What a layer gives is divided by a factor for each channel, and the next layer's weights are
    multiplied by it, where only ReLU, ReLU6 and maxima lie between: in float nothing changes. With
    one scale a tensor a channel of small values has few levels. As Nagel et al. (arXiv 1906.04721,
    section 4.1), but with the range of the activations: the first layer's own weights have a
    scale for each channel and lose nothing. And ReLU6 stays: a channel grows until it reaches the
    bound at most, and one that has reached it keeps its size.
    """
    largest: dict[str, Tensor] = {}
    pairs = _pairs(folded)
    between = {pair.between for pair in pairs}

    def record(name: str, values: Tensor) -> None:
        if name in between:
            found = values.abs().transpose(0, 1).flatten(1).amax(1)
            largest[name] = torch.maximum(largest.get(name, found), found)

    free = for_any_number(folded)
    for _, batch in batches(pixels):
        watch(free, batch, record)
    for pair in pairs:
        weight, bias = layer_constants(folded, pair.first)
        after, _ = layer_constants(folded, pair.second)
        assert weight is not None
        assert after is not None
        depthwise = after.shape[1] == 1 and len(after) == len(weight)
        reach = (after if depthwise else after.transpose(0, 1)).abs().flatten(1).amax(1)
        factor = _factors(largest[pair.between], reach, pair.bound)
        weight /= factor.reshape(-1, *(1,) * (weight.ndim - 1))
        if bias is not None:
            bias /= factor
        side = (-1, 1) if depthwise else (1, -1)
        after *= factor.reshape(*side, *(1,) * (after.ndim - 2))
    return len(pairs)


def _factors(largest: Tensor, reach: Tensor, bound: float) -> Tensor:
    """Return what to divide channels by: 1 at most, so that none exceeds the bound.

    Channels of (C,) largest values are followed by (C,) largest weights.
    """
    usable = (largest > 0) & (reach > 0)
    if not usable.any():
        return torch.ones_like(largest)
    factor = (largest / reach).sqrt()
    return torch.where(usable, torch.maximum(factor / factor[usable].max(), largest / bound), 1.0)


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """Two layers, the name of what the second takes, and what that cannot exceed."""

    first: fx.Node
    second: fx.Node
    between: str
    bound: float


def _pairs(folded: fx.GraphModule) -> list[_Pair]:
    """Return the layers between which only what keeps a channel's factor lies, up to a bound."""
    found = []
    weighted, shared = set(layers(folded)), _used_twice(folded)
    for first in layers(folded):
        node, bound = first, math.inf
        while len(node.users) == 1 and (
            (after := next(iter(node.users))).target in EQUIVARIANT or upper_bound(after)
        ):
            node, bound = after, min(bound, upper_bound(after) or math.inf)
        second = next(iter(node.users))
        if len(node.users) != 1 or second not in weighted or second.args[0] is not node:
            continue
        (weight, _), (after_weight, _) = (layer_constants(folded, n) for n in (first, second))
        assert weight is not None
        assert after_weight is not None
        whole = after_weight.shape[1] == len(weight)
        depthwise = after_weight.shape[1] == 1 and len(after_weight) == len(weight)
        if (whole or depthwise) and not {first, second} & shared:
            found.append(_Pair(first=first, second=second, between=node.name, bound=bound))
    return found


def _used_twice(folded: fx.GraphModule) -> set[fx.Node]:
    """Return the layers whose weights another layer uses as well."""
    users: dict[str, list[fx.Node]] = {}
    for node in layers(folded):
        users.setdefault(str(node.args[1]), []).append(node)
    return {node for nodes in users.values() if len(nodes) > 1 for node in nodes}
