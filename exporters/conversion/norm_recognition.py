"""Normalisations that a graph writes out, recognised as one operator.

As one, a layer norm keeps one grid for its result in int8, and none for what lies inside.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx

from leansight.exporters.conversion.torch_graph import (
    ATEN,
    IMAGE_AXES,
    RESHAPES,
    add_constants,
    channelwise,
    given,
    input_of,
    numbers_of,
    operator_name,
    replace,
    value_of,
)


@dataclass(frozen=True, kw_only=True)
class _Moments:
    """A tensor's mean over some axes, the two's difference, and what its variance is raised by."""

    source: fx.Node
    mean: fx.Node
    centred: fx.Node
    dims: list[int]
    epsilon: float


def recognise_layer_norm(module: fx.GraphModule, node: fx.Node) -> None:
    """Write (x - mean) / sqrt(variance + epsilon) as a layer norm over the same axes."""
    for centred, deviation in _operands(node, "mul", "div"):
        moments = _moments(deviation, is_divisor=operator_name(node) == "div")
        if moments is not None and moments.centred is centred:
            norm = normalise(module, node, moments.source, moments.dims, moments.epsilon)
            replace(module, node, norm)
            return


def recognise_layer_norm_as_sum(module: fx.GraphModule, node: fx.Node) -> None:
    """Write x × s + (shift - mean × s) as a layer norm: s is scale / sqrt(variance + epsilon).

    TensorFlow computes it so. Scale and shift are of the axis that has the mean, or left out.
    """
    for product, rest in _operands(node, "add"):
        for source, factor in _operands(product, "mul"):
            scale, deviation = _scale(module, factor)
            shift, taken = _shift(module, rest)
            moments = _moments(deviation)
            if moments is None or moments.source is not source or len(moments.dims) > 1:
                continue
            if not any(
                operator_name(turned) == "neg" and input_of(turned) is moments.mean and by is factor
                for turned, by in _operands(taken, "mul")
            ):
                continue
            (axis,), shape = moments.dims, source.meta["val"].shape
            along = tuple(n if i == axis else 1 for i, n in enumerate(shape))
            parts = given(scale, 1), given(shift, 0)
            if all(np.broadcast_shapes(part.shape, along) == along for part in parts):
                flat = [part.expand(along).flatten() for part in parts]
                norm = normalise(module, node, source, moments.dims, moments.epsilon, flat)
                replace(module, node, norm)
                return


def _operands(node: fx.Node, *names: str) -> Iterator[tuple[fx.Node, fx.Node]]:
    """Give the two nodes that an operator of these takes, in both orders where none matters.

    None of one with `alpha` or `rounding_mode`, which computes something else.
    """
    match () if node.kwargs else node.args:
        case [fx.Node() as one, fx.Node() as other] if operator_name(node) in names:
            yield one, other
            if operator_name(node) != "div":
                yield other, one


def _moments(deviation: fx.Node, *, is_divisor: bool = False) -> _Moments | None:
    """Return what 1 / sqrt(variance + epsilon) is of, or the root alone of a divisor."""
    root = deviation
    if not is_divisor and operator_name(deviation) == "reciprocal":
        root, is_divisor = input_of(deviation), True
    if operator_name(root) != ("sqrt" if is_divisor else "rsqrt"):
        return None
    match input_of(root).args:
        case [fx.Node() as variance, float() as epsilon] if operator_name(input_of(root)) == "add":
            dims, square = _mean_over(variance)
        case _:
            return None
    centred = None if square is None else _square_root(square)
    if (
        centred is None
        or operator_name(centred) != "sub"
        or centred.kwargs
        or input_of(root).kwargs
    ):
        return None
    source, mean = centred.args[:2]
    if not isinstance(mean, fx.Node) or _mean_over(mean) != (dims, source):
        return None
    assert isinstance(source, fx.Node)
    return _Moments(source=source, mean=mean, centred=centred, dims=dims, epsilon=epsilon)


def _mean_over(node: fx.Node) -> tuple[list[int], fx.Node | None]:
    if node.target is not ATEN.mean.dim or node.args[2:] != (True,):
        return [], None
    source = input_of(node)
    rank = source.meta["val"].ndim
    return sorted(axis % rank for axis in numbers_of(node.args[1])), source


def _square_root(node: fx.Node) -> fx.Node | None:
    """Return what a node is the square of."""
    match operator_name(node), node.args:
        case ("pow", [fx.Node() as base, 2]) | ("mul", [fx.Node() as base, _]):
            return base if set(node.all_input_nodes) == {base} else None
    return None


def _scale(module: fx.GraphModule, node: fx.Node) -> tuple[Tensor | None, fx.Node]:
    """Return the constant that a node multiplies something with, and that; or None, and itself."""
    for source, constant in _operands(node, "mul"):
        if constant.op == "get_attr":
            return value_of(module, constant), source
    return None, node


def _shift(module: fx.GraphModule, node: fx.Node) -> tuple[Tensor | None, fx.Node]:
    """Return the constant that a node adds to something, and that; or None, and itself.

    One number a channel may have come as a batch norm that does nothing else.
    """
    for source, constant in _operands(node, "add"):
        if constant.op == "get_attr":
            return value_of(module, constant), source
    if node.target is ATEN.batch_norm.default and not node.args[7]:
        weight, bias, mean, variance = (value_of(module, part) for part in node.args[1:5])
        if (
            all((given(part, 1) == 1).all() for part in (weight, variance))
            and not given(mean, 0).any()
        ):
            rank = node.meta["val"].ndim
            return given(bias, 0).reshape(-1, *(1,) * (rank - 2)), input_of(node)
    return None, node


def normalise(
    module: fx.GraphModule,
    node: fx.Node,
    source: fx.Node,
    dims: list[int],
    epsilon: float,
    parts: Sequence[Tensor] = (),
) -> fx.Node:
    """Write the layer norm of a tensor over some of its axes, before `node`.

    `parts`: scale and shift, of these axes' own shape; none leaves both out.
    """
    shape = source.meta["val"].shape
    order = [axis for axis in range(len(shape)) if axis not in dims] + dims
    sizes = [int(shape[axis]) for axis in dims]
    affine: Sequence[fx.Node | None] = add_constants(module, node, *parts) or [None, None]
    with module.graph.inserting_before(node):
        call = module.graph.call_function
        if order == sorted(order):
            return call(ATEN.layer_norm.default, (source, sizes, *affine, epsilon))
        turned = call(ATEN.permute.default, (source, order))
        result = call(ATEN.layer_norm.default, (turned, sizes, *affine, epsilon))
        turned.meta["val"] = result.meta["val"] = source.meta["val"].permute(order)
        back = [order.index(axis) for axis in range(len(shape))]
        return call(ATEN.permute.default, (result, back))


def recognise_group_norm(module: fx.GraphModule, node: fx.Node) -> None:
    """Write a group norm of one group as a layer norm, and one of reshaped channels as it was."""
    if node.target is not ATEN.group_norm.default:
        return
    source, (_, groups, weight, bias, epsilon, *_) = input_of(node), (*node.args, None, None, 1e-5)
    whole, after = _around_groups(module, node)
    if whole is not None:
        source, weight, bias = whole, None, None
    assert isinstance(epsilon, float)
    if groups == 1 and source.meta["val"].ndim == IMAGE_AXES:
        result = normalise(module, node, source, [2, 3, 1], epsilon)
        result.meta["val"] = source.meta["val"]
        factor, summand = value_of(module, weight), value_of(module, bias)
        if factor is not None:
            ones = torch.ones(source.meta["val"].shape[1], dtype=torch.float64)
            node.args = (result, *node.args[1:])
            result = channelwise(module, node, ones * factor, ones * given(summand, 0))
    elif whole is not None:
        with module.graph.inserting_before(node):
            arguments = (source, groups, None, None, epsilon)
            result = module.graph.call_function(ATEN.group_norm.default, arguments)
    else:
        return
    replace(module, after, result)


def _around_groups(module: fx.GraphModule, node: fx.Node) -> tuple[fx.Node | None, fx.Node]:
    """Return the image whose channels were put into groups, and what puts them back; or neither."""
    grouped, after = input_of(node), next(iter(node.users))
    if {grouped.target, after.target} - RESHAPES or len(node.users) > 1:
        return None, node
    shape, groups = after.meta["val"].shape, node.args[1]
    idle = [value_of(module, part) for part in (*node.args[2:4], None, None)[:2]]
    trivial = bool((given(idle[0], 1) == 1).all()) and not given(idle[1], 0).any()
    if (
        not trivial
        or len(shape) != IMAGE_AXES
        or shape[1] % groups
        or grouped.meta["val"].shape[1] != groups
    ):
        return None, node
    whole = input_of(grouped)
    if whole.meta["val"].shape != shape:  # a picture only behind the norm
        with module.graph.inserting_before(node):
            picture = module.graph.call_function(ATEN.reshape.default, (whole, [-1, *shape[1:]]))
        picture.meta["val"] = after.meta["val"]
        whole = picture
    return whole, after
