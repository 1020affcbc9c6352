"""Activations and normalisations that a graph writes out, recognised as one operator.

Older exporters and people write GELU, Mish or a layer norm as ten operators. As one, each keeps
one grid for its result in int8, and none for what lies inside.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final

import torch
from torch import Tensor, fx
from torch.nn import functional

from leansight.exporters.conversion.torch_graph import (
    ATEN,
    IMAGE_AXES,
    RESHAPES,
    channelwise,
    given,
    input_of,
    numbers_of,
    replace,
    value_of,
)

_POINTS: Final = torch.linspace(-12, 12, 385, dtype=torch.float64)  # where functions are compared
_TOLERANCE: Final = 1e-5  # GELU and its approximation by tanh are 4.7e-4 apart
_LONGEST: Final = 12  # operators
SQUARE: Final = 2  # the exponent
_ELEMENTWISE: Final = frozenset(
    {"abs", "add", "clamp", "clamp_min", "clamp_max", "div", "erf", "exp", "hardsigmoid"}
    | {"hardtanh", "log", "log1p", "mul", "neg", "pow", "reciprocal", "relu", "relu6", "rsqrt"}
    | {"sigmoid", "softplus", "sqrt", "sub", "tanh"}
)
_TANH: Final = {"approximate": "tanh"}
_ACTIVATIONS: Final[Sequence[tuple[Any, Callable[[Tensor], Tensor], Mapping[str, str]]]] = (
    (ATEN.gelu.default, functional.gelu, {}),
    (ATEN.gelu.default, partial(functional.gelu, approximate="tanh"), _TANH),
    (ATEN.silu.default, functional.silu, {}),
    (ATEN.hardswish.default, functional.hardswish, {}),
    (ATEN.hardsigmoid.default, functional.hardsigmoid, {}),
    (ATEN.mish.default, functional.mish, {}),
    (ATEN.softplus.default, functional.softplus, {}),
)


def recognise_activations(module: fx.GraphModule) -> None:
    """Write each activation of several operators as the one that gives the same numbers."""
    for node in reversed(list(module.graph.nodes)):
        if node.users and _name(node) in _ELEMENTWISE:
            _recognise_activation(module, node)
    module.graph.eliminate_dead_code()


def _recognise_activation(module: fx.GraphModule, node: fx.Node) -> None:
    for source in _sources(node):
        values = _evaluate(module, node, source)
        if values is None or values.shape != _POINTS.shape:
            continue
        for target, function, options in _ACTIVATIONS:
            if (function(_POINTS) - values).abs().max() < _TOLERANCE:
                with module.graph.inserting_before(node):
                    one = module.graph.call_function(target, (source,), dict(options))
                replace(module, node, one)
                return


def _sources(node: fx.Node) -> Iterator[fx.Node]:
    """Give what a chain of two operators or more may be a function of, the farthest first."""
    found: dict[fx.Node, None] = {}
    stack, inside = [node], {node}
    while stack and len(inside) <= _LONGEST:
        for source in stack.pop().all_input_nodes:
            if source.op != "get_attr":
                found[source] = None
            if source not in inside and _name(source) in _ELEMENTWISE:
                inside.add(source)
                stack.append(source)
    direct = set(node.all_input_nodes)
    yield from (s for s in reversed(found) if s not in direct or len(direct) > 1)


def _evaluate(module: fx.GraphModule, node: fx.Node, source: fx.Node) -> Tensor | None:
    """Return what a node gives where `source` is `_POINTS`; None if it depends on more."""
    values: dict[fx.Node, Tensor] = {source: _POINTS}

    def of(argument: object) -> object:
        if not isinstance(argument, fx.Node):
            return argument
        if argument in values:
            return values[argument]
        if argument.op == "get_attr":
            value = attrgetter(str(argument.target))(module)
            if value.numel() != 1:
                raise _OtherInputError
            return value.double().reshape(())
        if _name(argument) not in _ELEMENTWISE:
            raise _OtherInputError
        result: Tensor = argument.target(*map(of, argument.args), **argument.kwargs)  # type: ignore[operator]
        values[argument] = result
        return result

    try:
        found = of(node)
    except _OtherInputError:
        return None
    assert isinstance(found, Tensor)
    return found


class _OtherInputError(Exception):
    """A function depends on something else than its source."""


def _name(node: fx.Node) -> str:
    """Return an ATen operator's name without its overload; nothing for other nodes."""
    name = str(node.target)
    return name.removeprefix("aten.").partition(".")[0] if name.startswith("aten.") else ""


