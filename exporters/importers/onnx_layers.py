"""ONNX's layers with weights, and its pooling, as torch functions."""

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
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "ReduceMean": _reduce_mean,
}
