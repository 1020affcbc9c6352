"""What makes an int8 network follow its float network better, each kept only where it does.

All of it is measured on the simulation of both files
(`leansight.exporters.int8.fake_quantization`): the mean squared difference of the logits from the
float network's, on images of training.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from leansight.exporters.conversion.convert import batches, predict
from leansight.exporters.conversion.torch_graph import (
    EQUIVARIANT,
    for_any_number,
    layer_constants,
    layers,
    upper_bound,
    watch,
)
from leansight.exporters.int8.calibration import Histogram
from leansight.exporters.int8.fake_quantization import Simulation
from leansight.runtime.preprocessing import Image

Progress = Callable[[int, int], None]

BATCH: Final = 32
WEIGHT_RATE: Final = 3e-5  # of Adam, at its peak: what was learnt is not to be forgotten
BOUND_RATE: Final = 1e-3  # the same, as a part of each grid's range


def logit_error(network: nn.Module, pixels: Image, expected: Tensor) -> float:
    """Return the mean squared difference of logits from `expected` (N, K), for (N, S, S, C)."""
    return float(functional.mse_loss(torch.from_numpy(predict(network, pixels)), expected))


def choose_ranges(
    simulation: Simulation,
    histograms: Mapping[str, Histogram],
    pixels: Image,
    expected: Tensor,
    progress: Progress = lambda *_: None,
) -> float:
    """Give each grid the bounds that bring the logits nearest; return the error that is left.

    One grid after the other, in the order of the graph: its range as it is, narrower ones without
    the outermost values, and the one of least squared rounding error (`Histogram.candidates`).
    """
    least = logit_error(simulation, pixels, expected)
    for done, (name, grid) in enumerate(simulation.grids.items(), start=1):
        best = grid.range
        for candidate in histograms[name].candidates() if name in histograms else ():
            grid.set(candidate)
            error = logit_error(simulation, pixels, expected)
            if error < least:
                least, best = error, candidate
        grid.set(best)
        progress(done, len(simulation.grids))
    return least


@torch.no_grad()
def correct_biases(simulation: Simulation, folded: fx.GraphModule, pixels: Image) -> None:
    """Let each channel of each layer give on average what it gives in float.

    Rounded weights shift the mean of what they are multiplied with (Nagel et al., arXiv
    1906.04721, section 4.2). One pass: each layer is corrected before the next one is run.
    """
    ((_, images),) = [(n, batch) for n, batch in batches(pixels, len(pixels))]
    wanted: dict[str, Tensor] = {}
    names = {node.name for node in layers(folded)}

    def seen(name: str, values: Tensor) -> None:
        if name in names:
            wanted[name] = _channel_means(values)

    watch(for_any_number(folded), images, seen)

    class Corrected(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Tensor:
            result: Tensor = super().run_node(n)
            _, bias = layer_constants(self.module, n) if n.name in wanted else (None, None)
            if bias is not None:
                missing = wanted[n.name] - _channel_means(result)
                bias += missing
                result = result + missing.reshape(-1, *(1,) * (result.ndim - 2))
            return result

    Corrected(simulation.network).run(images)


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

    def seen(name: str, values: Tensor) -> None:
        if name in between:
            found = values.abs().transpose(0, 1).flatten(1).amax(1)
            largest[name] = torch.maximum(largest.get(name, found), found)

    free = for_any_number(folded)
    for _, batch in batches(pixels):
        watch(free, batch, seen)
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


def learn(
    simulation: Simulation,
    exact: nn.Module,
    pixels: Image,
    *,
    epochs: int,
    seed: int = 0,
    progress: Progress = lambda *_: None,
) -> None:
    """Train weights, biases and bounds under rounding, until the logits are the float network's.

    Quantization-aware training (Jacob et al., arXiv 1712.05877) with folded batch norms and the
    float network as teacher, logit by logit (Ba & Caruana, arXiv 1312.6184): it needs no labels.

    Args:
        simulation: learns in place.
        exact: the float network.
        pixels: images of training (N, S, S, C) uint8.
        epochs: how often each image is shown.
        seed: of the images' order.
        progress: told how many of how many batches are done.

    """
    teacher = torch.from_numpy(predict(exact, pixels))
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(_groups(simulation))
    steps = max(1, len(pixels) // BATCH)
    rates = [group["lr"] for group in optimiser.param_groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rates, total_steps=max(4, epochs * steps), pct_start=0.3
    )
    for epoch in range(epochs):
        order = torch.randperm(len(pixels), generator=generator)
        for step in range(steps):
            chosen = order[step * BATCH : (step + 1) * BATCH]
            ((_, images),) = batches(pixels[chosen.numpy()], BATCH)
            optimiser.zero_grad()
            loss = functional.mse_loss(simulation(images), teacher[chosen])
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
            progress(epoch * steps + step + 1, epochs * steps)


def _groups(simulation: Simulation) -> list[dict[str, object]]:
    """Return the parameters with their rates: a grid's bounds move in parts of its range."""
    grids = simulation.grids.values()
    zeros, widths = [grid.zero for grid in grids], dict.fromkeys(grid.width for grid in grids)
    bounds = {*zeros, *widths}
    return [
        {"params": [p for p in simulation.parameters() if p not in bounds], "lr": WEIGHT_RATE},
        {"params": zeros, "lr": BOUND_RATE},
        *({"params": [w], "lr": max(BOUND_RATE * w.item(), 1e-12)} for w in widths),
    ]


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


def _channel_means(values: Tensor) -> Tensor:
    """Return the mean of each channel of (N, C, ...)."""
    return values.transpose(0, 1).flatten(1).mean(1)
