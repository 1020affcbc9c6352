from collections import Counter

import pytest
import torch
from torch import nn

from leansight.exporters.conversion.folding import fold
from leansight.exporters.conversion.pooling import pad_before_pooling


def used(graph: torch.fx.GraphModule) -> Counter[str]:
    calls = (n for n in graph.graph.nodes if n.op == "call_function")
    return Counter(str(n.target).split(".")[1] for n in calls)


POOLS: dict[str, tuple[nn.Module, bool]] = {
    "after relu": (nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2, 1)), True),
    "after relu6": (nn.Sequential(nn.ReLU6(), nn.MaxPool2d((3, 5), 2, (1, 2))), True),
    "after a maximum": (nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1)), True),
    "of what is negative": (nn.MaxPool2d(3, 2, 1), False),
    "after a clamp below zero": (nn.Sequential(nn.Hardtanh(), nn.MaxPool2d(3, 2, 1)), False),
    "of the same size": (nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 1, 1)), False),
    "without padding": (nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), False),
    "rounded up": (nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2, 1, ceil_mode=True)), False),
}


@pytest.mark.parametrize("name", POOLS)
def test_padding_of_a_maximum_becomes_zeros_where_nothing_is_below_them(name: str) -> None:
    network, apart = POOLS[name]
    image = torch.randn(1, 3, 8, 8)
    graph = fold(network, image)
    pad_before_pooling(graph)
    assert used(graph)["pad"] == apart
    torch.testing.assert_close(graph(image), network(image), rtol=0, atol=0)


class Whole(nn.Module):
    def __init__(self, name: str, keepdim: bool) -> None:  # noqa: FBT001 -- torch's name
        super().__init__()
        self.name, self.keepdim = name, keepdim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return getattr(x, self.name)((2, -1), self.keepdim)  # type: ignore[no-any-return]


@pytest.mark.parametrize("keepdim", [True, False])
@pytest.mark.parametrize("name", ["mean", "sum", "amax"])
def test_what_is_taken_over_all_places_becomes_a_pooling(name: str, keepdim: bool) -> None:  # noqa: FBT001
    network, image = Whole(name, keepdim), torch.randn(1, 3, 6, 10)
    graph = fold(network, image)
    pooling = "max_pool2d" if name == "amax" else "adaptive_avg_pool2d"
    assert used(graph) == Counter(
        [pooling, *["reshape"] * (not keepdim), *["mul"] * (name == "sum")]
    )
    torch.testing.assert_close(graph(image), network(image))
