"""Activations that a graph writes out, recognised as one operator.

Older exporters and people write GELU or Mish as ten operators. As one, each keeps one grid for its
result in int8, and none for what lies inside.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final

import torch
from torch import Tensor, fx
from torch.nn import functional

from leansight.exporters.conversion.torch_graph import ATEN, operator_name, replace

_POINTS: Final = torch.linspace(-12, 12, 385, dtype=torch.float64)  # where functions are compared
_TOLERANCE: Final = 1e-5  # GELU and its approximation by tanh are 4.7e-4 apart
_LONGEST: Final = 12  # operators
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
        if node.users and operator_name(node) in _ELEMENTWISE:
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
            if source not in inside and operator_name(source) in _ELEMENTWISE:
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
        if operator_name(argument) not in _ELEMENTWISE:
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
