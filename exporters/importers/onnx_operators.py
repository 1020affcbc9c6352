"""The operators of image classifiers in ONNX as torch functions.

The libraries that read ONNX into torch have not kept up (onnx2torch 1.5.15, of 2024, knows opset
17 at most). A graph that ONNX Runtime has simplified needs few operators; what is not among
them is refused by name. A transposition is only noted, and made where an operator needs it, so
that a network that was written channels last ends up without any.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import onnx
import torch
from torch import fx
from torch.nn import functional

from leansight.exporters.conversion.torch_graph import IMAGE_AXES
from leansight.exporters.importers.onnx_node import Activation, Constant, Step

MATRIX_AXES: Final = 2
_FLOAT: Final = onnx.TensorProto.FLOAT


# Layers


def _conv(step: Step) -> Activation:
    image, kernel, bias = step.plain(axes=IMAGE_AXES), step.constant(1), step.optional(2)
    strides, dilations = _pair(step, "strides"), _pair(step, "dilations")
    node, padding = _padded(step, image, kernel.shape[2:], strides, dilations, 0.0)
    weights = step.weights(kernel), None if bias is None else step.weights(bias)
    group = step.attributes.get("group", 1)
    return step.call(functional.conv2d, node, *weights, strides, padding, dilations, group)


def _gemm(step: Step) -> Activation:
    if step.attributes.get("transA", 0):
        raise step.refuse("transA is not read")
    weight, bias = step.constant(1), step.optional(2)
    rows = weight if step.attributes.get("transB", 0) else weight.T
    rows = rows * step.attributes.get("alpha", 1.0)
    if bias is None:
        return _linear(step, rows, None)
    bias = np.broadcast_to(bias.reshape(-1), len(rows)) * step.attributes.get("beta", 1.0)
    return _linear(step, rows, bias)


def _matmul(step: Step) -> Activation:
    weight = step.constant(1)
    if weight.ndim != MATRIX_AXES:
        raise step.refuse(f"its weights have {weight.ndim} axes, not 2")
    return _linear(step, weight.T, None)


def _linear(step: Step, rows: Constant, bias: Constant | None) -> Activation:
    source = step.plain(axes=MATRIX_AXES)
    added = None if bias is None else step.weights(bias)
    return step.call(functional.linear, source.node, step.weights(rows), added)


def _batch_norm(step: Step) -> Activation:
    source = step.activation()
    if source.order[1] != 1:
        source = step.plain()
    factor, summand, mean, variance = (step.weights(step.constant(i)) for i in range(1, 5))
    epsilon = step.attributes.get("epsilon", 1e-5)
    arguments = (source.node, mean, variance, factor, summand, False, 0.0, epsilon)
    return step.call(functional.batch_norm, *arguments, order=source.order, affine=source.affine)


# Pooling


def _max_pool(step: Step) -> Activation:
    if len(step.node.output) > 1:
        raise step.refuse("the positions of maxima are not read")
    source = step.plain(axes=IMAGE_AXES)
    kernel, strides, dilations = (
        _pair(step, name) for name in ("kernel_shape", "strides", "dilations")
    )
    # Beside what is never negative, zero changes no maximum, and is a number in int8.
    nothing = 0.0 if source.positive else -math.inf
    node, padding = _padded(step, source, kernel, strides, dilations, nothing)
    ceil = bool(step.attributes.get("ceil_mode", 0))
    arguments = (node, kernel, strides, padding, dilations, ceil)
    return step.call(functional.max_pool2d, *arguments, positive=source.positive)


def _average_pool(step: Step) -> Activation:
    source = step.plain(axes=IMAGE_AXES)
    kernel, strides = _pair(step, "kernel_shape"), _pair(step, "strides")
    if _pair(step, "dilations") != (1, 1):
        raise step.refuse("dilations are not read")
    counted = bool(step.attributes.get("count_include_pad", 0))
    node, padding = _padded(step, source, kernel, strides, (1, 1), 0.0)
    if node is not source.node and not counted:
        raise step.refuse("a mean that leaves out padding of unequal sides is not read")
    ceil = bool(step.attributes.get("ceil_mode", 0))
    arguments = (node, kernel, strides, padding, ceil, counted)
    return step.call(functional.avg_pool2d, *arguments, positive=source.positive)


def _global_average_pool(step: Step) -> Activation:
    source = step.plain(axes=IMAGE_AXES)
    keep = True  # height and width, as one pixel
    return step.call(torch.mean, source.node, (2, 3), keep, positive=source.positive)


def _global_max_pool(step: Step) -> Activation:
    source = step.plain(axes=IMAGE_AXES)
    return step.call(functional.max_pool2d, source.node, source.shape[2:], positive=source.positive)


def _reduce_mean(step: Step) -> Activation:
    source = step.activation()
    axes = step.setting("axes", 1, [])
    if not axes:
        raise step.refuse("a mean over everything is not read")
    left_out = {axis % len(source.shape) for axis in axes}
    keep = bool(step.attributes.get("keepdims", 1))
    dims = tuple(sorted(source.order[axis] for axis in left_out))
    rest = [at for axis, at in enumerate(source.order) if keep or axis not in left_out]
    order = tuple(sorted(rest).index(at) for at in rest)
    return step.call(torch.mean, source.node, dims, keep, order=order, positive=source.positive)


# Element by element


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


# What only moves numbers


def _same(step: Step) -> Activation:
    if step.node.op_type == "Cast" and step.attributes["to"] != _FLOAT:
        raise step.refuse("of numbers only float32 is read")
    return step.activation()


def _reshape(step: Step) -> Activation:
    source, shape = step.activation(), step.shapes[0]
    if shape == source.shape:
        return source
    if shape[:1] != source.shape[:1] or source.order[0] != 0:
        raise step.refuse(f"from {source.shape} to {shape}, which mixes the images of a batch")
    long = [at for axis, at in enumerate(source.order) if axis == 0 or source.shape[axis] > 1]
    node = (source if long == sorted(long) else step.plain()).node
    target = (-1, *shape[1:])  # the number of images is not the file's
    return step.call(torch.reshape, node, target, positive=source.positive)


def _transpose(step: Step) -> Activation:
    source = step.activation()
    axes = step.attributes.get("perm") or range(len(source.shape))[::-1]
    return replace(
        source,
        shape=tuple(source.shape[axis] for axis in axes),
        order=tuple(source.order[axis] for axis in axes),
    )


def _concat(step: Step) -> Activation:
    parts = [step.activation(i) for i in range(len(step.inputs))]
    if len({part.order for part in parts}) > 1:
        parts = [step.plain(i) for i in range(len(step.inputs))]
    axis = parts[0].order[step.attributes["axis"]]
    positive = all(part.positive for part in parts)
    nodes = tuple(part.node for part in parts)
    return step.call(torch.cat, nodes, axis, order=parts[0].order, positive=positive)


def _split(step: Step) -> list[Activation]:
    source, axis = step.activation(), step.attributes.get("axis", 0)
    sizes = [shape[axis] for shape in step.shapes]
    at = source.order[axis]
    return [
        replace(
            source,
            node=step.graph.call_function(torch.narrow, (source.node, at, sum(sizes[:i]), size)),
            shape=step.shapes[i],
            affine=False,
        )
        for i, size in enumerate(sizes)
    ]


def _slice(step: Step) -> Activation:
    source = step.activation()
    starts, ends = step.constant(1).tolist(), step.constant(2).tolist()
    axes, steps = step.optional(3), step.optional(4)
    if steps is not None and set(steps.tolist()) != {1}:
        raise step.refuse("steps other than 1 are not read")
    node = source.node
    numbers = range(len(starts)) if axes is None else axes.tolist()
    for axis, start, end in zip(numbers, starts, ends, strict=True):
        first, last, _ = slice(start, end).indices(source.shape[axis])
        arguments = (node, source.order[axis], first, last - first)
        node = step.graph.call_function(torch.narrow, arguments)
    return replace(source, node=node, shape=step.shapes[0], affine=False)


def _pad(step: Step) -> Activation:
    source, rank = step.activation(), len(step.shapes[0])
    if step.attributes.get("mode", b"constant") != b"constant" or step.optional(3) is not None:
        raise step.refuse("only padding of all sides with one number is read")
    pads, value = step.constant(1).tolist(), step.setting("value", 2, 0.0)
    sides = [0] * (2 * rank)  # torch begins with the last axis
    for axis, at in enumerate(source.order):
        sides[2 * (rank - 1 - at)] = pads[axis]
        sides[2 * (rank - 1 - at) + 1] = pads[rank + axis]
    arguments = (source.node, tuple(sides), "constant", value)
    positive = source.positive and value >= 0
    return step.call(functional.pad, *arguments, order=source.order, positive=positive)


# Kernels and their padding


def _pair(step: Step, name: str) -> tuple[int, int]:
    match numbers := step.attributes.get(name, [1, 1]):
        case [int(height), int(width)]:
            return height, width
    raise step.refuse(f"it has {len(numbers)} axes, not height and width")


def _padded(
    step: Step,
    image: Activation,
    kernel: Sequence[int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    value: float,
) -> tuple[fx.Node, tuple[int, int]]:
    """Return the image and the padding of a layer; unequal sides get a layer of their own."""
    sides = [
        _sides(step, axis, image.shape[2 + axis], kernel[axis], strides[axis], dilations[axis])
        for axis in (0, 1)
    ]
    (top, bottom), (left, right) = sides
    if top == bottom and left == right:
        return image.node, (top, left)
    arguments = (image.node, (left, right, top, bottom), "constant", value)
    return step.graph.call_function(functional.pad, arguments), (0, 0)


def _sides(
    step: Step, axis: int, size: int, kernel: int, stride: int, dilation: int
) -> tuple[int, int]:
    """Return how much is added before and after an axis of the image."""
    kind = step.attributes.get("auto_pad", b"NOTSET").decode()
    if kind == "VALID":
        return 0, 0
    if kind == "NOTSET":
        pads = step.attributes.get("pads", [0, 0, 0, 0])
        return pads[axis], pads[2 + axis]
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    less, more = total // 2, total - total // 2
    return (less, more) if kind == "SAME_UPPER" else (more, less)


OPERATORS: Final[Mapping[str, Callable[[Step], Activation | list[Activation]]]] = {
    "Add": _binary,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _same,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Div": _binary,
    "Dropout": _same,
    "Elu": _elu,
    "Flatten": _reshape,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _unary(functional.hardswish),
    "Identity": _same,
    "LeakyRelu": _leaky_relu,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "Mul": _binary,
    "PRelu": _prelu,
    "Pad": _pad,
    "ReduceMean": _reduce_mean,
    "Relu": _unary(functional.relu, positive=True),
    "Reshape": _reshape,
    "Sigmoid": _unary(torch.sigmoid, positive=True),
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _reshape,
    "Sub": _binary,
    "Tanh": _unary(torch.tanh),
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
