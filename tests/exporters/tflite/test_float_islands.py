"""Which operators of a TFLite graph stay in float, told on graphs written by hand."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from leansight.exporters.tflite.float_islands import find_islands, interior
from leansight.exporters.tflite.graph import Operator


@dataclass
class Graph:
    """Operators as "KIND inputs -> output", the tensors by single names."""

    written: str
    input: str = "image"
    operators: list[Operator] = field(default_factory=list)

    def __post_init__(self) -> None:
        for line in self.written.split(";"):
            kind, *inputs, _, output = line.split()
            self.operators.append(Operator(kind=kind, inputs=tuple(inputs), outputs=(output,)))

    @property
    def tensors(self) -> Mapping[str, SimpleNamespace]:
        return defaultdict(lambda: SimpleNamespace(values=None))

    @property
    def output(self) -> str:
        return self.operators[-1].outputs[0]

    @property
    def activations(self) -> list[str]:
        return [self.input, *(op.outputs[0] for op in self.operators)]


NORM = (
    "CONV_2D image w -> a; MEAN a axes -> m; SQUARED_DIFFERENCE a m -> d; MEAN d axes -> v; "
    "RSQRT v -> r; MUL a r -> x; SUB zero m -> n; MUL n r -> y; ADD x y -> norm; "
    "CONV_2D norm w -> b; ADD b a -> sum; MEAN sum axes -> logits"
)
ATTENTION = (
    "FULLY_CONNECTED image w -> qkv; TRANSPOSE qkv order -> q; TRANSPOSE qkv order -> k; "
    "BATCH_MATMUL q k -> looks; MUL looks scale -> scaled; ADD scaled bias -> biased; "
    "SOFTMAX biased -> shares; BATCH_MATMUL shares q -> mixed; RESHAPE mixed shape -> rows; "
    "FULLY_CONNECTED rows w -> dense; ADD dense image -> logits"
)


def found(written: str, *matched: str) -> frozenset[str]:
    graph: Any = Graph(written)
    return find_islands(graph, matched)


def test_a_norm_is_one_island_as_far_as_it_lies_inside() -> None:
    inner = {"m", "d", "v", "r", "x", "n", "y", "norm"}
    assert found(NORM, "a", "norm", "b", "sum", "logits") == inner


def test_what_torch_shows_of_a_norm_stays_in_integers() -> None:
    """Each step that is a node of torch's own has a grid, but for the mean between two islands."""
    everything = Graph(NORM).activations
    assert found(NORM, *everything) == {"d", "v", "r"}


def test_what_lies_between_two_products_is_float_and_what_moves_before_them_is_not() -> None:
    everything = Graph(ATTENTION).activations
    assert found(ATTENTION, *everything) == {"looks", "scaled", "biased", "shares", "mixed"}


@pytest.mark.parametrize("kind", ["GELU", "LOGISTIC", "ADD", "MAX_POOL_2D", "SLICE"])
def test_what_both_have_in_integers_is_no_island(kind: str) -> None:
    written = f"CONV_2D image w -> a; {kind} a a -> b; CONV_2D b w -> logits"
    assert found(written, "a", "b", "logits") == frozenset()


def test_a_layer_with_weights_stays_in_integers_beside_what_torch_does_not_show() -> None:
    written = "CONV_2D image w -> a; EXP a -> b; CONV_2D b w -> logits"
    assert found(written, "logits") == {"b"}


def test_nothing_rounds_what_only_an_island_reads() -> None:
    graph: Any = Graph(ATTENTION)
    islands = found(ATTENTION, *graph.activations)
    assert interior(graph, islands) == {"looks", "scaled", "biased", "shares"}


GATE = "CONV_2D image w -> a; LOGISTIC a -> gate; CONV_2D image w -> b; "


@pytest.mark.parametrize(
    "rest",
    [
        "MAX_POOL_2D gate -> pooled; MEAN pooled axes -> logits",
        "LOGISTIC b -> other; CONCATENATION gate other -> both; MEAN both axes -> logits",
        "RESHAPE gate shape -> turned; MUL turned b -> logits",
    ],
)
def test_a_function_of_one_grid_shares_it_with_what_only_moves_its_numbers(rest: str) -> None:
    assert found(GATE + rest, *Graph(GATE + rest).activations) == frozenset()


def test_a_function_of_one_grid_that_others_put_numbers_on_is_float() -> None:
    written = GATE + "CONCATENATION gate b -> both; MEAN both axes -> logits"
    assert found(written, *Graph(written).activations) == {"gate"}


def test_a_bound_that_no_layer_computes_is_float() -> None:
    """ai-edge-quantizer has ReLU of int8, and no ReLU6."""
    written = (
        "CONV_2D image w -> a; SLICE a part -> b; RELU6 b -> bounded; MEAN bounded axes -> logits"
    )
    assert found(written, *Graph(written).activations) == {"bounded"}
