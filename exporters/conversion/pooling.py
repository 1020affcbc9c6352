"""Poolings, in forms that both formats compute in integers and alike."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, fx

from leansight.exporters.conversion.torch_graph import (
    ATEN,
    IMAGE_AXES,
    MEANS_AND_MAXIMA,
    RELUS,
    add_constants,
    both,
    input_of,
    numbers_of,
    replace,
    rewrite_each,
)

_OVER_PLACES: Final = {ATEN.mean.dim, ATEN.sum.dim_IntList, ATEN.amax.default}


def pool_whole(module: fx.GraphModule, node: fx.Node) -> None:
    """Write a mean, sum or maximum over height and width as a pooling to one pixel."""
    if node.target not in _OVER_PLACES or node.kwargs:
        return
    source, dims, *keeps = node.args
    assert isinstance(source, fx.Node)
    shape = source.meta["val"].shape
    if len(shape) != IMAGE_AXES or {axis % IMAGE_AXES for axis in numbers_of(dims)} != {2, 3}:
        return
    height, width = shape[2:]
    call = module.graph.call_function
    with module.graph.inserting_before(node):
        result = source
        if (height, width) == (1, 1):
            pass
        elif node.target is ATEN.amax.default:
            result = call(ATEN.max_pool2d.default, (source, [height, width], [height, width]))
        else:
            result = call(ATEN.adaptive_avg_pool2d.default, (source, [1, 1]))
        if not any(keeps):
            result = call(ATEN.reshape.default, (result, list(shape[:2])))
        if node.target is ATEN.sum.dim_IntList and height * width > 1:
            result = call(ATEN.mul.Tensor, (result, float(height * width)))
    replace(module, node, result)


def write_averages_as_layers(module: fx.GraphModule, node: fx.Node) -> None:
    """Write the mean of each window as a convolution of each channel alone.

    As pooling LiteRT rounds ties away from zero and ONNX Runtime to even, and every second mean
    of four numbers is one. A layer has a grid of its own, on which both round alike. Windows at
    the border that count fewer places are multiplied by what they lack.
    """
    if node.target is not ATEN.avg_pool2d.default or node.args[6:]:
        return
    source, kernel, stride, padding, *_ = (*node.args, *(None,) * 3)
    kernel, padding = both(kernel), both(padding or [0])
    strides = both(stride) if stride else kernel
    assert isinstance(source, fx.Node)
    counted = node.args[5] if node.args[5:] else True
    sizes = zip(source.meta["val"].shape[2:], node.meta["val"].shape[2:], strict=True)
    windows = [
        _Windows(*sizes_of, k, s, p, counted=bool(counted))
        for sizes_of, k, s, p in zip(sizes, kernel, strides, padding, strict=True)
    ]
    channels = source.meta["val"].shape[1]
    rows, columns = (window.lacking for window in windows)
    alike = math.prod(float(part[0]) for part in (rows, columns) if (part == part[0]).all())
    means = torch.full((channels, 1, *kernel), alike / math.prod(kernel))
    weight, *factors = add_constants(module, node, means, rows.reshape(1, 1, -1, 1), columns)
    with module.graph.inserting_before(node):
        call = module.graph.call_function
        if any(window.beyond for window in windows):
            (top, bottom), (left, right) = ((w.padding, w.padding + w.beyond) for w in windows)
            sides = [left, right, top, bottom]
            source, padding = call(ATEN.pad.default, (source, sides, "constant", 0.0)), [0, 0]
        arguments = (source, weight, None, strides, padding, [1, 1], channels)
        result = call(ATEN.conv2d.default, arguments)
        for factor, lacking in zip(factors, (rows, columns), strict=True):
            if (lacking != lacking[0]).any():
                result = call(ATEN.mul.Tensor, (result, factor))
    replace(module, node, result)


@dataclass(frozen=True)
class _Windows:
    """The windows along one axis of `size` places, `count` of them.

    `counted`: places of the padding count in a mean.
    """

    size: int
    count: int
    kernel: int
    stride: int
    padding: int
    counted: bool

    @property
    def beyond(self) -> int:
        """How many places the last window reaches beyond the padding."""
        reached = (self.count - 1) * self.stride + self.kernel
        return max(reached - self.size - 2 * self.padding, 0)

    @property
    def lacking(self) -> Tensor:
        """For each window the kernel's size, divided by the places that count (count,)."""
        first = torch.arange(self.count) * self.stride - self.padding
        end = self.size + self.padding if self.counted else self.size
        last = (first + self.kernel).clamp(max=end)
        return self.kernel / (last - (first if self.counted else first.clamp(min=0)))


def pad_before_pooling(module: fx.GraphModule) -> None:
    """Give a maximum of what is never negative its padding as zeros in a layer of their own.

    For TFLite, whose maximum knows only the padding "same": its converter would pad with minus
    infinity, which XNNPACK does not run. Beside what ReLU gives, zero changes no maximum.
    """
    rewrite_each(module, _pad_apart)


def _pad_apart(module: fx.GraphModule, node: fx.Node) -> None:
    if node.target is not ATEN.max_pool2d.default or not node.args[3:]:  # no padding
        return
    source, kernel, stride, padding, *rest = node.args
    assert isinstance(source, fx.Node)
    if any(rest) or not _is_never_negative(source):  # dilated, or rounded up
        return
    size = list(source.meta["val"].shape[2:])
    if _is_same(size, both(kernel), both(stride), both(padding)):
        return
    height, width = both(padding)
    sides = [width, width, height, height]
    with module.graph.inserting_before(node):
        padded = module.graph.call_function(ATEN.pad.default, (source, sides, "constant", 0.0))
    node.args = (padded, kernel, stride)


def _is_same(
    size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> bool:
    """Whether a padding is TensorFlow's "same", which needs no layer of its own."""
    steps = zip(size, kernel, stride, padding, strict=True)
    return all(max((-(-n // s) - 1) * s + k - n, 0) == 2 * p for n, k, s, p in steps)


def _is_never_negative(node: fx.Node) -> bool:
    if node.target in RELUS:
        return True
    if node.target is ATEN.hardtanh.default:
        return node.args[1:2] == (0,)
    if node.target in MEANS_AND_MAXIMA:
        return _is_never_negative(input_of(node))
    if node.target is ATEN.cat.default:
        return all(_is_never_negative(part) for part in node.all_input_nodes)
    return False
