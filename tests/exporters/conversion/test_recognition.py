"""What a graph writes in several operators is recognised as one that gives the same numbers."""

from collections.abc import Callable
from typing import Final

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from leansight.exporters.conversion.folding import fold

HALF_ROOT = 0.7071067811865476


class Written(nn.Module):
    """A convolution, and a function that is written out."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.convolution, self.function = nn.Conv2d(3, 4, 1), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.convolution(x))


def by_mean(x: Tensor) -> Tensor:
    centred = x - x.mean(1, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(1, keepdim=True) + 1e-3)


def by_other_mean(x: Tensor) -> Tensor:
    centred = x - x.mean(2, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(1, keepdim=True) + 1e-3)


def as_sum(scale: Tensor | None, shift: Tensor | None, axis: int = 1) -> Callable[[Tensor], Tensor]:
    """Return a layer norm as TensorFlow writes it."""

    def norm(x: Tensor) -> Tensor:
        mean = x.mean(axis, keepdim=True)
        centred = x - mean
        factor = torch.rsqrt((centred * centred).mean(axis, keepdim=True) + 1e-3)
        factor = factor if scale is None else factor * scale
        rest = -mean * factor if shift is None else -mean * factor + shift
        return x * factor + rest

    return norm


def as_sum_of_another_mean(x: Tensor) -> Tensor:
    mean = x.mean(1, keepdim=True)
    factor = torch.rsqrt(((x - mean) ** 2).mean(1, keepdim=True) + 1e-3)
    return x * factor + -x.mean(2, keepdim=True) * factor


def as_sum_of_half_the_shift(x: Tensor) -> Tensor:
    mean = x.mean(1, keepdim=True)
    centred = x - mean
    factor = torch.rsqrt((centred * centred).mean(1, keepdim=True) + 1e-3)
    return torch.add(x * factor, -mean * factor, alpha=0.5)


EACH: Final = torch.tensor([0.5, 1.5, -1.0, 2.0]).reshape(1, 4, 1, 1)
ROW: Final = torch.tensor([0.5, 1.5, -1.0, 2.0, 3.0])
WRITTEN: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "gelu": (lambda x: 0.5 * x * (1 + torch.erf(x * HALF_ROOT)), "gelu"),
    "gelu, halved last": (lambda x: x * (torch.erf(x / 2**0.5) + 1) * 0.5, "gelu"),
    "gelu by tanh": (
        lambda x: 0.5 * x * (1 + torch.tanh(0.7978845608028654 * (x + 0.044715 * x**3))),
        "gelu",
    ),
    "mish": (lambda x: x * torch.tanh(functional.softplus(x)), "mish"),
    "mish by logarithm": (lambda x: x * torch.tanh(torch.log(1 + torch.exp(x))), "mish"),
    "softplus": (lambda x: torch.log(1 + torch.exp(x)), "softplus"),
    "layer norm": (by_mean, "layer_norm"),
    "layer norm as a sum": (as_sum(EACH, EACH - 1), "layer_norm"),
    "layer norm as a sum, no scale": (as_sum(None, EACH), "layer_norm"),
    "layer norm as a sum, no shift": (as_sum(EACH, None), "layer_norm"),
    "layer norm as a sum, over rows": (as_sum(None, None, axis=2), "layer_norm"),
}
OTHERS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "half of gelu": (lambda x: 0.25 * x * (1 + torch.erf(x * HALF_ROOT)), "gelu"),
    "gelu of a larger number": (lambda x: 0.5 * x * (1 + torch.erf(x)), "gelu"),
    "means over other axes": (by_other_mean, "layer_norm"),
    "a sum with the mean of other axes": (as_sum_of_another_mean, "layer_norm"),
    "a sum with half of the mean": (as_sum_of_half_the_shift, "layer_norm"),
    "scales of another axis": (as_sum(ROW, None, axis=2), "layer_norm"),
    "gated by another": (lambda x: 0.5 * x.flip(2) * (1 + torch.erf(x * HALF_ROOT)), "gelu"),
}


def operators_of(function: Callable[[Tensor], Tensor]) -> list[str]:
    """Fold the function behind a convolution, and hold what it gives against torch."""
    torch.manual_seed(0)
    network, image = Written(function).eval(), torch.randn(1, 3, 5, 5)
    with torch.no_grad():
        wanted = network(image)
        graph = fold(network, image)
        torch.testing.assert_close(graph(image), wanted, rtol=1e-5, atol=1e-5)
    calls = [n for n in graph.graph.nodes if n.op == "call_function"]
    return [str(n.target).split(".")[1] for n in calls]


@pytest.mark.parametrize("name", WRITTEN)
def test_it_becomes_one_operator(name: str) -> None:
    function, operator = WRITTEN[name]
    found = operators_of(function)
    assert [kind for kind in found if kind not in {"conv2d", "permute"}] == [operator]


@pytest.mark.parametrize("name", OTHERS)
def test_what_gives_other_numbers_stays_as_it_is(name: str) -> None:
    function, operator = OTHERS[name]
    assert operator not in operators_of(function)
