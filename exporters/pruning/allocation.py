"""Pruning ratios: how many channels each layer keeps, uniform, global or by sensitivity."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from leansight.exporters.errors import PruningError
from leansight.exporters.pruning.channels import ChannelGroup, Loss, prune

# Kept of each group, one group at a time, to see how the loss rises.
SHARES_KEPT: Final = (0.75, 0.5, 0.375, 0.25, 0.125)


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


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The sensitivity of one group: with `channels` of it left the loss has this `rise`."""

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
