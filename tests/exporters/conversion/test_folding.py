from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from leansight.exporters.conversion.folding import fold


def used(graph: torch.fx.GraphModule) -> Counter[str]:
    calls = (n for n in graph.graph.nodes if n.op == "call_function")
    return Counter(str(n.target).split(".")[1] for n in calls)


def settled(network: nn.Module, shape: tuple[int, ...] = (8, 3, 8, 8)) -> nn.Module:
    """Give the batch norms weights and statistics that are not 0 and 1."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine:
            nn.init.uniform_(module.weight, -2, 2)
            nn.init.uniform_(module.bias, -1, 1)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(shape) + 0.5)
    return network.eval()


def folded(network: nn.Module) -> Counter[str]:
    """Fold, hold the result against the network, and return the operators that are left."""
    network = settled(network)
    image = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        before = network(image)
        graph = fold(network, image)
        torch.testing.assert_close(graph(image), before, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(network(image), before, rtol=0, atol=0)  # left as it was
    return used(graph)


class Twice(nn.Module):
    """One convolution used twice, once with a batch norm behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(self.norm(self.convolution(x)))  # type: ignore[no-any-return]


class Mean(nn.Module):
    def __init__(self, over: tuple[int, int], *, keepdim: bool) -> None:
        super().__init__()
        self.over, self.keepdim = over, keepdim

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self.over, keepdim=self.keepdim)


class Fork(nn.Module):
    """A convolution whose result is used before its batch norm as well."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x)
        return self.norm(x) + x  # type: ignore[no-any-return]


class Scaled(nn.Module):
    """A number before and after, and one that belongs to no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return (0.17 * self.convolution(x) + 3) * 2 + torch.relu(x[:, :1]) * 0.5  # type: ignore[no-any-return]


