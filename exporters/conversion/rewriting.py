"""Graph rewriting: operators as others, which both formats compute in integers and alike."""

import math
from typing import Final

import numpy as np
import torch
from torch import fx

from leansight.exporters.conversion.torch_graph import (
    ACTIVATIONS,
    ATEN,
    IMAGE_AXES,
    MOVES,
    add_constants,
    before_moves,
    channelwise,
    given,
    input_of,
    is_foldable,
    numbers_of,
    replace,
    scale_weights,
    value_of,
)

FLAT_AXES: Final = 2  # images and features
BROADCASTING: Final = {ATEN.add.Tensor, ATEN.sub.Tensor, ATEN.mul.Tensor, ATEN.div.Tensor}
_EXPANSIONS: Final = {ATEN.expand.default, ATEN.expand_as.default}


def write_lines_as_pictures(module: fx.GraphModule, node: fx.Node) -> None:
    """Write a convolution along a line (Conv1d) as that of a picture, as int8 has it.

    Of one column: of one row litert-torch 0.10 writes products of matrices behind it in ranks that
    TFLite refuses.
    """
    if node.target not in {ATEN.conv1d.default, ATEN.conv1d.padding}:
        return
    source, defaults = input_of(node), (None, [1], [0], [1], 1)
    weight, bias, stride, padding, dilation, groups = node.args[1:] + defaults[len(node.args) - 2 :]
    kernel = value_of(module, weight)
    assert kernel is not None
    (kernel_2d,) = add_constants(module, node, kernel[..., None])
    wide = [padding if isinstance(padding, str) else [*numbers_of(padding), 0]]
    target = ATEN.conv2d.padding if isinstance(padding, str) else ATEN.conv2d.default
    steps = [[*numbers_of(stride), 1], *wide, [*numbers_of(dilation), 1]]
    channels, width = source.meta["val"].shape[1:]
    with module.graph.inserting_before(node):
        call = module.graph.call_function
        picture = call(ATEN.reshape.default, (source, [-1, channels, width, 1]))
        convolved = call(target, (picture, kernel_2d, bias, *steps, groups))
        result = call(ATEN.reshape.default, (convolved, [-1, *node.meta["val"].shape[1:]]))
    convolved.meta["val"] = node.meta["val"][..., None]
    replace(module, node, result)


def turn_columns(module: fx.GraphModule, node: fx.Node) -> None:
    """Write a matrix times a column as a row times the matrix, turned.

    litert-torch 0.10 writes the first, as pooling by attention has it, in ranks that TFLite
    refuses.
    """
    if node.target is not ATEN.matmul.default:
        return
    shape, (matrix, column) = node.meta["val"].shape, node.args
    assert isinstance(matrix, fx.Node)
    assert isinstance(column, fx.Node)
    if len(shape) <= FLAT_AXES or shape[-1] != 1 or matrix.meta["val"].ndim != len(shape):
        return
    of_column = column.meta["val"].shape
    turned = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
    with module.graph.inserting_before(node):
        call = module.graph.call_function
        row = call(ATEN.reshape.default, (column, [*of_column[:-2], 1, of_column[-2]]))
        product = call(ATEN.matmul.default, (row, call(ATEN.permute.default, (matrix, turned))))
        result = call(ATEN.reshape.default, (product, [*shape]))
    replace(module, node, result)


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


def activate_rows(module: fx.GraphModule, node: fx.Node) -> None:
    """Compute on rows of features what int8 has for pictures and for rows, and not for tokens."""
    if node.target not in {ATEN.hardswish.default, ATEN.leaky_relu.default, ATEN.prelu.default}:
        return
    shape = node.meta["val"].shape
    if len(shape) in {FLAT_AXES, IMAGE_AXES}:
        return
    target = [-1, shape[-1]]
    if node.target is ATEN.prelu.default:  # whose slopes are of the second axis
        target = [-1, shape[1], math.prod(shape[2:]), 1]
    with module.graph.inserting_before(node):
        call = module.graph.call_function
        rows = call(ATEN.reshape.default, (input_of(node), target))
        activated = call(node.target, (rows, *node.args[1:]))
        result = call(ATEN.reshape.default, (activated, [-1, *shape[1:]]))
    rows.meta["val"] = activated.meta["val"] = node.meta["val"].reshape(target)
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
    channels = source.meta["val"].shape[1]
    if is_foldable(layer := before_moves(source)):
        scale_weights(module, layer, given(None, 1 / 6), given(None, 0))
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


def spread_leaky(module: fx.GraphModule, node: fx.Node) -> None:
    """Write leaky ReLU and PReLU, of slopes s of 1 at most, as s x + relu((1 - s) x).

    Both are convolutions of each channel alone, whose sum both formats take in equal steps.
    LiteRT has leaky ReLU of int8 in 8 bits of fixed point, ONNX Runtime as a table.
    """
    if node.target not in {ATEN.leaky_relu.default, ATEN.prelu.default}:
        return
    source = input_of(node)
    if source.meta["val"].ndim not in {FLAT_AXES, IMAGE_AXES}:
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


def expand_last(module: fx.GraphModule, node: fx.Node) -> None:
    """Put axes in order before numbers are repeated along them, and not afterwards.

    TFLite's converter gives other numbers for a sum of two that it finds put in order afterwards.
    """
    expansion = node.args[0] if node.target is ATEN.permute.default else None
    if not isinstance(expansion, fx.Node) or expansion.target not in _EXPANSIONS:
        return
    source = input_of(expansion)
    if source.meta["val"].ndim != node.meta["val"].ndim:
        return
    order = numbers_of(node.args[1])
    with module.graph.inserting_before(node):
        call = module.graph.call_function
        permuted = call(ATEN.permute.default, (source, order))
        result = call(ATEN.expand.default, (permuted, [*node.meta["val"].shape]))
    permuted.meta["val"] = source.meta["val"].permute(order)
    replace(module, node, result)


def drop_expansion(module: fx.GraphModule, node: fx.Node) -> None:
    """Leave out what repeats numbers for sums and products, which repeat them by themselves."""
    if node.target not in _EXPANSIONS:
        return
    source = input_of(node)
    for user in node.users:
        others = [part.meta.get("val") for part in user.all_input_nodes if part is not node]
        shapes = [source.meta["val"].shape, *(other.shape for other in others if other is not None)]
        repeated = np.broadcast_shapes(*shapes)
        if user.target not in BROADCASTING or repeated != user.meta["val"].shape:
            return
    if source.meta["val"].ndim == node.meta["val"].ndim:
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
