"""Graph rewriting: operators as others, which both formats compute in integers and alike."""

import math
from collections.abc import Sequence

import torch
from torch import fx

from leansight.exporters.conversion.torch_graph import (
    ATEN,
    IMAGE_AXES,
    MEANS_AND_MAXIMA,
    RELUS,
    add_constants,
    both,
    channelwise,
    given,
    input_of,
    is_foldable,
    numbers_of,
    replace,
    rewrite_each,
    scale_weights,
)


def spread_activation(module: fx.GraphModule, node: fx.Node) -> None:
    """Write out activations that both formats compute in several steps."""
    if node.target is ATEN.silu.default:
        with module.graph.inserting_before(node):
            call = module.graph.call_function
            gate = call(ATEN.sigmoid.default, (input_of(node),))
            result = call(ATEN.mul.Tensor, (input_of(node), gate))
        replace(module, node, result)
    if node.target is ATEN.hardsigmoid.default:
        with module.graph.inserting_before(node):
            call = module.graph.call_function
            raised = call(ATEN.add.Tensor, (input_of(node), 3.0))
            clipped = call(ATEN.hardtanh.default, (raised, 0.0, 6.0))
            result = call(ATEN.mul.Tensor, (clipped, 1 / 6))
        replace(module, node, result)


def pool_mean(module: fx.GraphModule, node: fx.Node) -> None:
    """Write a mean over height and width as an average pooling to one pixel."""
    if node.target is not ATEN.mean.dim or node.kwargs:
        return
    source, (_, dims, *keeps) = input_of(node), node.args
    shape = source.meta["val"].shape
    if len(shape) != IMAGE_AXES or {axis % IMAGE_AXES for axis in numbers_of(dims)} != {2, 3}:
        return
    with module.graph.inserting_before(node):
        call = module.graph.call_function
        one = tuple(shape[2:]) == (1, 1)
        pooled = source if one else call(ATEN.adaptive_avg_pool2d.default, (source, [1, 1]))
        result = pooled if any(keeps) else call(ATEN.reshape.default, (pooled, list(shape[:2])))
    replace(module, node, result)


def spread_hard_swish(module: fx.GraphModule, node: fx.Node) -> None:
    """Write hard-swish of what a layer gives as (x / 6) × relu6(6 × (x / 6) + 3).

    Both formats compute it in integers, and alike: LiteRT has hard-swish of int8 outside of
    XNNPACK only, ONNX Runtime in float. The layer gives x / 6 at no cost.
    """
    if node.target is not ATEN.hardswish.default or not is_foldable(source := input_of(node)):
        return
    channels = source.meta["val"].shape[1]
    scale_weights(module, source, given(None, 1 / 6), given(None, 0))
    raised = channelwise(module, node, torch.full((channels,), 6.0), torch.full((channels,), 3.0))
    with module.graph.inserting_before(node):
        call = module.graph.call_function
        clipped = call(ATEN.hardtanh.default, (raised, 0.0, 6.0))
        result = call(ATEN.mul.Tensor, (source, clipped))
    replace(module, node, result)


def write_averages_as_layers(module: fx.GraphModule, node: fx.Node) -> None:
    """Write the mean of each window as a convolution of each channel alone.

    As pooling LiteRT rounds ties away from zero and ONNX Runtime to even, and every second mean
    of four numbers is one. A layer has a grid of its own, on which both round alike.
    """
    if node.target is not ATEN.avg_pool2d.default:
        return
    source, kernel, stride, padding, ceil, counted = (*node.args, *(None,) * 6)[:6]
    kernel, padding = both(kernel), both(padding or [0])
    if ceil or (counted is False and any(padding)) or node.args[6:]:
        return
    assert isinstance(source, fx.Node)
    channels = source.meta["val"].shape[1]
    (weight,) = add_constants(
        module, node, torch.full((channels, 1, *kernel), 1 / math.prod(kernel))
    )
    strides = both(stride) if stride else kernel
    with module.graph.inserting_before(node):
        arguments = (source, weight, None, strides, padding, [1, 1], channels)
        result = module.graph.call_function(ATEN.conv2d.default, arguments)
    replace(module, node, result)


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