class Placed(nn.Module):
    """Two constants that differ from place to place."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Parameter(torch.randn(8, 8)), nn.Parameter(torch.randn(3, 8, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.one + self.other


class Repeated(nn.Module):
    """Weighs a picture by its means, which are repeated for every place."""

    def forward(self, x: Tensor) -> Tensor:
        means = x.amax((2, 3), keepdim=True)
        return x * means.expand(-1, -1, 8, 8) + means.expand_as(x) * x


class Shifted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5) / 3


class Idle(nn.Module):
    """A factor of ones and a summand of zeros, behind what takes neither."""

    def __init__(self) -> None:
        super().__init__()
        self.ones, self.zeros = nn.Parameter(torch.ones(3, 1, 1)), nn.Parameter(torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        return x.relu() * self.ones + self.zeros


class Bounded(nn.Module):
    """A bound that is moved to zero: one sum with what is before it."""

    def forward(self, x: Tensor) -> Tensor:
        return (x.relu() * 2 / 3 - 0.3).clamp(min=-0.2)


FOLDS: dict[str, tuple[Callable[[], nn.Module], dict[str, int]]] = {
    "convolution": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)),
        {"conv2d": 1},
    ),
    "grouped, same": (
        lambda: nn.Sequential(nn.Conv2d(3, 6, 3, padding="same", groups=3), nn.BatchNorm2d(6)),
        {"conv2d": 1},
    ),
    "no weights of its own": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)),
        {"conv2d": 1},
    ),
    "dense, dropout between": (
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(192, 5, bias=False), nn.Dropout(), nn.BatchNorm1d(5), nn.ReLU()
        ),
        {"flatten": 1, "linear": 1, "relu": 1},
    ),
    "nothing before": (lambda: nn.BatchNorm2d(3), {"conv2d": 1}),
    "nothing before, dense": (
        lambda: nn.Sequential(nn.Flatten(), nn.ReLU(), nn.BatchNorm1d(192)),
        {"flatten": 1, "relu": 1, "conv2d": 1, "reshape": 2},
    ),
    "a convolution used twice": (Twice, {"conv2d": 2}),
    "a result used twice": (Fork, {"conv2d": 2, "add": 1}),
    "hard sigmoid": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.Hardsigmoid()),
        {"conv2d": 1, "hardtanh": 1, "mul": 1},
    ),
    "hard-swish": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Hardswish()),
        {"conv2d": 2, "hardtanh": 1, "mul": 1},
    ),
    "hard-swish, dense": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.Hardswish()),
        {"flatten": 1, "linear": 1, "reshape": 2, "conv2d": 1, "hardtanh": 1, "mul": 1},
    ),
    "hard-swish of no layer": (nn.Hardswish, {"conv2d": 2, "hardtanh": 1, "mul": 1}),
    "batch norm of tokens": (
        lambda: nn.Sequential(nn.Flatten(2), nn.BatchNorm1d(3)),
        {"flatten": 1, "conv2d": 1, "reshape": 2},
    ),
    "batch norm of tokens of a dense layer": (
        lambda: nn.Sequential(nn.Flatten(2), nn.Linear(64, 3), nn.BatchNorm1d(3)),
        {"flatten": 1, "linear": 1, "conv2d": 1, "reshape": 4},
    ),
    "batch norm of rows": (
        lambda: nn.Sequential(nn.Flatten(2), nn.Flatten(0, 1), nn.BatchNorm1d(64)),
        {"flatten": 2, "conv2d": 1, "reshape": 2},
    ),
    "batch norm of features, before a dense layer": (
        lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(192), nn.Linear(192, 5, bias=False)),
        {"flatten": 1, "linear": 1},
    ),
    "batch norm that changes nothing": (
        lambda: nn.Sequential(
            nn.ReLU(), nn.BatchNorm2d(3, affine=False, eps=1e-30, momentum=0.0), nn.ReLU()
        ),
        {"relu": 2},
    ),
    "expansions": (Repeated, {"max_pool2d": 1, "mul": 2, "add": 1}),
    "windows": (lambda: nn.AvgPool2d(2), {"conv2d": 1}),
    "windows of what was rewritten": (
        lambda: nn.Sequential(nn.SiLU(), nn.BatchNorm2d(3), nn.AvgPool2d((2, 3), 1), nn.SiLU()),
        {"sigmoid": 2, "mul": 2, "conv2d": 2},
    ),
    "windows beyond the border": (lambda: nn.AvgPool2d(3, 2, 1), {"conv2d": 1}),
    "windows of the border alone": (
        lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        {"conv2d": 1, "mul": 2},
    ),
    "windows, rounded up": (
        lambda: nn.AvgPool2d(3, 2, ceil_mode=True),
        {"pad": 1, "conv2d": 1, "mul": 2},
    ),
    "windows beyond a counted border, rounded up": (
        lambda: nn.AvgPool2d(4, 4, 1, ceil_mode=True),
        {"pad": 1, "conv2d": 1, "mul": 2},
    ),
    "windows beyond an uncounted border, rounded up": (
        lambda: nn.AvgPool2d((4, 2), (4, 3), 1, ceil_mode=True, count_include_pad=False),
        {"pad": 1, "conv2d": 1, "mul": 2},
    ),
    "windows that all lack as much": (
        lambda: nn.Sequential(
            nn.AvgPool2d(4), nn.AvgPool2d((3, 1), 1, (1, 0), count_include_pad=False)
        ),
        {"conv2d": 2},
    ),
    "windows that would be rounded up": (
        lambda: nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False),
        {"conv2d": 1},
    ),
    "two constants": (Placed, {"add": 1}),
    "ones and zeros": (Idle, {"relu": 1}),
    "a dense layer of the image": (
        lambda: nn.Sequential(nn.Flatten(2), nn.Linear(64, 5), nn.Linear(5, 4, bias=False)),
        {"flatten": 1, "reshape": 2, "linear": 2},
    ),
    "two numbers and a bound": (Bounded, {"mul": 1, "relu": 2, "add": 2}),
    "a number taken away, and a divisor": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 1), Shifted()),
        {"conv2d": 1},
    ),
    "windows with a divisor": (lambda: nn.AvgPool2d(2, divisor_override=3), {"avg_pool2d": 1}),
    "a mean over the picture": (
        lambda: Mean((2, 3), keepdim=False),
        {"adaptive_avg_pool2d": 1, "reshape": 1},
    ),
    "a mean that stays a picture": (
        lambda: Mean((-1, -2), keepdim=True),
        {"adaptive_avg_pool2d": 1},
    ),
    "a mean of one pixel": (
        lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), Mean((2, 3), keepdim=False)),
        {"adaptive_avg_pool2d": 1, "reshape": 1},
    ),
    "another mean": (lambda: Mean((1, 2), keepdim=False), {"mean": 1}),
    "numbers": (Scaled, {"conv2d": 1, "slice": 1, "relu": 1, "mul": 1, "add": 1}),
}


@pytest.mark.parametrize("name", FOLDS)
def test_what_is_folded_computes_the_same(name: str) -> None:
    build, operators = FOLDS[name]
    left = folded(build())
    left.pop("alias", None)
    assert left == operators


class ScaledActivation(nn.Module):
    """NF-ResNet: what an activation gives is multiplied by a number, for two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.one = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.other = nn.Conv2d(4, 4, 3, padding=1, groups=4)

    def forward(self, x: Tensor) -> Tensor:
        scaled = self.first(x).relu() * 1.7139588594436646
        return self.one(scaled) + self.other(scaled)  # type: ignore[no-any-return]


