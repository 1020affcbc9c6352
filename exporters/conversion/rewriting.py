"""Graph rewriting: operators as others, which both formats compute in integers and alike."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, fx

from leansight.exporters.conversion.torch_graph import (
    ACTIVATIONS,
    ATEN,
    IMAGE_AXES,
    MEANS_AND_MAXIMA,
    MOVES,
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
    value_of,
)

FLAT_AXES: Final = 2  # images and features
SQUARE: Final = 2  # the exponent
BROADCASTING: Final = {ATEN.add.Tensor, ATEN.sub.Tensor, ATEN.mul.Tensor, ATEN.div.Tensor}


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
    if node.target is ATEN.pow.Tensor_Scalar and node.args[1] == SQUARE:  # ONNX Runtime: float
        with module.graph.inserting_before(node):
            square = module.graph.call_function(ATEN.mul.Tensor, (input_of(node),) * 2)
        replace(module, node, square)


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
    """Write hard-swish as (x / 6) × relu6(6 × (x / 6) + 3).

    Both formats compute it in integers, and alike: LiteRT has hard-swish of int8 outside of
    XNNPACK only, ONNX Runtime in float. A layer before it gives x / 6 at no cost; where there is
    none, a convolution of each channel alone does.
    """
    if node.target is not ATEN.hardswish.default:
        return
    source = input_of(node)
    if len(shape := source.meta["val"].shape) not in {FLAT_AXES, IMAGE_AXES}:
        return
    channels = shape[1]
    if is_foldable(source):
        scale_weights(module, source, given(None, 1 / 6), given(None, 0))
    else:
        sixths = torch.full((channels,), 1 / 6)
        source = channelwise(module, node, sixths, torch.zeros(channels))
        node.args = (source,)
    raised = channelwise(module, node, torch.full((channels,), 6.0), torch.full((channels,), 3.0))
    with module.graph.inserting_before(node):
        call = module.graph.call_function
        clipped = call(ATEN.hardtanh.default, (raised, 0.0, 6.0))
        result = call(ATEN.mul.Tensor, (source, clipped))
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


def spread_leaky(module: fx.GraphModule, node: fx.Node) -> None:
    """Write leaky ReLU and PReLU, of slopes s of 1 at most, as s x + relu((1 - s) x).

    Both are convolutions of each channel alone, whose sum both formats take in equal steps.
    LiteRT has leaky ReLU of int8 in 8 bits of fixed point, ONNX Runtime as a table.
    """
    if node.target not in {ATEN.leaky_relu.default, ATEN.prelu.default}:
        return
    source = input_of(node)
    if source.meta["val"].ndim != IMAGE_AXES:
        return
    slope = (*node.args[1:], 0.01)[0]
    slopes = torch.tensor(slope) if isinstance(slope, float | int) else value_of(module, slope)
    assert slopes is not None
    if (slopes > 1).any():
        return
    slopes = slopes.double().expand(source.meta["val"].shape[1])
    leaky = channelwise(module, node, slopes, torch.zeros_like(slopes))
    rest = channelwise(module, node, 1 - slopes, torch.zeros_like(slopes))
    with module.graph.inserting_before(node):
        call = module.graph.call_function
        result = call(ATEN.add.Tensor, (leaky, call(ATEN.relu.default, (rest,))))
    replace(module, node, result)


def drop_expansion(module: fx.GraphModule, node: fx.Node) -> None:
    """Leave out what repeats numbers for sums and products, which repeat them by themselves."""
    if node.target not in {ATEN.expand.default, ATEN.expand_as.default}:
        return
    source, shape = input_of(node), node.meta["val"].shape
    for user in node.users:
        others = [part.meta.get("val") for part in user.all_input_nodes if part is not node]
        known = [other.shape for other in others if other is not None]
        if user.target not in BROADCASTING or known != [shape]:
            return
    if source.meta["val"].ndim == len(shape):
        replace(module, node, source)


def merge_permutes(module: fx.GraphModule, node: fx.Node) -> None:
    """Put axes in order once where it is done twice, and not at all where that cancels out."""
    before = node.args[0] if node.target is ATEN.permute.default else None
    if not isinstance(before, fx.Node) or before.target is not ATEN.permute.default:
        return
    inner = numbers_of(before.args[1])
    order = [inner[axis] for axis in numbers_of(node.args[1])]
    if order == sorted(order):
        replace(module, node, input_of(before))
    else:
        node.args = (input_of(before), order)


def flatten_dense(module: fx.GraphModule, node: fx.Node) -> None:
    """Write a dense layer on tokens as one on rows, which both formats have in int8."""
    if node.target is not ATEN.linear.default:
        return
    source, shape = input_of(node), node.meta["val"].shape
    if len(shape) == FLAT_AXES:
        return
    call = module.graph.call_function
    with module.graph.inserting_before(node):
        rows = call(ATEN.reshape.default, (source, [-1, source.meta["val"].shape[-1]]))
        dense = call(ATEN.linear.default, (rows, *node.args[1:]))
        result = call(ATEN.reshape.default, (dense, [-1, *shape[1:]]))
    replace(module, node, result)


def activate_before_moves(module: fx.GraphModule, node: fx.Node) -> None:
    """Let a ReLU follow its layer at once, not what only puts the layer's axes in another order.

    Both formats then compute the two in one; TFLite's converter does this in one format alone.
    """
    if node.target not in ACTIVATIONS or node.kwargs:
        return
    first, layer = node, input_of(node)
    while layer.target in MOVES and len(layer.users) == 1:
        first, layer = layer, input_of(layer)
    if first is node or not is_foldable(layer):
        return
    with module.graph.inserting_before(first):
        active = module.graph.call_function(node.target, (layer, *node.args[1:]))
    first.replace_input_with(layer, active)
    active.meta["val"] = layer.meta.get("val")
    replace(module, node, input_of(node))


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
