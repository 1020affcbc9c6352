"""Affine folding: constants that multiply or shift something, put into the layers that take it.

Behind an activation no layer before can take them. TFLite's converter does the same with single
numbers, in one format alone; here both formats start from it.
"""

import operator
from collections.abc import Callable
from typing import Any, Final

from torch import Tensor, fx
from torch.fx.node import Argument

from leansight.exporters.conversion.norm_folding import can_take, take
from leansight.exporters.conversion.torch_graph import (
    ATEN,
    MOVES,
    RESHAPES,
    add_constants,
    given,
    input_of,
    replace,
    value_of,
)

# With a constant; others are written as these (`write_as_sum_or_product`).
FACTORS: Final = {ATEN.mul.Tensor, ATEN.mul.Scalar}
SUMMANDS: Final = {ATEN.add.Tensor, ATEN.add.Scalar}
_LAYERS: Final = {ATEN.conv2d.default, ATEN.linear.default}
# What gives the same of numbers that were multiplied or shifted before, and after.
_INDIFFERENT: Final = MOVES | {ATEN.adaptive_avg_pool2d.default, ATEN.mean.dim}
_COMMUTATIVE: Final = {ATEN.mul.Tensor, ATEN.add.Tensor}
_PADDING: Final = 4  # where a convolution has it among its arguments


def write_as_sum_or_product(module: fx.GraphModule, node: fx.Node) -> None:
    """Write a difference, quotient or negative as a sum or product with a constant.

    Those both formats compute in integers.
    """
    if node.kwargs:  # `alpha` of a difference, `rounding_mode` of a quotient
        return
    call = module.graph.call_function
    one, other = (*node.args, None, None)[:2]
    with module.graph.inserting_before(node):
        match node.target:
            case ATEN.neg.default:
                result = call(ATEN.mul.Tensor, (one, -1.0))
            case ATEN.pow.Tensor_Scalar if other == 2:  # noqa: PLR2004 -- a square
                result = call(ATEN.mul.Tensor, (one, one))
            case ATEN.pow.Tensor_Scalar if other == 3:  # noqa: PLR2004 -- a cube
                result = call(ATEN.mul.Tensor, (call(ATEN.mul.Tensor, (one, one)), one))
            case ATEN.rsub.Scalar if not node.args[2:]:
                result = call(ATEN.add.Tensor, (call(ATEN.mul.Tensor, (one, -1.0)), other))
            case ATEN.sub.Tensor if _is_number(module, one):
                result = call(ATEN.add.Tensor, (call(ATEN.mul.Tensor, (other, -1.0)), one))
            case ATEN.sub.Tensor | ATEN.sub.Scalar if _is_number(module, other):
                result = call(ATEN.add.Tensor, (one, _change(module, node, other, operator.neg)))
            case ATEN.div.Tensor | ATEN.div.Scalar if other != 0 and _is_number(module, other):
                result = call(ATEN.mul.Tensor, (one, _change(module, node, other, lambda n: 1 / n)))
            case _:
                return
    replace(module, node, result)


def _is_number(module: fx.GraphModule, argument: object) -> bool:
    """Whether it is one constant, or a tensor of them."""
    if isinstance(argument, int | float):
        return True
    return _is_constant(argument) and value_of(module, argument) is not None


def _change(
    module: fx.GraphModule, node: fx.Node, argument: object, function: Callable[[Any], Any]
) -> Argument:
    """Return what stands in the graph for a function of a constant."""
    if isinstance(argument, int | float):
        return float(function(float(argument)))
    (changed,) = add_constants(module, node, function(given(value_of(module, argument), 0)))
    return changed


def fold_affine_into_next(module: fx.GraphModule, node: fx.Node) -> None:
    """Fold a constant that something is multiplied by, or that is added to it, into what follows.

    A layer takes one number of all, or one of each feature that it reads; a sum only where it
    pads nothing, for its zeros are no sums.
    """
    parts = _source_and_constant(module, node)
    if parts is None:
        return
    source, value = parts
    is_sum = node.target in SUMMANDS
    factor, summand = given(None if is_sum else value, 1), given(value if is_sum else None, 0)
    are_taken = False
    for reader in list(node.users):
        layers = _layers_that_take(module, reader, node, value, is_sum=is_sum)
        for layer in layers:
            take(module, layer, factor.reshape(-1), summand.reshape(-1))
        if layers:
            reader.replace_input_with(node, source)
            are_taken = True
    if not node.users:
        module.graph.erase_node(node)
    if are_taken:  # by layers that now read what is before
        fold_affine_into_next(module, source)


