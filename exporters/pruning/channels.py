"""Structured pruning: whole channels are taken out, and with them all that they were for.

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
# A network's mean loss on real images, as scalars to be added up: one for each batch, so that
# only one batch's gradients are in memory at a time.
Loss = Callable[[nn.Module], Iterator[Tensor]]

ROUND_TO: Final = 8  # channels: int8 kernels compute so many at once
# Kept of each group, one group at a time, to see how the loss rises.
SHARES_KEPT: Final = (0.75, 0.5, 0.375, 0.25, 0.125)


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
                part.backward()  # type: ignore[no-untyped-call]
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


def spread_evenly(groups: Sequence[ChannelGroup], share: float) -> dict[str, int]:
    """Return how many channels of each group stay if `share` (0 to 1) of each goes."""
    return {group.name: group.rounded((1 - share) * group.channels) for group in groups}


def spread_globally(groups: Sequence[ChannelGroup], share: float) -> dict[str, int]:
    """Return how many channels of each group stay if `share` (0 to 1) of all goes.

    The least important go, wherever they are; each is compared with the mean of its group.
    """
    worth = [group.scores / max(group.scores.mean(), 1e-30) for group in groups]
    steps = [np.full(len(scores), group.step) for group, scores in zip(groups, worth, strict=True)]
    order = np.argsort(np.concatenate(worth), kind="stable")
    counted = np.cumsum(np.concatenate(steps)[order])
    limit = int(np.searchsorted(counted, share * counted[-1], side="right"))
    stay = np.ones(len(order), bool)
    stay[order[:limit]] = False
    kept, first = {}, 0
    for group in groups:
        last = first + len(group.scores)
        kept[group.name] = group.rounded(int(stay[first:last].sum()) * group.step)
        first = last
    return kept


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


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What one group alone costs: with so many of its `channels` left the loss has this `rise`."""

    name: str
    channels: int
    rise: float


def measure_sensitivity(
    network: nn.Module,
    example: Tensor,
    groups: Sequence[ChannelGroup],
    *,
    outputs: Collection[str],
    loss: Loss,
    progress: Callable[[int, int], None],
) -> list[Cut]:
    """Return how the loss rises where one group alone is cut, by ever more.

    A group's rises are made to grow with what is cut: to lose more is never said to cost less.
    """
    tried = [
        (group.name, kept)
        for group in groups
        for kept in dict.fromkeys(group.rounded(share * group.channels) for share in SHARES_KEPT)
        if kept < group.channels
    ]
    cuts: list[Cut] = []
    whole = _value(loss, network)
    for done, (name, kept) in enumerate(tried, start=1):
        cut = prune(network, example, groups, {name: kept}, outputs=outputs)
        rise = _value(loss, cut) - whole
        if cuts and cuts[-1].name == name:
            rise = max(rise, cuts[-1].rise)
        cuts.append(Cut(name=name, channels=kept, rise=rise))
        progress(done, len(tried))
    return cuts


def search(
    cuts: Sequence[Cut],
    cost: Callable[[Mapping[str, int]], float],
    target: float,
    *,
    say: Callable[[float], str] = "{:g}".format,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, int]:
    """Return the channels to keep that hurt least of those that cost no more than `target`.

    Every group is cut as deep as it can be without a larger rise of its own than a limit; the
    lowest limit that is cheap enough is found by halving. `say` writes a cost with its unit;
    `progress` is told how often `cost` was asked, and the most that it may take in all.

    Raises:
        PruningError: the deepest cuts still cost more.

    """
    limits = sorted({cut.rise for cut in cuts})
    low, high, tried = 0, len(limits) - 1, 0
    progress(0, 1 + max(high, 0).bit_length())
    if not limits or (least := cost(_cut_to(cuts, limits[high]))) > target:
        reached = f": the deepest cuts leave {say(least)}" if limits else ""
        raise PruningError(f"{say(target)} cannot be reached by taking out channels{reached}")
    while low < high:
        tried += 1
        progress(tried, tried + (high - low).bit_length())
        middle = (low + high) // 2
        if cost(_cut_to(cuts, limits[middle])) <= target:
            high = middle
        else:
            low = middle + 1
    progress(tried + 1, tried + 1)
    return _cut_to(cuts, limits[low])


@torch.inference_mode()
def _value(loss: Loss, network: nn.Module) -> float:
    return sum(float(part) for part in loss(network))


def _cut_to(cuts: Sequence[Cut], limit: float) -> dict[str, int]:
    """Return the deepest cut of each group whose rise is within the limit."""
    channels: dict[str, int] = {}
    for cut in cuts:
        if cut.rise <= limit:
            channels[cut.name] = min(cut.channels, channels.get(cut.name, cut.channels))
    return channels


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


def _step(group: Any) -> int:  # noqa: ANN401 -- torch-pruning has no types
    """Return how many alike groups of channels the group's grouped convolutions have."""
    layers = (item.dep.target.module for item in group)
    return max(
        (m.groups for m in layers if isinstance(m, nn.Conv2d) and m.groups < m.out_channels),
        default=1,
    )
