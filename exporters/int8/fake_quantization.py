"""Fake quantization: the int8 network in torch, rounded as the files round.

How well an int8 network follows its float network is measured on it: `logit_error`. QAT trains it.

Weights are rounded per channel and symmetric, activations to 256 levels between two bounds that
can be learnt; the gradient passes through the rounding as if it were not there ("straight
through", Bengio et al., arXiv 1308.3432; bounds as in LSQ+, Bhalgat et al., arXiv 2004.09576).
"""

from collections.abc import Mapping
from operator import attrgetter

import torch
from torch import Tensor, fx, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from leansight.exporters.conversion.any_number import for_any_number
from leansight.exporters.conversion.inference import predict
from leansight.exporters.conversion.torch_graph import layers
from leansight.exporters.int8.ranges import STEPS, Range
from leansight.exporters.int8.write_tflite import LEVELS, SMALLEST_WIDTH
from leansight.exporters.tflite.shared_grids import SharedGrids
from leansight.runtime.preprocessing import Image


class Grid(nn.Module):
    """Rounds numbers to 256 levels between two bounds, zero among them; not where `exact`.

    Args:
        chosen: the bounds at first.
        width: of a grid that counts in steps of the same size: what one learns, both have.

    """

    def __init__(self, chosen: Range, width: nn.Parameter | None = None) -> None:
        super().__init__()
        self.exact = False
        self.width = nn.Parameter(torch.tensor(float(chosen.width))) if width is None else width
        self.zero = nn.Parameter(torch.tensor(float(chosen.zero)))

    @property
    def range(self) -> Range:
        """The bounds as they are now."""
        width, zero = max(self.width.item(), 0.0), min(max(self.zero.item(), 0.0), 1.0)
        return Range(low=-zero * width, high=(1 - zero) * width)

    @torch.no_grad()
    def set(self, chosen: Range) -> None:
        """Round between other bounds from now on."""
        self.width.fill_(chosen.width)
        self.zero.fill_(chosen.zero)

    def forward(self, x: Tensor) -> Tensor:
        """Map any shape to the nearest levels."""
        if self.exact:
            return x
        scale = self.width.clamp(min=SMALLEST_WIDTH) / STEPS
        zero = _rounded(STEPS * self.zero.clamp(0, 1))
        rounded: Tensor = _Rounding.apply(x, scale, zero)
        return rounded


class _Rounding(torch.autograd.Function):
    """Rounds to levels, and keeps for the gradient only what it is given.

    Written as operations of their own, each keeps a tensor as large as the activation: training
    ResNet-custom took 4 GB for that.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
        """Map any shape to the nearest of the levels, `scale` apart and `zero` the one of 0."""
        ctx.save_for_backward(x, scale, zero)
        return (x / scale).round_().add_(zero).clamp_(0, STEPS).sub_(zero).mul_(scale)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Let the gradient through between the bounds; both move with what lies beyond them."""
        (gradient,), (x, scale, zero) = gradients, attrgetter("saved_tensors")(ctx)
        steps = x / scale
        levels = steps.round().add_(zero)
        inside = gradient * ((levels >= 0) & (levels <= STEPS))
        error = (gradient * levels.clamp_(0, STEPS).sub_(zero)).sum() - (inside * steps).sum()
        return inside, error, scale * (inside.sum() - gradient.sum())


class FakeQuantizedNetwork(nn.Module):
    """What the int8 files compute, in floating point; takes (N, C, S, S), gives logits (N, K).

    Its parameters are the network's folded weights and biases, and the grids' bounds.

    Args:
        folded: the network from `leansight.exporters.conversion.folding.fold`; left as it is.
        grids: of the same network as float TFLite.
        partners: the TFLite activation of each node, from `pair_nodes`.
        ranges: of every TFLite activation.

    """

    def __init__(
        self,
        folded: fx.GraphModule,
        grids: SharedGrids,
        partners: Mapping[str, str],
        ranges: Mapping[str, Range],
    ) -> None:
        super().__init__()
        self._ranges = dict(ranges)
        self._grid_of = grids.grid
        names = dict.fromkeys(self._grid_of[partner] for partner in partners.values())
        names.pop(grids.input, None)  # pixels are whole numbers already
        widths: dict[str, nn.Parameter] = {}
        self._grids: dict[str, Grid] = {}
        for name in names:
            self._grids[name] = Grid(ranges[name], widths.get(grids.scale[name]))
            widths[grids.scale[name]] = self._grids[name].width
        self.network = for_any_number(folded)
        _let_learn(self.network)
        keys = {name: f"grid_{index}" for index, name in enumerate(self._grids)}
        for name, grid in self._grids.items():
            self.network.add_submodule(keys[name], grid)
        for node in list(self.network.graph.nodes):
            grid_name = self._grid_of.get(partners.get(node.name, ""), "")
            if grid_name in keys:
                _insert(self.network, node, keys[grid_name])
        self.network.recompile()

    def forward(self, x: Tensor) -> Tensor:
        """Map network inputs (N, C, S, S) to logits (N, K)."""
        logits: Tensor = self.network(x)
        return logits

    @property
    def grids(self) -> Mapping[str, Grid]:
        """The grids by name, in the order of the graph."""
        return self._grids

    @property
    def ranges(self) -> Mapping[str, Range]:
        """The range of every TFLite activation as it is now."""
        known = {n: self._grids[g].range for n, g in self._grid_of.items() if g in self._grids}
        return {**self._ranges, **known}

    @torch.no_grad()
    def write_weights(self, folded: fx.GraphModule) -> None:
        """Give a graph like the one that this was made from the weights as they are now."""
        own = dict(self.network.named_parameters())
        for name, value in [*folded.named_parameters(), *folded.named_buffers()]:
            if name in own:
                value.copy_(own[name])


def round_weights(weights: Tensor) -> Tensor:
    """Round weights (out, ...) to symmetric int8 with one scale a channel."""
    largest = weights.detach().abs().flatten(1).amax(1).clamp(min=SMALLEST_WIDTH)
    scale = (largest / LEVELS).reshape(-1, *(1,) * (weights.ndim - 1))
    return _rounded(weights / scale) * scale


def _rounded(x: Tensor) -> Tensor:
    """Round; the gradient passes as it is."""
    return x + (x.round() - x).detach()


def _let_learn(module: fx.GraphModule) -> None:
    """Make parameters of what the layers are given, and round the weights before their use."""
    for node in list(layers(module)):
        weight, *bias = (a for a in node.args[1:3] if isinstance(a, fx.Node))
        for constant in (weight, *bias):
            owner, _, name = str(constant.target).rpartition(".")
            holder = module.get_submodule(owner)
            value = getattr(holder, name)
            if not isinstance(value, nn.Parameter):
                delattr(holder, name)
                holder.register_parameter(name, nn.Parameter(value.detach().clone()))
        with module.graph.inserting_before(node):
            rounded = module.graph.call_function(round_weights, (weight,))
        node.update_arg(1, rounded)
    for parameter in module.parameters():
        parameter.requires_grad_()


def _insert(module: fx.GraphModule, node: fx.Node, grid: str) -> None:
    """Round what a node gives before anything reads it."""
    with module.graph.inserting_after(node):
        rounded = module.graph.call_module(grid, (node,))
    node.replace_all_uses_with(rounded, delete_user_cb=lambda user: user is not rounded)


def logit_error(network: nn.Module, pixels: Image, expected: Tensor) -> float:
    """Return the mean squared difference of logits from `expected` (N, K), for (N, S, S, C)."""
    return float(functional.mse_loss(torch.from_numpy(predict(network, pixels)), expected))
