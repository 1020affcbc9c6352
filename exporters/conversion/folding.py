"""Batch norm folding: a network as one graph, with its constant factors in the weights.

Both conversions start from this graph, so that both files hold the same weights bit for bit,
and int8 rounds nothing that need not be computed.
"""

import torch
from torch import Tensor, fx, nn

from leansight.exporters.conversion.rewriting import (
    pool_mean,
    spread_activation,
    spread_hard_swish,
    write_averages_as_layers,
)
from leansight.exporters.conversion.torch_graph import (
    ATEN,
    channelwise,
    given,
    input_of,
    is_foldable,
    replace,
    rewrite_each,
    scale_weights,
    value_of,
)

_DROPOUTS = {ATEN.dropout.default, ATEN.feature_dropout.default}
_FACTORS = {ATEN.mul.Tensor, ATEN.mul.Scalar}
_SUMMANDS = {ATEN.add.Tensor, ATEN.add.Scalar}


def fold(network: nn.Module, example: Tensor) -> fx.GraphModule:
    """Return the network in evaluation mode as a graph for inputs like `example` (1, C, S, S).

    Nothing in it is changed in place, so that what every node gives can be looked at.
    Batch norms and constant factors are folded into the convolution or dense layer before them;
    a batch norm that has none (DenseNet, ResNetV2) becomes a 1×1 convolution of each channel
    alone, which int8 rounds only once. What both formats do not compute in integers, and alike, is
    written in other words (`leansight.exporters.conversion.rewriting`).
    """
    module = torch.export.export(network.eval(), (example,)).module()
    assert isinstance(module, fx.GraphModule)
    rewrite_each(
        module,
        _change_nothing_in_place,
        _drop_idle,
        spread_activation,
        pool_mean,
        _fold_batch_norm,
        _fold_number,
        spread_hard_swish,
        write_averages_as_layers,
    )
    return module


def _change_nothing_in_place(module: fx.GraphModule, node: fx.Node) -> None:
    """Compute anew what is computed in place; what reads the old afterwards reads the new."""
    name, _, overload = str(node.target).removeprefix("aten.").partition(".")
    if not isinstance(node.target, torch._ops.OpOverload) or not name.endswith("_"):  # noqa: SLF001 -- has no public name
        return
    source = input_of(node)
    nodes = list(module.graph.nodes)
    later = set(nodes[nodes.index(node) + 1 :])
    node.target = getattr(getattr(ATEN, name[:-1]), overload)
    source.replace_all_uses_with(node, delete_user_cb=later.__contains__)


def _drop_idle(module: fx.GraphModule, node: fx.Node) -> None:
    """Drop dropout, and the check of the input's shape that torch.export adds."""
    if node.target in _DROPOUTS:
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
    if is_foldable(source):
        scale_weights(module, source, factor, summand)
        replace(module, node, source)
    else:
        replace(module, node, channelwise(module, node, factor, summand))


def _fold_number(module: fx.GraphModule, node: fx.Node) -> None:
    """Fold a number that a layer's result is multiplied by, or that is added to it."""
    if node.target not in _FACTORS | _SUMMANDS or node.kwargs:
        return
    source, number = node.args
    if isinstance(number, int | float) and isinstance(source, fx.Node) and is_foldable(source):
        factor, summand = (number, 0) if node.target in _FACTORS else (1, number)
        scale_weights(module, source, given(None, factor), given(None, summand))
        replace(module, node, source)
