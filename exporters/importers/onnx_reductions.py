"""ONNX's means, sums and maxima over axes, and the softmax, as torch functions."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch.nn import functional

from leansight.exporters.conversion.torch_graph import IMAGE_AXES
from leansight.exporters.importers.onnx_node import Activation, Step

_ONE_AXIS: Final = 13  # the version from which a softmax is taken over one axis


def _global_average_pool(step: Step) -> Activation:
    source = step.plain(axes=IMAGE_AXES)
    keep = True  # height and width, as one pixel
    return step.call(torch.mean, source.node, (2, 3), keep, positive=source.positive)


def _global_max_pool(step: Step) -> Activation:
    source = step.plain(axes=IMAGE_AXES)
    return step.call(functional.max_pool2d, source.node, source.shape[2:], positive=source.positive)


def _reduction(function: Callable[..., Any]) -> Callable[[Step], Activation]:
    def write(step: Step) -> Activation:
        source = step.activation()
        axes = step.setting("axes", 1, [])
        if not axes:
            raise step.refuse("a reduction over everything is not read")
        left_out = {axis % len(source.shape) for axis in axes}
        if source.batch in left_out:
            raise step.refuse("it mixes the images of a batch")
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
            batch=axes_left.index(source.batch),
            positive=source.positive,
        )

    return write


def _length(x: torch.Tensor, dims: tuple[int, ...], keep: bool) -> torch.Tensor:  # noqa: FBT001
    return (x * x).sum(dims, keep).sqrt()


def _softmax(step: Step) -> Activation:
    source = step.activation()
    old = step.opset < _ONE_AXIS
    axis = step.attributes.get("axis", 1 if old else -1) % len(source.shape)
    if axis == source.batch:
        raise step.refuse("it mixes the images of a batch")
    if old and math.prod(source.shape[axis + 1 :]) > 1:
        raise step.refuse(f"before version {_ONE_AXIS} it is taken over several axes at once")
    return step.like(source, functional.softmax, source.node, source.order[axis], positive=True)


REDUCTIONS: Final[Mapping[str, Callable[[Step], Activation]]] = {
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "ReduceL2": _reduction(_length),
    "ReduceMax": _reduction(torch.amax),
    "ReduceMean": _reduction(torch.mean),
    "ReduceSum": _reduction(torch.sum),
    "Softmax": _softmax,
}