def recognise_layer_norm(module: fx.GraphModule, node: fx.Node) -> None:
    """Write (x - mean) / sqrt(variance + epsilon) as a layer norm over the same axes."""
    match _name(node), node.args:
        case "div", [fx.Node() as centred, fx.Node() as root] if _name(root) == "sqrt":
            pass
        case "mul", [fx.Node() as centred, fx.Node() as root] if _name(root) == "rsqrt":
            pass
        case "mul", [fx.Node() as centred, fx.Node() as turned] if _name(turned) == "reciprocal":
            root = input_of(turned)
        case _:
            return
    source, dims = _centred(centred)
    raised = root.args[0]
    if source is None or not isinstance(raised, fx.Node) or _name(raised) != "add":
        return
    variance, epsilon = raised.args
    if not isinstance(variance, fx.Node) or not isinstance(epsilon, float):
        return
    over, squares = _mean_over(variance)
    if over != dims or squares is None or not _is_square(squares, centred):
        return
    replace(module, node, normalise(module, node, source, dims, epsilon))


def normalise(
    module: fx.GraphModule, node: fx.Node, source: fx.Node, dims: list[int], epsilon: float
) -> fx.Node:
    """Write the layer norm of a tensor over some of its axes, before `node`."""
    shape = source.meta["val"].shape
    order = [axis for axis in range(len(shape)) if axis not in dims] + dims
    sizes = [int(shape[axis]) for axis in dims]
    with module.graph.inserting_before(node):
        call = module.graph.call_function
        if order == sorted(order):
            return call(ATEN.layer_norm.default, (source, sizes, None, None, epsilon))
        turned = call(ATEN.permute.default, (source, order))
        result = call(ATEN.layer_norm.default, (turned, sizes, None, None, epsilon))
        turned.meta["val"] = result.meta["val"] = source.meta["val"].permute(order)
        back = [order.index(axis) for axis in range(len(shape))]
        return call(ATEN.permute.default, (result, back))


def _centred(node: fx.Node) -> tuple[fx.Node | None, list[int]]:
    """Return the tensor that has its mean taken away, and over which axes; None for no such."""
    match _name(node), node.args:
        case "sub", [fx.Node() as source, fx.Node() as mean]:
            over, of = _mean_over(mean)
            if of is source:
                return source, over
    return None, []


def _mean_over(node: fx.Node) -> tuple[list[int], fx.Node | None]:
    if node.target is not ATEN.mean.dim or node.args[2:] != (True,):
        return [], None
    source = input_of(node)
    rank = source.meta["val"].ndim
    return sorted(axis % rank for axis in numbers_of(node.args[1])), source


def _is_square(node: fx.Node, of: fx.Node) -> bool:
    match _name(node), node.args:
        case "pow", [base, exponent]:
            return base is of and bool(exponent == SQUARE)
        case "mul", [one, other]:
            return one is of and other is of
    return False


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
    whole = grouped.args[0]
    if {grouped.target, after.target} - RESHAPES or len(node.users) > 1:
        return None, node
    assert isinstance(whole, fx.Node)
    shape, groups = whole.meta["val"].shape, node.args[1]
    idle = [value_of(module, part) for part in (*node.args[2:4], None, None)[:2]]
    same = shape == after.meta["val"].shape and grouped.meta["val"].shape[1] == groups
    trivial = bool((given(idle[0], 1) == 1).all()) and not given(idle[1], 0).any()
    if same and trivial and len(shape) == IMAGE_AXES and shape[1] % groups == 0:
        return whole, after
    return None, node
