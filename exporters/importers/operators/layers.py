"""ONNX's layers with weights, products of matrices and pooling, as torch functions."""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from torch import fx
from torch.nn import functional

from leansight.exporters.conversion.torch_graph import IMAGE_AXES
from leansight.exporters.importers.operators.node import Activation, Constant, Step

MATRIX_AXES: Final = 2
LINE_AXES: Final = 3  # batch, channels, places


def _on_lines(write: Callable[[Step], Activation]) -> Callable[[Step], Activation]:
    """Let what is written for pictures take lines (N, C, W) as pictures of one column."""

    def write_either(step: Step) -> Activation:
        source = step.activation()
        if len(source.shape) != LINE_AXES:
            return write(step)
        channels, width = source.shape[1:]
        shape = (source.shape[0], channels, width, 1)
        node = step.graph.call_function(torch.reshape, (step.plain().node, shape))
        picture = replace(source, node=node, shape=shape, order=tuple(range(IMAGE_AXES)))
        _, _, *places = step.shapes[0]
        as_picture = replace(
            step,
            inputs=[picture, *(_of_one_column(value) for value in step.inputs[1:])],
            shapes=[(*step.shapes[0][:2], *places, 1)],
            attributes={key: _for_both(key, value) for key, value in step.attributes.items()},
        )
        result = write(as_picture)
        return step.call(torch.reshape, result.node, step.shapes[0], positive=result.positive)

    return write_either


def _of_one_column(value: Activation | Constant | None) -> Activation | Constant | None:
    if isinstance(value, np.ndarray) and value.ndim == LINE_AXES:
        return value[..., None]
    return value


def _for_both(name: str, value: Any) -> Any:
    """Return an attribute of a layer on lines as that of one on pictures."""
    match name:
        case "pads":
            return [value[0], 0, value[1], 0]
        case "kernel_shape" | "strides" | "dilations":
            return [*value, 1]
        case "output_padding":
            return [*value, 0]
    return value


def _conv(step: Step) -> Activation:
    kernel, bias = step.constant(1), step.optional(2)
    weights = step.weights(kernel), None if bias is None else step.weights(bias)
    image = step.plain(axes=IMAGE_AXES)
    strides, dilations = _pair(step, "strides"), _pair(step, "dilations")
    node, padding = _padded(step, image, kernel.shape[2:], strides, dilations, 0.0)
    group = step.attributes.get("group", 1)
    return step.call(functional.conv2d, node, *weights, strides, padding, dilations, group)


def _conv_transpose(step: Step) -> Activation:
    image, kernel, bias = step.plain(axes=IMAGE_AXES), step.constant(1), step.optional(2)
    strides, dilations = _pair(step, "strides"), _pair(step, "dilations")
    weights = step.weights(kernel), None if bias is None else step.weights(bias)
    added = tuple(step.attributes.get("output_padding", [0, 0]))
    group = step.attributes.get("group", 1)
    sizes = step.shapes[0][2:]
    wholes = [
        strides[n] * (image.shape[2 + n] - 1)
        + dilations[n] * (kernel.shape[2 + n] - 1)
        + added[n]
        + 1
        for n in (0, 1)
    ]
    before = [_cut_before(step, n, wholes[n] - sizes[n]) for n in (0, 1)]
    if all(2 * cut == whole - size for cut, whole, size in zip(before, wholes, sizes, strict=True)):
        settings = (strides, tuple(before), added, group, dilations)
        return step.call(functional.conv_transpose2d, image.node, *weights, *settings)
    settings = (strides, (0, 0), added, group, dilations)
    whole = step.call(functional.conv_transpose2d, image.node, *weights, *settings)
    for axis, (cut, size) in enumerate(zip(before, sizes, strict=True), start=2):
        whole = step.like(whole, torch.narrow, whole.node, axis, cut, size)
    return whole


def _cut_before(step: Step, axis: int, total: int) -> int:
    """Return how much of a transposed convolution is cut off before an axis, of so much in all."""
    kind = step.attributes.get("auto_pad", b"NOTSET").decode()
    if kind == "NOTSET" and "output_shape" not in step.attributes:
        pads: list[int] = step.attributes.get("pads", [0, 0, 0, 0])
        return pads[axis]
    return total // 2 if kind == "SAME_UPPER" else total - total // 2


def _gemm(step: Step) -> Activation:
    weight, bias = step.constant(1), step.optional(2)
    rows = weight if step.attributes.get("transB", 0) else weight.T
    rows = rows * step.attributes.get("alpha", 1.0)
    source = step.activation()
    if step.attributes.get("transA", 0):
        source = replace(source, shape=source.shape[::-1], order=source.order[::-1])
    if bias is None:
        return _linear(step, source, rows, None)
    bias = bias * step.attributes.get("beta", 1.0)
    if bias.size == 1 or bias.shape[-1] == bias.size == len(rows):
        return _linear(step, source, rows, np.broadcast_to(bias.reshape(-1), len(rows)))
    result = step.in_order(_linear(step, source, rows, None))  # one for each row of its input
    return step.like(result, operator.add, result.node, step.weights(bias))


def _matmul(step: Step) -> Activation:
    """Write a product of matrices, as attention has it of two activations, or a dense layer."""
    match step.inputs:
        case [Activation(), np.ndarray() as weight] if weight.ndim == MATRIX_AXES:
            return _linear(step, step.activation(), weight.T, None)
    factors = (
        step.plain(index).node
        if isinstance(value, Activation)
        else step.weights(step.constant(index))
        for index, value in enumerate(step.inputs)
    )
    return step.call(torch.matmul, *factors)


def _linear(step: Step, source: Activation, rows: Constant, bias: Constant | None) -> Activation:
    """Write a dense layer over the last axis; over torch's channels, a 1×1 convolution."""
    added = None if bias is None else step.weights(bias)
    if len(source.shape) == IMAGE_AXES and source.order[-1] == 1:
        kernel = step.weights(rows[:, :, None, None])
        return step.like(source, functional.conv2d, source.node, kernel, added)
    source = step.in_order(source)
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
    "AveragePool": _on_lines(_average_pool),
    "Conv": _on_lines(_conv),
    "ConvTranspose": _on_lines(_conv_transpose),
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MaxPool": _on_lines(_max_pool),
}
