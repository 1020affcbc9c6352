"""ONNX's operators that work number by number, as torch functions."""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from torch import fx
from torch.nn import functional

from leansight.exporters.importers.onnx_node import Activation, Constant, Step


def _unary(function: Callable[..., Any], *, positive: bool = False) -> Callable[[Step], Activation]:
    def write(step: Step) -> Activation:
        source = step.activation()
        return step.call(function, source.node, order=source.order, positive=positive)

    return write


def _clip(step: Step) -> Activation:
    source = step.activation()
    low, high = step.setting("min", 1, -math.inf), step.setting("max", 2, math.inf)
    order, positive = source.order, low >= 0
    if (low, high) == (0, 6):
        return step.call(functional.relu6, source.node, order=order, positive=True)
    if (low, high) == (0, math.inf):
        return step.call(functional.relu, source.node, order=order, positive=True)
    return step.call(functional.hardtanh, source.node, low, high, order=order, positive=positive)


def _hard_sigmoid(step: Step) -> Activation:
    source = step.activation()
    slope, middle = step.attributes.get("alpha", 0.2), step.attributes.get("beta", 0.5)
    if math.isclose(slope, 1 / 6, rel_tol=1e-6) and middle == 1 / 2:
        return step.call(functional.hardsigmoid, source.node, order=source.order, positive=True)
    scaled = step.graph.call_function(operator.mul, (source.node, slope))
    raised = step.graph.call_function(operator.add, (scaled, middle))
    arguments = (raised, 0.0, 1.0)
    return step.call(functional.hardtanh, *arguments, order=source.order, positive=True)


def _leaky_relu(step: Step) -> Activation:
    source, slope = step.activation(), step.attributes.get("alpha", 0.01)
    return step.call(functional.leaky_relu, source.node, slope, order=source.order)


def _elu(step: Step) -> Activation:
    source, alpha = step.activation(), step.attributes.get("alpha", 1.0)
    return step.call(functional.elu, source.node, alpha, order=source.order)


def _prelu(step: Step) -> Activation:
    source = step.plain()
    slopes = step.constant(1).reshape(-1)
    if len(slopes) not in (1, source.shape[1]):
        raise step.refuse("slopes other than one a channel are not read")
    return step.call(functional.prelu, source.node, step.weights(slopes))


_BINARY: Final[Mapping[str, Callable[..., Any]]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": operator.truediv,
}


def _binary(step: Step) -> Activation:
    match step.inputs:
        case [Activation(), np.ndarray() as number]:
            return _with_constant(step, step.activation(0), number, first=True)
        case [np.ndarray() as number, Activation()]:
            return _with_constant(step, step.activation(1), number, first=False)
    one, other = step.activation(0), step.activation(1)
    if one.order != other.order:
        one, other = step.plain(0), step.plain(1)
    for gated, gate in ((one, other), (other, one)):
        if step.node.op_type == "Mul" and _gives(gate.node, functional.hardsigmoid, gated.node):
            return step.call(functional.hardswish, gated.node, order=one.order)
    positive = one.positive and other.positive and step.node.op_type != "Sub"
    function = _BINARY[step.node.op_type]
    return step.call(function, one.node, other.node, order=one.order, positive=positive)


def _with_constant(step: Step, source: Activation, number: Constant, *, first: bool) -> Activation:
    """Write what is done to an activation with a constant as factor × x + summand.

    relu6(x + 3) / 6, as Keras writes it, is a hard sigmoid. One number a channel is a batch norm,
    which folding puts into the layer before it; so is one number that is done to the pixels.
    """
    if np.broadcast_shapes(source.shape, number.shape) != source.shape:
        raise step.refuse(f"a constant of shape {number.shape} for {source.shape} is not read")
    aligned = number.reshape((1,) * (len(source.shape) - number.ndim) + number.shape)
    aligned = aligned.astype(np.float64).transpose(np.argsort(source.order))
    factor, summand = _factor_and_summand(step, aligned, first=first)
    alone = aligned.size == 1 and not source.affine
    if alone and math.isclose(factor.item(), 1 / 6, rel_tol=1e-6) and not summand.any():
        raised = source.node.args[0] if _gives(source.node, functional.relu6) else None
        if isinstance(raised, fx.Node) and _gives(raised, operator.add):
            inside, *added = raised.args
            if added == [3]:
                return step.call(functional.hardsigmoid, inside, order=source.order, positive=True)
    if aligned.ndim > 1 and aligned.size == aligned.shape[1] and not alone:
        return _scaled_channels(step, source, factor.reshape(-1), summand.reshape(-1))
    node = source.node
    for function, part, idle in ((operator.mul, factor, 1), (operator.add, summand, 0)):
        if (part != idle).any():
            argument = part.item() if part.size == 1 else step.weights(part)
            node = step.graph.call_function(function, (node, argument))
    return replace(source, node=node, affine=False, positive=False)


def _gives(node: fx.Node, function: Callable[..., Any], of: fx.Node | None = None) -> bool:
    """Whether a node is a call of the function, of another node if one is given."""
    return node.target is function and (of is None or node.args[0] is of)


def _factor_and_summand(step: Step, number: Constant, *, first: bool) -> tuple[Constant, Constant]:
    one, zero = np.ones_like(number), np.zeros_like(number)
    match step.node.op_type, first:
        case "Add", _:
            return one, number
        case "Sub", True:
            return one, -number
        case "Sub", False:
            return -one, number
        case "Mul", _:
            return number, zero
        case "Div", True:
            return 1 / number, zero
        case _:
            raise step.refuse("a number divided by an activation is not read")


def _scaled_channels(
    step: Step, source: Activation, factor: Constant, summand: Constant
) -> Activation:
    channels = source.shape[source.order.index(1)]
    zero, one = np.zeros(channels), np.ones(channels)
    values = zero, one, np.broadcast_to(factor, channels), np.broadcast_to(summand, channels)
    parts = [step.weights(np.array(value)) for value in values]
    arguments = (source.node, *parts, False, 0.0, 0.0)
    return step.call(functional.batch_norm, *arguments, order=source.order, affine=source.affine)


ELEMENTWISE: Final[Mapping[str, Callable[[Step], Activation]]] = {
    "Add": _binary,
    "Clip": _clip,
    "Div": _binary,
    "Elu": _elu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _unary(functional.hardswish),
    "LeakyRelu": _leaky_relu,
    "Mul": _binary,
    "PRelu": _prelu,
    "Relu": _unary(functional.relu, positive=True),
    "Sigmoid": _unary(torch.sigmoid, positive=True),
    "Sub": _binary,
    "Tanh": _unary(torch.tanh),
}
