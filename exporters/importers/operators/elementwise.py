"""ONNX's operators that work number by number, as torch functions."""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import reduce
from typing import Any, Final

import numpy as np
import torch
from torch import fx
from torch.nn import functional

from leansight.exporters.conversion.torch_graph import IMAGE_AXES
from leansight.exporters.importers.operators.node import Activation, Constant, Step

TWO: Final = 2  # activations that one is chosen of, or axes: images and features
_SELU: Final = {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}  # of self-normalisation
_WITH_CHANNELS: Final = frozenset({TWO, IMAGE_AXES})  # axes of what has its channels on axis 1


def _unary(function: Callable[..., Any], *, positive: bool = False) -> Callable[[Step], Activation]:
    def write(step: Step) -> Activation:
        source = step.activation()
        return step.like(source, function, source.node, positive=positive)

    return write


def _clip(step: Step) -> Activation:
    source = step.activation()
    low, high = step.setting("min", 1, -math.inf), step.setting("max", 2, math.inf)
    if (low, high) == (0, 6):
        return step.like(source, functional.relu6, source.node, positive=True)
    if (low, high) == (0, math.inf):
        return step.like(source, functional.relu, source.node, positive=True)
    return step.like(source, functional.hardtanh, source.node, low, high, positive=low >= 0)


def _hard_sigmoid(step: Step) -> Activation:
    source = step.activation()
    slope, middle = step.attributes.get("alpha", 0.2), step.attributes.get("beta", 0.5)
    if math.isclose(slope, 1 / 6, rel_tol=1e-6) and middle == 1 / 2:
        return step.like(source, functional.hardsigmoid, source.node, positive=True)
    scaled = step.graph.call_function(operator.mul, (source.node, slope))
    raised = step.graph.call_function(operator.add, (scaled, middle))
    return step.like(source, functional.hardtanh, raised, 0.0, 1.0, positive=True)


def _with_alpha(function: Callable[..., Any], otherwise: float) -> Callable[[Step], Activation]:
    def write(step: Step) -> Activation:
        source = step.activation()
        return step.like(source, function, source.node, step.attributes.get("alpha", otherwise))

    return write


def _selu(step: Step) -> Activation:
    source = step.activation()
    given = (step.attributes.get(name, own) for name, own in _SELU.items())
    if not np.allclose([*given], [*_SELU.values()], rtol=1e-6):
        raise step.refuse("a SELU with other constants than its own is not read")
    return step.like(source, functional.selu, source.node)


def _thresholded_relu(step: Step) -> Activation:
    source, bound = step.activation(), step.attributes.get("alpha", 1.0)
    return step.like(source, functional.threshold, source.node, bound, 0.0, positive=bound >= 0)


def _prelu(step: Step) -> Activation:
    source = step.plain()
    slopes = step.constant(1).reshape(-1)
    if len(slopes) not in (1, source.shape[1]):
        raise step.refuse("slopes other than one a channel are not read")
    return step.call(functional.prelu, source.node, step.weights(slopes))


def _power(step: Step) -> Activation:
    exponent = step.constant(1)
    if exponent.size != 1:
        raise step.refuse("powers other than one for all are not read")
    source = step.activation()
    return step.like(source, torch.pow, source.node, exponent.item())


def _gelu(step: Step) -> Activation:
    source, form = step.activation(), step.attributes.get("approximate", b"none").decode()
    node = step.graph.call_function(functional.gelu, (source.node,), {"approximate": form})
    return replace(source, node=node, affine=False, positive=False)


def _extremum(step: Step) -> Activation:
    """Write the larger or smaller of two; beside one constant number it is a bound."""
    is_max = step.node.op_type == "Max"
    match step.inputs:
        case [Activation() as source, np.ndarray() as bound] if bound.size == 1:
            pass
        case [np.ndarray() as bound, Activation() as source] if bound.size == 1:
            pass
        case _:
            return _each_after_the_other(step, torch.maximum if is_max else torch.minimum)
    bounds = (bound.item(), math.inf) if is_max else (-math.inf, bound.item())
    return step.like(source, functional.hardtanh, source.node, *bounds, positive=bounds[0] >= 0)


def _sum(step: Step) -> Activation:
    return _each_after_the_other(step, operator.add)


def _mean(step: Step) -> Activation:
    total = _each_after_the_other(step, operator.add)
    return step.call(operator.mul, total.node, 1 / len(step.inputs), order=total.order)


