"""ONNX's layers with weights, products of matrices and pooling, as torch functions."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from torch import fx
from torch.nn import functional

from leansight.exporters.conversion.torch_graph import IMAGE_AXES
from leansight.exporters.importers.onnx_node import Activation, Constant, Step

MATRIX_AXES: Final = 2
LINE_AXES: Final = 3  # batch, channels, places


def _conv(step: Step) -> Activation:
    kernel, bias = step.constant(1), step.optional(2)
    weights = step.weights(kernel), None if bias is None else step.weights(bias)
    group = step.attributes.get("group", 1)
    if kernel.ndim == LINE_AXES:
        return _line_conv(step, weights, group)
    image = step.plain(axes=IMAGE_AXES)
    strides, dilations = _pair(step, "strides"), _pair(step, "dilations")
    node, padding = _padded(step, image, kernel.shape[2:], strides, dilations, 0.0)
    return step.call(functional.conv2d, node, *weights, strides, padding, dilations, group)


def _line_conv(step: Step, weights: tuple[fx.Node, fx.Node | None], group: int) -> Activation:
    """Write a convolution along one axis."""
    line = step.plain(axes=LINE_AXES)
    before, after = step.attributes.get("pads", [0, 0])
    if step.attributes.get("auto_pad", b"NOTSET") != b"NOTSET" or before != after:
        raise step.refuse("along one axis only equal padding that is written out is read")
    (stride,), (dilation,) = (step.attributes.get(n, [1]) for n in ("strides", "dilations"))
    settings = (stride, before, dilation, group)
    return step.call(functional.conv1d, line.node, *weights, *settings)


def _conv_transpose(step: Step) -> Activation:
    image, kernel, bias = step.plain(axes=IMAGE_AXES), step.constant(1), step.optional(2)
    strides, dilations = _pair(step, "strides"), _pair(step, "dilations")
    top, left, bottom, right = step.attributes.get("pads", [0, 0, 0, 0])
    unread = step.attributes.get("auto_pad", b"NOTSET") != b"NOTSET"
    if unread or "output_shape" in step.attributes or (top, left) != (bottom, right):
        raise step.refuse("only equal padding that is written out is read")
    weights = step.weights(kernel), None if bias is None else step.weights(bias)
    added = tuple(step.attributes.get("output_padding", [0, 0]))
    settings = (strides, (top, left), added, step.attributes.get("group", 1), dilations)
    return step.call(functional.conv_transpose2d, image.node, *weights, *settings)


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
    if all(isinstance(value, Activation) for value in step.inputs):
        return _product(step)
    weight = step.constant(1)
    if weight.ndim != MATRIX_AXES:
        raise step.refuse(f"its weights have {weight.ndim} axes, not 2")
    return _linear(step, weight.T, None)


def _product(step: Step) -> Activation:
    """Write the matrix product of two activations, as attention has it."""
    one, other = step.plain(0), step.plain(1)
    if (
        one.batch != other.batch
        or len(one.shape) != len(other.shape)
        or one.batch >= len(one.shape) - MATRIX_AXES
    ):
        raise step.refuse("it mixes the images of a batch")
    return step.like(one, torch.matmul, one.node, other.node)


def _linear(step: Step, rows: Constant, bias: Constant | None) -> Activation:
    """Write a dense layer over the last axis; over torch's channels, a 1×1 convolution."""
    source = step.activation()
    if source.batch == len(source.shape) - 1:
        raise step.refuse("it mixes the images of a batch")
    added = None if bias is None else step.weights(bias)
    if len(source.shape) == IMAGE_AXES and source.order[-1] == 1:
        kernel = step.weights(rows[:, :, None, None])
        return step.like(source, functional.conv2d, source.node, kernel, added)
    source = step.plain()
    return step.like(source, functional.linear, source.node, step.weights(rows), added)


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
    ceil = bool(step.attributes.get("ceil_mode", 0))
    sides = [_sides(step, at, source.shape[2 + at], kernel[at], strides[at], 1) for at in (0, 1)]
    if not counted and any(before != after for before, after in sides):
        # Of what is left out, more after the picture than before it is a window that begins in it.
        padding, ceil = (sides[0][0], sides[1][0]), True
        _require_places(step, source.shape[2:], kernel, strides, padding)
        node = source.node
    else:
        node, padding = _padded(step, source, kernel, strides, (1, 1), 0.0)
    arguments = (node, kernel, strides, padding, ceil, counted)
    return step.call(functional.avg_pool2d, *arguments, positive=source.positive)


def _require_places(
    step: Step,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[int],
) -> None:
    """Raise ConversionError unless windows up to the last that begins in the picture are all."""
    for axis, size in enumerate(sizes):
        reach = size + 2 * padding[axis] - kernel[axis]
        count = -(-reach // strides[axis]) + 1
        if (count - 1) * strides[axis] >= size + padding[axis]:
            count -= 1
        if count != step.shapes[0][2 + axis]:
            raise step.refuse("a mean that leaves out more padding before than after is not read")


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


LAYERS: Final[Mapping[str, Callable[[Step], Activation]]] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
}