def test_a_number_behind_an_activation_is_in_the_layers_that_take_the_product() -> None:
    left = folded(ScaledActivation())
    assert left["mul"] == 0
    assert left["conv2d"] == 3


class ScaledFeatures(nn.Module):
    """PaddlePaddle's dropout: features are multiplied by what is kept, and flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 1), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        features = nn.functional.hardswish(self.body(x.mean((2, 3), keepdim=True))) * 0.8
        return self.head(features.reshape(-1, 4))  # type: ignore[no-any-return]


def test_a_number_is_folded_through_another_shape() -> None:
    network, image = ScaledFeatures().eval(), torch.randn(1, 3, 8, 8)
    graph = fold(network, image)
    (head,) = [node for node in graph.graph.nodes if node.target is torch.ops.aten.linear.default]
    weight = getattr(graph, str(head.args[1].target))
    torch.testing.assert_close(weight, network.head.weight * 0.8)
    torch.testing.assert_close(graph(image), network(image))


class ScaledTokens(nn.Module):
    """EfficientViT's queries: a layer's pixels as rows, in heads, times a number."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.queries(x).flatten(2).unflatten(1, (2, 2)).transpose(2, 3) * 0.25  # type: ignore[no-any-return]


def test_a_number_is_in_the_weights_of_a_layer_whose_result_was_only_moved() -> None:
    assert folded(ScaledTokens())["mul"] == 0


class LearnableAffine(nn.Module):
    """PP-HGNetV2 and ResMLP: factors and summands of all, or of each feature, behind a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.small = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1, groups=2)
        self.large, self.dense = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(8, 5)
        self.factor, self.summand = nn.Parameter(torch.tensor([1.5])), nn.Parameter(torch.ones(1))
        self.factors, self.summands = (nn.Parameter(torch.randn(n, 8)) for n in (1, 1))

    def forward(self, x: Tensor) -> Tensor:
        all_alike = self.first(x).relu() * self.factor + self.summand
        x = (self.small(all_alike) + self.large(all_alike)).relu()
        return self.dense(x * self.factors + self.summands)  # type: ignore[no-any-return]


def test_factors_and_summands_behind_an_activation_are_in_the_layers_that_pad_nothing() -> None:
    left = folded(LearnableAffine())
    # What the larger kernel pads are zeros beside sums: it takes neither.
    assert (left["mul"], left["add"]) == (1, 2)


class FlattenedAffine(nn.Module):
    """PP-HGNetV2's end: a factor and a summand before the dense layer, flattened between."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(3 * 8 * 8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense((x.relu() * 0.5 + 0.25).flatten(1))  # type: ignore[no-any-return]


def test_factors_and_summands_go_through_what_flattens_them() -> None:
    left = folded(FlattenedAffine())
    assert (left["mul"], left["add"]) == (0, 0)


class Places(nn.Module):
    """PiT: a constant for each place is added to a layer's result."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 1)
        self.places = nn.Parameter(torch.randn(1, 4, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.places  # type: ignore[no-any-return]


def test_a_bias_is_in_the_constant_that_is_added_behind_it() -> None:
    assert folded(Places()) == {"conv2d": 1, "add": 1}
    (layer,) = [
        n for n in fold(Places().eval(), torch.zeros(1, 3, 8, 8)).graph.nodes if "conv2d" in n.name
    ]
    assert layer.args[2] is None


def test_a_batch_norm_alone_is_its_factor_and_summand_for_each_channel() -> None:
    norm = nn.BatchNorm2d(3)
    norm.running_mean, norm.running_var = torch.tensor([1.0, 0, -1]), torch.tensor([4.0, 1, 0.25])
    norm.weight.data, norm.bias.data = torch.tensor([2.0, 3, -1]), torch.tensor([0.0, 1, 2])
    norm.eps = 0.0
    graph = fold(norm, torch.zeros(1, 3, 4, 4))
    weight, bias = (value for _, value in graph.named_buffers() if "folded" in _)
    # By hand: 2/2, 3/1, -1/0.5; and 0 - 1·1, 1 - 0·3, 2 - (-1)·(-2).
    assert weight.flatten().tolist() == [1, 3, -2]
    assert bias.tolist() == [-1, 1, 0]
