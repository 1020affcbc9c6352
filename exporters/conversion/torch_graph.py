"""The graph that torch.export makes of a network: its layers, what they hold, how to change it."""

import math
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, Final

import torch
from torch import Tensor, fx, nn

ATEN: Final = torch.ops.aten
WEIGHTED: Final = {ATEN.conv2d.default, ATEN.conv2d.padding, ATEN.linear.default}
RELUS: Final = {ATEN.relu.default, ATEN.relu6.default}
# What a layer can clip its result to by itself.
ACTIVATIONS: Final = RELUS | {ATEN.hardtanh.default, ATEN.clamp.default, ATEN.clamp_min.default}
MEANS_AND_MAXIMA: Final = {ATEN.max_pool2d.default, ATEN.avg_pool2d.default}
# What gives k times as much for k times as much, k > 0, channel by channel.
EQUIVARIANT: Final = MEANS_AND_MAXIMA | {ATEN.relu.default, ATEN.adaptive_avg_pool2d.default}
IMAGE_AXES: Final = 4  # batch, channels, height, width
RESHAPES: Final = {ATEN.reshape.default, ATEN.view.default}
_TURNS: Final = {ATEN.permute.default, ATEN.transpose.int}
_INTO_ONE: Final = {ATEN.flatten.using_ints, ATEN.unflatten.int}
MOVES: Final = RESHAPES | _TURNS | _INTO_ONE  # what gives every number that it takes, once


def layers(module: fx.GraphModule) -> Iterator[fx.Node]:
    """Give the nodes of convolutions and dense layers, in the order in which they run."""
    return (node for node in module.graph.nodes if node.target in WEIGHTED)


def layer_constants(module: nn.Module, node: fx.Node) -> list[Tensor | None]:
    """Return a layer's weights (out, ...) and its bias (out,), None where it has none.

    They are the graph's own: changed in place, they stay changed.
    """
    return [_constant(module, argument) for argument in (*node.args[1:3], None)[:2]]


def upper_bound(node: fx.Node) -> float:
    """Return what a ReLU that ends somewhere gives at most: 6 of ReLU6, 0 of any other node."""
    if node.target is ATEN.relu6.default:
        return 6.0
    if node.target is ATEN.hardtanh.default and node.args[1:2] == (0,):
        bound = node.args[2]
        assert isinstance(bound, int | float)
        return float(bound)
    return 0.0