def drop_idle_constant(module: fx.GraphModule, node: fx.Node) -> None:
    """Leave out a product with ones and a sum with zeros, as TFLite's converter does alone."""
    parts = _source_and_constant(module, node)
    if parts is None or not {"val"} <= node.meta.keys() & parts[0].meta.keys():
        return
    source, value = parts
    is_idle = bool((value == (0 if node.target in SUMMANDS else 1)).all())
    if is_idle and source.meta["val"].shape == node.meta["val"].shape:
        replace(module, node, source)


def merge_constants(module: fx.GraphModule, node: fx.Node) -> None:
    """Join two constants that are added, or multiplied with, one after the other.

    TFLite's converter does this in one format alone; and int8 rounds once.
    """
    group = FACTORS if node.target in FACTORS else SUMMANDS
    outer = _source_and_constant(module, node)
    if outer is None or outer[0].target not in group or len(outer[0].users) > 1:
        return
    inner = _source_and_constant(module, outer[0])
    if inner is None:
        return
    (_, last), (source, first) = outer, inner
    joined = first + last if group is SUMMANDS else first * last
    constant: Argument = (
        joined.item() if joined.ndim == 0 else add_constants(module, node, joined)[0]
    )
    node.args = (source, constant)


def _source_and_constant(module: fx.GraphModule, node: fx.Node) -> tuple[fx.Node, Tensor] | None:
    """Return what a node multiplies or shifts, and by what; None if it does neither."""
    if node.target not in FACTORS | SUMMANDS:
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


def _layers_that_take(
    module: fx.GraphModule, reader: fx.Node, read: fx.Node, value: Tensor, *, is_sum: bool
) -> list[fx.Node]:
    """Return the reader if it can take the constant by weights of its own, else none.

    Where one number of all is only moved, all layers behind the move, if they all can take it.
    """
    if reader.target in _INDIFFERENT and value.numel() == 1:
        behind = [
            _layers_that_take(module, user, reader, value, is_sum=is_sum) for user in reader.users
        ]
        return [layer for layers in behind for layer in layers] if all(behind) else []
    return [reader] if _takes(module, reader, read, value, is_sum=is_sum) else []


def _takes(
    module: fx.GraphModule, layer: fx.Node, read: fx.Node, value: Tensor, *, is_sum: bool
) -> bool:
    if layer.target not in _LAYERS or layer.args[0] is not read:
        return False
    if value_of(module, layer.args[1]) is None:
        return False
    if is_sum and layer.target is ATEN.conv2d.default and _pads(layer):
        return False
    rank = read.meta["val"].ndim
    if value.numel() == 1:
        return bool(value.ndim <= rank)
    axis = rank - 1 if layer.target is ATEN.linear.default else 1
    aligned = (1,) * (rank - value.ndim) + value.shape
    alone = value.ndim <= rank and bool(aligned[axis] == value.numel())
    return alone and can_take(module, layer)


def _pads(layer: fx.Node) -> bool:
    padding = (*layer.args, 0, 0, 0)[_PADDING]
    return any(padding) if isinstance(padding, list | tuple) else bool(padding)


def _is_constant(argument: object) -> bool:
    return isinstance(argument, fx.Node) and argument.op == "get_attr"


def move_bias_into_next(module: fx.GraphModule, node: fx.Node) -> None:
    """Let a dense layer that follows another one at once add the bias of that as well.

    What else reads the first one's result gets its bias by a sum. TFLite's converter does both, in
    one format alone.
    """
    if node.target is not ATEN.linear.default or not can_take(module, node):
        return
    before = input_of(node)
    while before.target in RESHAPES:
        before = input_of(before)
    if before.target is not ATEN.linear.default:
        return
    bias, weight = (value_of(module, part) for part in ((*before.args, None)[2], node.args[1]))
    if bias is None or weight is None or weight.shape[1] != len(bias):
        return
    take(module, node, given(None, 1), bias)
    node.args = (before, *node.args[1:])
    others = [user for user in before.users if user is not node]
    if others:
        (constant,) = add_constants(module, before, bias)
        with module.graph.inserting_after(before):
            summed = module.graph.call_function(ATEN.add.Tensor, (before, constant))
        for user in others:
            user.replace_input_with(before, summed)
    before.args = before.args[:2]


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
