"""Structured pruning: whole channels are removed, with all that reads or computes them.

Which layers share channels is found by torch-pruning (Fang et al., arXiv 2301.12900); which go,
and how many, is decided here: score the channels, choose how many of each group are kept, prune.
"""

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import torch
import torch_pruning as tp
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from leansight.exporters.errors import PruningError

Importance = Literal["magnitude", "bn-scale", "taylor"]
"""By what a channel's worth is measured, see `score_channels`."""
# A network's mean loss on real images, as scalars to be added up: one for each batch, so that
# only one batch's gradients are in memory at a time.
Loss = Callable[[nn.Module], Iterator[Tensor]]
ROUND_TO: Final = 8  # channels: int8 kernels compute so many at once


@dataclass(frozen=True, kw_only=True)
class ChannelGroup:
    """Channels that several layers share, so that they can only go together.

    `name` is that of the first layer that makes them. They go `step` at a time, one of each group
    of a grouped convolution: `scores` (channels / step,) say how important each of these is.
    """

    name: str
    step: int
    scores: NDArray[np.float64]

    @property
    def channels(self) -> int:
        """How many there are."""
        return self.step * len(self.scores)

    def rounded(self, wanted: float) -> int:
        """Return the nearest number of channels that can be kept: full int8 kernels, never none.

        A grouped convolution keeps two a group: with one it would be of another kind.
        """
        unit = int(np.lcm(ROUND_TO, self.step))
        least = unit if self.step == 1 else 2 * unit
        return min(max(round(wanted / unit) * unit, least), self.channels)


def score_channels(
    network: nn.Module,
    example: Tensor,
    *,
    outputs: Collection[str],
    importance: Importance,
    loss: Loss | None = None,
) -> list[ChannelGroup]:
    """Return the groups of channels that can go, with what each channel is worth.

    Args:
        network: takes inputs like `example`; left as it is.
        example: (1, C, S, S) float32.
        outputs: names of the layers whose channels are the network's outputs, and stay.
        importance: "magnitude" of the weights (L2), "bn-scale": of the batch norms' factors, or
            "taylor": |weight × gradient| (Molchanov et al., CVPR 2019).
        loss: what "taylor" takes the gradient of.

    Raises:
        PruningError: the importance cannot be had of this network.

    """
    scored = copy.deepcopy(network).requires_grad_().eval()
    score: Callable[[Any], Tensor | None]
    match importance:
        case "magnitude":
            score = tp.importance.GroupMagnitudeImportance(p=2)
        case "bn-scale":
            score = tp.importance.BNScaleImportance()
        case "taylor":
            if loss is None:
                raise ValueError("the importance taylor needs a loss")
            for part in loss(scored):
                torch.autograd.backward(part)
            score = tp.importance.GroupTaylorImportance()
    groups = []
    graph = _graph(scored, example)
    for name, group in _find_groups(graph, scored, outputs):
        scores = score(group)
        if scores is None:
            raise PruningError(f"{name} has no batch norm: choose another importance")
        step = _step(group)
        each = scores.detach().double().reshape(step, -1).mean(dim=0).numpy()
        groups.append(ChannelGroup(name=name, step=step, scores=each))
    return groups


def prune(
    network: nn.Module,
    example: Tensor,
    groups: Sequence[ChannelGroup],
    channels: Mapping[str, int],
    *,
    outputs: Collection[str],
) -> nn.Module:
    """Return a copy of the network that keeps the best `channels` of each group, by its name."""
    pruned = copy.deepcopy(network).requires_grad_().eval()
    by_name = {group.name: group for group in groups}
    graph = _graph(pruned, example)
    for name, found in list(_find_groups(graph, pruned, outputs)):
        group = by_name[name]
        goes = len(group.scores) - channels.get(name, group.channels) // group.step
        lowest = np.argsort(group.scores, kind="stable")[:goes]
        if not len(lowest):
            continue
        indices = np.add.outer(np.arange(group.step) * len(group.scores), lowest).ravel()
        root = found[0].dep
        graph.get_pruning_group(root.target.module, root.handler, sorted(indices.tolist())).prune()
    for before, after in zip(network.parameters(), pruned.parameters(), strict=True):
        after.requires_grad_(before.requires_grad)
    return pruned.train(network.training)


def count_macs(network: nn.Module, example: Tensor) -> int:
    """Return the multiply-accumulates of the convolutions and dense layers for one input."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(example)
    return int(counter.get_total_flops()) // 2


@torch.enable_grad()
def _graph(network: nn.Module, example: Tensor) -> tp.DependencyGraph:
    """Return torch-pruning's graph, which it reads from that of the gradients."""
    return tp.DependencyGraph().build_dependency(network, example)


def _find_groups(
    graph: tp.DependencyGraph, network: nn.Module, outputs: Collection[str]
) -> Iterator[tuple[str, Any]]:
    """Yield each group of torch-pruning with the name of its first layer."""
    names = {module: name for name, module in network.named_modules()}
    kept = [network.get_submodule(name) for name in outputs]
    for group in graph.get_all_groups(
        ignored_layers=kept, root_module_types=[nn.Conv2d, nn.Linear]
    ):
        yield names[group[0].dep.target.module], group


def _step(group: Any) -> int:
    """Return how many alike groups of channels the group's grouped convolutions have."""
    layers = (item.dep.target.module for item in group)
    return max(
        (m.groups for m in layers if isinstance(m, nn.Conv2d) and m.groups < m.out_channels),
        default=1,
    )
