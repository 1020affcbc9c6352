"""Batch norm folding: a network as one graph, with its constant factors in the weights.

Both conversions start from this graph, so that both files hold the same weights bit for bit,
and int8 rounds nothing that need not be computed.
"""

import re

import torch
from torch import Tensor, fx, nn

from leansight.exporters.conversion.affine_folding import (
    FACTORS,
    SUMMANDS,
    drop_idle_constant,
    fold_affine_into_next,
    merge_constants,
    move_bias_into_next,
    move_bias_into_sum,
    write_as_sum_or_product,
)
from leansight.exporters.conversion.clipping import spread_bounds
from leansight.exporters.conversion.norm_folding import (
    can_take,
    fold_norm_into_next,
    scale_norm,
    take,
)
from leansight.exporters.conversion.norm_recognition import (
    recognise_group_norm,
    recognise_layer_norm,
    recognise_layer_norm_as_sum,
)
from leansight.exporters.conversion.pooling import pool_whole, write_averages_as_layers
from leansight.exporters.conversion.recognition import recognise_activations
from leansight.exporters.conversion.resizing import write_resizing_as_layers
from leansight.exporters.conversion.rewriting import (
    FLAT_AXES,
    activate_before_moves,
    activate_rows,
    drop_expansion,
    expand_last,
    flatten_dense,
    merge_permutes,
    spread_activation,
    spread_hard_swish,
    spread_leaky,
    turn_columns,
    write_lines_as_pictures,
)
from leansight.exporters.conversion.torch_graph import (
    ATEN,
    add_shapes,
    axis_behind_moves,
    before_moves,
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
from leansight.exporters.conversion.transposed import write_transposed_as_blocks

_DROPOUTS = {ATEN.dropout.default, ATEN.feature_dropout.default}
_PADS = {ATEN.pad.default, ATEN.constant_pad_nd.default}


def fold(network: nn.Module, example: Tensor) -> fx.GraphModule:
    """Return the network in evaluation mode as a graph for inputs like `example` (1, C, S, S).

    Nothing in it is changed in place, so that what every node gives can be looked at.
    Batch norms and constant factors are folded into the convolution or dense layer before them;
    a batch norm that has none (DenseNet, ResNetV2) becomes a 1×1 convolution of each channel
    alone, which int8 rounds only once. What both formats do not compute in integers, and alike, is
    written in other words (`rewriting`, `pooling`, `clipping`).
    """
    module = torch.export.export(network.eval(), (example,)).module()
    assert isinstance(module, fx.GraphModule)
    rewrite_each(module, _change_nothing_in_place, _drop_idle)
    recognise_activations(module)
    rewrite_each(module, recognise_layer_norm, recognise_layer_norm_as_sum, recognise_group_norm)
    add_shapes(module, example)
    rewrite_each(
        module,
        write_lines_as_pictures,
        turn_columns,
        write_transposed_as_blocks,
        spread_activation,
        spread_bounds,
        write_as_sum_or_product,
        expand_last,
        drop_expansion,
        pool_whole,
        write_resizing_as_layers,
        _fold_batch_norm,
        _fold_number,
        _fold_constant,
        merge_constants,
        activate_rows,
        spread_hard_swish,
        spread_leaky,
        write_averages_as_layers,
    )
    add_shapes(module, example)
    rewrite_each(
        module,
        merge_permutes,
        fold_norm_into_next,
        fold_affine_into_next,
        move_bias_into_sum,
        drop_idle_constant,
        flatten_dense,
        move_bias_into_next,
        activate_before_moves,
    )
    return module


def _change_nothing_in_place(module: fx.GraphModule, node: fx.Node) -> None:
    """Compute anew what is computed in place; what reads the old afterwards reads the new."""
    name, _, overload = str(node.target).removeprefix("aten.").partition(".")
    if not isinstance(node.target, torch._ops.OpOverload) or not re.fullmatch(r"[a-z].*_", name):  # noqa: SLF001 -- has no public name
        return
    source = input_of(node)
    nodes = list(module.graph.nodes)
    later = set(nodes[nodes.index(node) + 1 :])
    node.target = getattr(getattr(ATEN, name[:-1]), overload)
    source.replace_all_uses_with(node, delete_user_cb=later.__contains__)


def _drop_idle(module: fx.GraphModule, node: fx.Node) -> None:
    """Drop dropout, padding of no side, and the check of the input's shape that torch adds."""
    if node.target in _DROPOUTS or (node.target in _PADS and not any(numbers_of(node.args[1]))):
        replace(module, node, input_of(node))
    elif node.op == "call_module" and node.target == "_guards_fn":
        module.graph.erase_node(node)


def _fold_batch_norm(module: fx.GraphModule, node: fx.Node) -> None:
    if node.target is not ATEN.batch_norm.default or node.args[5]:  # of the batch itself
        return
    source, epsilon = input_of(node), node.args[7]
    assert isinstance(epsilon, float)
    weight, bias, mean, variance = (value_of(module, argument) for argument in node.args[1:5])
    factor = torch.rsqrt(given(variance, 1) + epsilon) * given(weight, 1)
    summand = given(bias, 0) - given(mean, 0) * factor
    rank, layer = node.meta["val"].ndim, before_moves(source)
    channels = layer.meta["val"].ndim - 1 if layer.target is ATEN.linear.default else 1
    if is_foldable(layer) and axis_behind_moves(source, channels) == 1:
        scale_weights(module, layer, factor, summand)
        replace(module, node, source)
    elif rank == FLAT_AXES and all(_is_dense(module, r) for r in node.users):
        for reader in list(node.users):
            take(module, reader, factor, summand)
        replace(module, node, source)
    else:
        replace(module, node, channelwise(module, node, factor, summand))


def _is_dense(module: fx.GraphModule, node: fx.Node) -> bool:
    return node.target is ATEN.linear.default and can_take(module, node)


def _fold_number(module: fx.GraphModule, node: fx.Node) -> None:
    """Fold a number that a layer's result, moved or not, is multiplied by, or that is added."""
    if node.target not in FACTORS | SUMMANDS or node.kwargs:
        return
    source, number = node.args
    if not isinstance(number, int | float) or not isinstance(source, fx.Node):
        return
    layer = before_moves(source)
    if is_foldable(layer):
        factor, summand = (number, 0) if node.target in FACTORS else (1, number)
        scale_weights(module, layer, given(None, factor), given(None, summand))
        replace(module, node, source)


def _fold_constant(module: fx.GraphModule, node: fx.Node) -> None:
    """Fold one number a channel that a layer's result is multiplied by, or that is added to it."""
    if node.target not in {ATEN.mul.Tensor, ATEN.add.Tensor} or node.kwargs:
        return
    for source, other in (node.args, node.args[::-1]):
        if not isinstance(source, fx.Node) or not isinstance(other, fx.Node):
            continue
        layer = before_moves(source)
        is_norm = layer.target is ATEN.layer_norm.default and len(layer.users) == 1
        if other.op != "get_attr" or not (is_norm or is_foldable(layer)):
            continue
        value, rank = value_of(module, other), source.meta["val"].ndim
        assert value is not None
        is_last = is_norm or layer.target is ATEN.linear.default
        axis = axis_behind_moves(source, layer.meta["val"].ndim - 1 if is_last else 1)
        aligned = value.reshape((1,) * (rank - value.ndim) + value.shape)
        if axis is None or value.ndim > rank or aligned.numel() != aligned.shape[axis]:
            continue
        whole = aligned.reshape(-1)
        factor, summand = (whole, None) if node.target is ATEN.mul.Tensor else (None, whole)
        scale = scale_norm if is_norm else scale_weights
        scale(module, layer, given(factor, 1), given(summand, 0))
        replace(module, node, source)
        return
