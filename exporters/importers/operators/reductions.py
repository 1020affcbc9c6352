"""ONNX's means, sums and maxima over axes, and the softmax, as torch functions."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch.nn import functional

from leansight.exporters.conversion.torch_graph import IMAGE_AXES
from leansight.exporters.importers.operators.node import Activation, Step

_ONE_AXIS: Final = 13  # the version from which a softmax is taken over one axis


def _global_average_pool(step: Step) -> Activation:
    source, keep = step.plain(), True  # height and width, as one pixel
    axes = tuple(range(2, len(source.shape)))
    return step.call(torch.mean, source.node, axes, keep, positive=source.positive)


def _global_max_pool(step: Step) -> Activation:
    source, keep = step.plain(), True
    if len(source.shape) == IMAGE_AXES:
        arguments = (source.node, source.shape[2:])
        return step.call(functional.max_pool2d, *arguments, positive=source.positive)
    axes = tuple(range(2, len(source.shape)))
    return step.call(torch.amax, source.node, axes, keep, positive=source.positive)


def _reduction(function: Callable[..., Any]) -> Callable[[Step], Activation]:
    def write(step: Step) -> Activation:
        source = step.activation()
        axes = step.setting("axes", 1, [])
        if not axes:
            raise step.refuse("a reduction over everything is not read")
        left_out = {axis % len(source.shape) for axis in axes}
        keep = bool(step.attributes.get("keepdims", 1))
        dims = tuple(sorted(source.order[axis] for axis in left_out))
        axes_left = [axis for axis in range(len(source.shape)) if keep or axis not in left_out]
        places = sorted(source.order[axis] for axis in axes_left)
        return step.call(
            function,
            source.node,
            dims,
            keep,
            order=tuple(places.index(source.order[axis]) for axis in axes_left),
            positive=source.positive,
        )

    return write


def _length(x: torch.Tensor, dims: tuple[int, ...], keep: bool) -> torch.Tensor:  # noqa: FBT001
    return (x * x).sum(dims, keep).sqrt()


def _sum_of_squares(x: torch.Tensor, dims: tuple[int, ...], keep: bool) -> torch.Tensor:  # noqa: FBT001
    return (x * x).sum(dims, keep)


def _sum_of_sizes(x: torch.Tensor, dims: tuple[int, ...], keep: bool) -> torch.Tensor:  # noqa: FBT001
    return x.abs().sum(dims, keep)


def _softmax(step: Step) -> Activation:
    source = step.activation()
    old = step.opset < _ONE_AXIS
    axis = step.attributes.get("axis", 1 if old else -1) % len(source.shape)
    if old and math.prod(source.shape[axis + 1 :]) > 1:
        raise step.refuse(f"before version {_ONE_AXIS} it is taken over several axes at once")
    is_log = step.node.op_type == "LogSoftmax"
    function = functional.log_softmax if is_log else functional.softmax
    return step.like(source, function, source.node, source.order[axis], positive=not is_log)


def _cumulative_sum(step: Step) -> Activation:
    """Write sums of all places up to each as a dense layer of ones and zeros over the axis."""
    source = step.plain()
    axis, last = int(step.constant(1).item()) % len(source.shape), len(source.shape) - 1
    ones = np.ones((source.shape[axis],) * 2)
    rows = np.tril(ones, -1 if step.attributes.get("exclusive", 0) else 0)
    weights = step.weights(rows.T if step.attributes.get("reverse", 0) else rows)
    call = step.graph.call_function
    turned = call(torch.transpose, (source.node, axis, last))
    summed = call(functional.linear, (turned, weights))
    return step.call(torch.transpose, summed, axis, last)


REDUCTIONS: Final[Mapping[str, Callable[[Step], Activation]]] = {
    "CumSum": _cumulative_sum,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "ReduceL1": _reduction(_sum_of_sizes),
    "ReduceL2": _reduction(_length),
    "ReduceLogSumExp": _reduction(torch.logsumexp),
    "ReduceMax": _reduction(torch.amax),
    "ReduceMean": _reduction(torch.mean),
    "ReduceMin": _reduction(torch.amin),
    "ReduceSum": _reduction(torch.sum),
    "ReduceSumSquare": _reduction(_sum_of_squares),
    "LogSoftmax": _softmax,
    "Softmax": _softmax,
}
