"""Affine folding: constants that multiply or shift something, put into the layers that take it.

Behind an activation no layer before can take them. TFLite's converter does the same with single
numbers, in one format alone; here both formats start from it.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from torch import Tensor, fx

from leansight.exporters.conversion.norm_folding import can_take, take
from leansight.exporters.conversion.torch_graph import (
    ATEN,
    MOVES,
    add_constants,
    given,
    replace,
    value_of,
)

# What a number does to a result: multiply it, or be added to it.
FACTORS: Final[Mapping[Any, Callable[[Any], Any]]] = {
    ATEN.mul.Tensor: lambda number: number,
    ATEN.mul.Scalar: lambda number: number,
    ATEN.div.Tensor: lambda number: 1 / number,
    ATEN.div.Scalar: lambda number: 1 / number,
}
SUMMANDS: Final[Mapping[Any, Callable[[Any], Any]]] = {
    ATEN.add.Tensor: lambda number: number,
    ATEN.add.Scalar: lambda number: number,
    ATEN.sub.Tensor: operator.neg,
    ATEN.sub.Scalar: operator.neg,
}
_LAYERS: Final = {ATEN.conv2d.default, ATEN.linear.default}
_COMMUTATIVE: Final = {ATEN.mul.Tensor, ATEN.add.Tensor}
_PADDING: Final = 4  # where a convolution has it among its arguments


def fold_affine_into_next(module: fx.GraphModule, node: fx.Node) -> None:
    """Fold a constant that something is multiplied by, or that is added to it, into what follows.

    A layer takes one number of all, or one of each feature that it reads; a sum only where it
    pads nothing, for its zeros are no sums.
    """
    parts = _source_and_constant(module, node)
    if parts is None:
        return
    source, value = parts
    factor = given(FACTORS[node.target](value) if node.target in FACTORS else None, 1)
    summand = given(SUMMANDS[node.target](value) if node.target in SUMMANDS else None, 0)
    takers = [reader for reader in node.users if _takes(module, reader, node, value)]
    for reader in takers:
        take(module, reader, factor.reshape(-1), summand.reshape(-1))
        reader.replace_input_with(node, source)
    for move in [user for user in node.users if user.target in MOVES and value.numel() == 1]:
        readers = list(move.users)
        if all(r.target is ATEN.linear.default and _takes(module, r, move, value) for r in readers):
            for reader in readers:
                take(module, reader, factor.reshape(-1), summand.reshape(-1))
            move.replace_input_with(node, source)
            takers += readers
    if not node.users:
        module.graph.erase_node(node)
    if takers:  # what they read now may be such a constant's as well
        fold_affine_into_next(module, source)


def subtract_as_sum(module: fx.GraphModule, node: fx.Node) -> None:
    """Write a constant that is taken away as its negative that is added, which int8 has in both."""
    if node.target not in {ATEN.sub.Tensor, ATEN.sub.Scalar}:
        return
    parts = _source_and_constant(module, node)
    if parts is None:
        return
    source, value = parts
    (constant,) = add_constants(module, node, -value)
    with module.graph.inserting_before(node):
        added = module.graph.call_function(ATEN.add.Tensor, (source, constant))
    replace(module, node, added)


def _source_and_constant(module: fx.GraphModule, node: fx.Node) -> tuple[fx.Node, Tensor] | None:
    """Return what a node multiplies or shifts, and by what; None if it does neither."""
    if node.target not in FACTORS and node.target not in SUMMANDS:
        return None
    if node.kwargs:
        return None
    orders = [node.args, node.args[::-1]] if node.target in _COMMUTATIVE else [node.args]
    for source, constant in orders:
        if not isinstance(source, fx.Node) or _is_constant(source):
            continue
        if isinstance(constant, int | float):
            return source, given(None, constant)
        value = value_of(module, constant) if _is_constant(constant) else None
        if value is not None:
            return source, value
    return None


def _takes(module: fx.GraphModule, reader: fx.Node, node: fx.Node, value: Tensor) -> bool:
    """Whether a layer reads what a node gives, and can compute it by weights of its own."""
    if reader.target not in _LAYERS or reader.args[0] is not node:
        return False
    if value_of(module, reader.args[1]) is None:
        return False
    if node.target in SUMMANDS and reader.target is ATEN.conv2d.default and _pads(reader):
        return False
    rank = node.meta["val"].ndim
    if value.numel() == 1:
        return bool(value.ndim <= rank)
    axis = rank - 1 if reader.target is ATEN.linear.default else 1
    aligned = (1,) * (rank - value.ndim) + value.shape
    alone = value.ndim <= rank and bool(aligned[axis] == value.numel())
    return alone and can_take(module, reader)


def _pads(layer: fx.Node) -> bool:
    padding = (*layer.args, 0, 0, 0)[_PADDING]
    return any(padding) if isinstance(padding, list | tuple) else bool(padding)


def _is_constant(argument: object) -> bool:
    return isinstance(argument, fx.Node) and argument.op == "get_attr"


def move_bias_into_sum(module: fx.GraphModule, node: fx.Node) -> None:
    """Let a constant that is added to a layer's result, such as of places, have its bias as well.

    TFLite's converter does this in one format alone.
    """
    if node.target is not ATEN.add.Tensor or node.kwargs:
        return
    source, constant = node.args
    if not isinstance(source, fx.Node) or source.target is not ATEN.conv2d.default:
        return
    if len(source.users) > 1 or not _is_constant(constant) or not source.args[2:3]:
        return
    if (bias := value_of(module, source.args[2])) is None:
        return
    places = given(value_of(module, constant), 0)
    (summed,) = add_constants(module, node, places + bias.reshape(-1, 1, 1))
    source.args = (*source.args[:2], None, *source.args[3:])
    node.args = (source, summed)
