"""Layer norms give their scale and shift to the layers that follow, where all can take them."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from leansight.exporters.conversion.any_number import for_any_number
from leansight.exporters.conversion.folding import fold
from leansight.exporters.conversion.torch_graph import watch


class Norm(nn.Module):
    """A norm over 6 features with a scale and a shift of its own, places behind one another."""

    def __init__(self, after: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.convolution, self.norm, self.after = nn.Conv2d(3, 6, 2, 2), nn.LayerNorm(6), after()
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.convolution(x).flatten(2).transpose(1, 2)
        return self.after(self.norm(tokens))  # type: ignore[no-any-return]


class ChannelsLast(Norm):
    """The same of a picture, whose channels are put last and first again."""

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(self.convolution(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.after(normed)  # type: ignore[no-any-return]


class Turned(Norm):
    """The same, with channels put first and last again before a dense layer."""

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(self.convolution(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.after(normed.permute(0, 2, 3, 1))  # type: ignore[no-any-return]


class Windows(Norm):
    """The same, its places put into windows of four by four, as Swin does."""

    def forward(self, x: Tensor) -> Tensor:
        normed = functional.pad(self.norm(self.convolution(x).permute(0, 2, 3, 1)), (0, 0, 0, 0))
        windows = normed.reshape(-1, 2, 2, 2, 2, 6).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, 6)
        return self.after(windows.reshape(-1, 6))  # type: ignore[no-any-return]


class Sideways(Norm):
    """The same, with channels put first before a dense layer over columns."""

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(self.convolution(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.after(normed[..., :4])  # type: ignore[no-any-return]


class Both(nn.Module):
    """Two layers that read the same."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(6, 4, bias=False), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) * self.other(x)  # type: ignore[no-any-return]


class Residual(Both):
    """One layer, and a sum with what it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.one(x)  # type: ignore[no-any-return]


class Written(nn.Module):
    """Scale and shift as a product and a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(6, 4)
        self.scale, self.shift = nn.Parameter(torch.randn(6)), nn.Parameter(torch.randn(6))

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(x * self.scale + self.shift)  # type: ignore[no-any-return]


FOLDED: dict[str, Callable[[], nn.Module]] = {
    "dense": lambda: Norm(lambda: nn.Linear(6, 4)),
    "two dense layers": lambda: Norm(Both),
    "a product and a sum": lambda: Norm(Written),
    "dense, turned twice": lambda: Turned(lambda: nn.Linear(6, 4)),
    "dense, in windows": lambda: Windows(lambda: nn.Linear(6, 4)),
    "convolution of patches": lambda: ChannelsLast(lambda: nn.Conv2d(6, 5, 2, 2)),
    "convolution without bias": lambda: ChannelsLast(lambda: nn.Conv2d(6, 5, 1, bias=False)),
    "residual": lambda: Norm(Residual),
}
KEPT: dict[str, Callable[[], nn.Module]] = {
    "padded": lambda: ChannelsLast(lambda: nn.Conv2d(6, 5, 3, padding=1)),
    "depthwise": lambda: ChannelsLast(lambda: nn.Conv2d(6, 6, 1, groups=6)),
    "dense, over columns": lambda: Sideways(lambda: nn.Linear(4, 6)),
    "nothing": lambda: Norm(nn.Identity),
}


def fold_and_compare(network: nn.Module) -> list[torch.fx.Node]:
    """Return the layer norms that are left, of a graph that gives what the network gives."""
    network.eval()
    image = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        wanted = network(image)
        graph = fold(network, image)
        torch.testing.assert_close(graph(image), wanted, rtol=1e-5, atol=1e-5)
    return [n for n in graph.graph.nodes if n.target is torch.ops.aten.layer_norm.default]


@pytest.mark.parametrize("name", FOLDED)
def test_scale_and_shift_go_into_what_follows(name: str) -> None:
    torch.manual_seed(0)
    (norm,) = fold_and_compare(FOLDED[name]())
    assert norm.args[2:4] == (None, None)


@pytest.mark.parametrize("name", KEPT)
def test_scale_and_shift_stay_where_not_all_that_follows_can_take_them(name: str) -> None:
    torch.manual_seed(0)
    (norm,) = fold_and_compare(KEPT[name]())
    assert None not in norm.args[2:4]


class Shapes(nn.Module):
    """What is written in other words on the way to both formats."""

    def __init__(self, after: nn.Module) -> None:
        super().__init__()
        self.convolution, self.after = nn.Conv2d(3, 6, 1), after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.convolution(x))  # type: ignore[no-any-return]


class LayerScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.randn(6, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Rows(nn.Module):
    """A dense layer on rows, whose places come back before they are scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.gamma = nn.Linear(6, 6), nn.Parameter(torch.randn(6))

    def forward(self, x: Tensor) -> Tensor:
        rows = self.dense(x.permute(0, 2, 3, 1).reshape(64, 6))
        return rows.reshape(1, 8, 8, 6) * self.gamma  # type: ignore[no-any-return]


def one_group() -> nn.Module:
    norm = nn.GroupNorm(1, 6)
    nn.init.normal_(norm.weight)
    return norm


SLOPES = torch.tensor([0.1, 0.5, -0.2, 0, 1, 0.9])
WORDS: dict[str, tuple[Callable[[], nn.Module], dict[str, int]]] = {
    "leaky ReLU": (lambda: nn.LeakyReLU(0.1), {"conv2d": 3, "relu": 1, "add": 1}),
    "PReLU of each channel": (
        lambda: prelu(SLOPES),
        {"conv2d": 3, "relu": 1, "add": 1},
    ),
    "PReLU that is steeper": (lambda: prelu(1.5 * SLOPES), {"conv2d": 1, "prelu": 1}),
    "a scale of each channel": (LayerScale, {"conv2d": 1}),
    "a scale of rows": (Rows, {"conv2d": 1, "permute": 1, "reshape": 2, "linear": 1}),
    "one group": (one_group, {"conv2d": 2, "permute": 2, "layer_norm": 1}),
    "one group that is scaled by 1": (
        lambda: nn.GroupNorm(1, 6),
        {"conv2d": 1, "permute": 2, "layer_norm": 1},
    ),
}


def prelu(slopes: Tensor) -> nn.Module:
    activation = nn.PReLU(6)
    activation.weight.data = slopes.clone()
    return activation


@pytest.mark.parametrize("name", WORDS)
def test_what_is_written_in_other_words_computes_the_same(name: str) -> None:
    torch.manual_seed(0)
    build, operators = WORDS[name]
    network, image = Shapes(build()).eval(), torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        wanted = network(image)
        graph = fold(network, image)
        torch.testing.assert_close(graph(image), wanted, rtol=1e-5, atol=1e-5)
    calls = [str(n.target).split(".")[1] for n in graph.graph.nodes if n.op == "call_function"]
    assert Counter(calls) == operators


def test_a_dense_layer_on_places_takes_rows_of_any_number_of_images() -> None:
    torch.manual_seed(0)
    network = Norm(lambda: nn.Linear(6, 4)).eval()
    free = for_any_number(fold(network, torch.zeros(1, 3, 8, 8)))
    shapes: list[tuple[int, ...]] = []
    images = torch.randn(2, 3, 8, 8)
    watch(free, images, lambda _, values: shapes.append(tuple(values.shape)))
    assert (2 * 16, 4) in shapes
    with torch.no_grad():
        torch.testing.assert_close(free(images), network(images), rtol=1e-5, atol=1e-5)