@torch.no_grad()
def watch(folded: fx.GraphModule, images: Tensor, visit: Callable[[str, Tensor], None]) -> None:
    """Run images (N, C, S, S) through a graph; `visit` gets each node's name and result."""

    class Watcher(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            result = super().run_node(n)
            if isinstance(result, Tensor) and n.op not in {"get_attr", "output"}:
                visit(n.name, result)
            return result

    Watcher(folded).run(images)


def rewrite_each(
    module: fx.GraphModule, *rewrites: Callable[[fx.GraphModule, fx.Node], None]
) -> None:
    """Give every node of a graph to each of these in turn, and drop what nothing reads any more."""
    for rewrite in rewrites:
        for node in list(module.graph.nodes):
            rewrite(module, node)
        module.graph.eliminate_dead_code()
    module.recompile()


@torch.no_grad()
def add_shapes(module: fx.GraphModule, example: Tensor) -> None:
    """Note at every node the shape of what it gives for `example`, as `meta["val"]`."""

    class Describer(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            result = super().run_node(n)
            if isinstance(result, Tensor):
                n.meta["val"] = torch.empty_like(result, device="meta")
            return result

    Describer(module).run(example)


def is_foldable(node: fx.Node) -> bool:
    """Whether a node is a layer whose weights can take in what is done to its result."""
    return node.target in WEIGHTED and len(node.users) == 1


def before_moves(node: fx.Node) -> fx.Node:
    """Return what gives a node's numbers, if it and all between are read once; else the node."""
    while node.target in MOVES and len(node.users) == 1:
        node = input_of(node)
    return node


def axis_behind_moves(node: fx.Node, axis: int) -> int | None:
    """Return where an axis of what `before_moves` gives is in a node; None if in none."""
    if node.target not in MOVES or len(node.users) != 1:
        return axis
    before, after = (n.meta["val"].shape for n in (input_of(node), node))
    within = axis_behind_moves(input_of(node), axis)
    if within is None:
        return None
    if node.target in _TURNS:
        order = list(range(len(before)))
        if node.target is ATEN.permute.default:
            order = [n % len(before) for n in numbers_of(node.args[1])]
        else:
            one, other = (n % len(before) for n in numbers_of(node.args[1:]))
            order[one], order[other] = other, one
        return order.index(within)
    places = (math.prod(before[:within]), before[within])
    return next((n for n in range(len(after)) if (math.prod(after[:n]), after[n]) == places), None)


def scale_weights(module: fx.GraphModule, node: fx.Node, factor: Tensor, summand: Tensor) -> None:
    """Let a layer give factor × its result + summand; both (out,) or () float64."""
    _, weight_node, bias_node, *rest = (*node.args, None)[: max(3, len(node.args))]
    weight, bias = value_of(module, weight_node), value_of(module, bias_node)
    assert weight is not None
    scaled = weight * factor.expand(len(weight)).reshape(-1, *(1,) * (weight.ndim - 1))
    shifted = (given(bias, 0) * factor + summand).expand(len(weight))
    constants = add_constants(module, node, scaled, shifted)
    node.args = (input_of(node), *constants, *rest)


def channelwise(module: fx.GraphModule, node: fx.Node, factor: Tensor, summand: Tensor) -> fx.Node:
    """Write factor × x + summand, both (C,), as a convolution of each channel alone, if any."""
    source, channels, shape = input_of(node), len(factor), node.meta["val"].shape
    if (factor == 1).all() and not summand.any():
        return source
    weight, bias = add_constants(module, node, factor.reshape(-1, 1, 1, 1), summand)
    settings = ([1, 1], [0, 0], [1, 1], channels)
    with module.graph.inserting_before(node):
        call = module.graph.call_function
        if len(shape) == IMAGE_AXES:
            return call(ATEN.conv2d.default, (source, weight, bias, *settings))
        picture = call(ATEN.reshape.default, (source, [-1, channels, math.prod(shape[2:]), 1]))
        result = call(ATEN.conv2d.default, (picture, weight, bias, *settings))
        return call(ATEN.reshape.default, (result, [-1, *shape[1:]]))


def add_constants(module: fx.GraphModule, node: fx.Node, *values: Tensor) -> list[fx.Node]:
    """Add float32 constants to the graph, for a node that comes after them."""
    nodes = []
    for index, value in enumerate(values):
        name = f"{node.name}_folded_{index}"
        while hasattr(module, name):  # folded twice
            name += "_again"
        module.register_buffer(name, value.float().contiguous())
        with module.graph.inserting_before(node):
            nodes.append(module.graph.get_attr(name))
    return nodes


def replace(module: fx.GraphModule, node: fx.Node, other: fx.Node) -> None:
    """Let what reads a node read another of the same shape, and drop it."""
    other.meta.setdefault("val", node.meta.get("val"))
    node.replace_all_uses_with(other)
    module.graph.erase_node(node)


def input_of(node: fx.Node) -> fx.Node:
    """Return the node that one takes first."""
    source = node.args[0]
    assert isinstance(source, fx.Node)
    return source


def value_of(module: fx.GraphModule, node: object) -> Tensor | None:
    """Return a parameter in float64, so that folding rounds once; None where there is none."""
    value = _constant(module, node)
    return None if value is None else value.detach().double()


def given(value: Tensor | None, otherwise: float) -> Tensor:
    """Return a value, or where there is none this number, in float64."""
    return torch.tensor(otherwise, dtype=torch.float64) if value is None else value


def operator_name(node: fx.Node) -> str:
    """Return an ATen operator's name without its overload; nothing for other nodes."""
    name = str(node.target)
    return name.removeprefix("aten.").partition(".")[0] if name.startswith("aten.") else ""


def numbers_of(value: object) -> list[int]:
    """Return the whole numbers in a node's argument."""
    assert isinstance(value, list | tuple)
    return [int(number) for number in value]


def both(value: object) -> list[int]:
    """Spread a size for height and width; ATen's lists hold one number for both, or two."""
    numbers = numbers_of(value)
    return numbers * (2 // len(numbers))


def _constant(module: nn.Module, node: object) -> Tensor | None:
    while isinstance(node, fx.Node) and node.op != "get_attr":
        node = node.args[0]  # rounded, in a simulation
    if not isinstance(node, fx.Node):
        return None
    value = attrgetter(str(node.target))(module)
    assert isinstance(value, Tensor)
    return value