def _each_after_the_other(step: Step, function: Callable[..., Any]) -> Activation:
    """Join any number of activations and constants two by two."""
    operands, order = step.operands()
    tensors = (
        part if isinstance(part, fx.Node) else step.weights(np.array(part)) for part in operands
    )
    joined = reduce(lambda *two: step.graph.call_function(function, two), tensors)
    return Activation(node=joined, shape=step.shapes[0], order=order)


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
    (one, other), order = step.operands()
    positive = step.node.op_type != "Sub" and all(
        step.activation(index).positive for index in range(TWO)
    )
    return step.call(_BINARY[step.node.op_type], one, other, order=order, positive=positive)


def _with_constant(step: Step, source: Activation, number: Constant, *, first: bool) -> Activation:
    """Write what is done to an activation with a constant as factor × x + summand.

    One number a channel is a batch norm, which folding puts into the layer before it; so is one
    number that is done to the pixels.
    """
    if number.ndim > len(source.shape):
        raise step.refuse(f"a constant of shape {number.shape} for {source.shape} is not read")
    aligned = number.reshape((1,) * (len(source.shape) - number.ndim) + number.shape)
    aligned = aligned.astype(np.float64).transpose(np.argsort(source.order))
    if (step.node.op_type, first) == ("Div", False):
        turned = step.graph.call_function(torch.reciprocal, (source.node,))
        source, factor, summand = replace(source, node=turned), aligned, np.zeros_like(aligned)
    else:
        factor, summand = _factor_and_summand(step, aligned, first=first)
    alone = aligned.size == 1 and not source.affine
    shape = np.broadcast_shapes(source.shape, number.shape)
    is_repeated = shape != source.shape  # on axes that the constant has
    each = aligned.ndim in _WITH_CHANNELS and aligned.size == aligned.shape[1]
    if each and not alone and not is_repeated:
        return _scaled_channels(step, source, factor.reshape(-1), summand.reshape(-1))
    node, adds = source.node, step.node.op_type in {"Add", "Sub"}
    for function, part, idle in ((operator.mul, factor, 1), (operator.add, summand, 0)):
        repeats = is_repeated and adds is (function is operator.add)
        if repeats or (part != idle).any():
            argument = part.item() if part.size == 1 else step.weights(part)
            node = step.graph.call_function(function, (node, argument))
    return replace(source, node=node, shape=shape, affine=False, positive=False)


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
        case _:
            return 1 / number, zero


def _scaled_channels(
    step: Step, source: Activation, factor: Constant, summand: Constant
) -> Activation:
    channels = source.shape[source.order.index(1)]
    zero, one = np.zeros(channels), np.ones(channels)
    values = zero, one, np.broadcast_to(factor, channels), np.broadcast_to(summand, channels)
    parts = [step.weights(np.array(value)) for value in values]
    training = False
    result = step.like(source, functional.batch_norm, source.node, *parts, training, 0.0, 0.0)
    return replace(result, affine=source.affine)


ELEMENTWISE: Final[Mapping[str, Callable[[Step], Activation]]] = {
    "Abs": _unary(torch.abs, positive=True),
    "Add": _binary,
    "Ceil": _unary(torch.ceil),
    "Celu": _with_alpha(functional.celu, 1.0),
    "Clip": _clip,
    "Cos": _unary(torch.cos),
    "Div": _binary,
    "Elu": _with_alpha(functional.elu, 1.0),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp, positive=True),
    "Floor": _unary(torch.floor),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _unary(functional.hardswish),
    "LeakyRelu": _with_alpha(functional.leaky_relu, 0.01),
    "Log": _unary(torch.log),
    "Max": _extremum,
    "Mean": _mean,
    "Min": _extremum,
    "Mish": _unary(functional.mish),
    "Mul": _binary,
    "Neg": _unary(torch.neg),
    "PRelu": _prelu,
    "Pow": _power,
    "Reciprocal": _unary(torch.reciprocal),
    "Relu": _unary(functional.relu, positive=True),
    "Round": _unary(torch.round),
    "Selu": _selu,
    "Sigmoid": _unary(torch.sigmoid, positive=True),
    "Sign": _unary(torch.sign),
    "Sin": _unary(torch.sin),
    "Softplus": _unary(functional.softplus, positive=True),
    "Softsign": _unary(functional.softsign),
    "Sqrt": _unary(torch.sqrt, positive=True),
    "Sub": _binary,
    "Sum": _sum,
    "Tanh": _unary(torch.tanh),
    "ThresholdedRelu": _thresholded_relu,
}
