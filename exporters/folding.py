"""A network as one graph whose batch norms and constant factors are in its weights.

Both conversions start from this graph, so that both files hold the same weights bit for bit,
and int8 rounds nothing that need not be computed.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn

_ATEN = torch.ops.aten
WEIGHTED = {_ATEN.conv2d.default, _ATEN.conv2d.padding, _ATEN.linear.default}
_DROPOUTS = {_ATEN.dropout.default, _ATEN.feature_dropout.default}
_FACTORS = {_ATEN.mul.Tensor, _ATEN.mul.Scalar}
_SUMMANDS = {_ATEN.add.Tensor, _ATEN.add.Scalar}
_RELUS = {_ATEN.relu.default, _ATEN.relu6.default}
# What a layer can clip its result to by itself.
ACTIVATIONS = {*_RELUS, _ATEN.hardtanh.default, _ATEN.clamp.default, _ATEN.clamp_min.default}
_RESHAPES = {_ATEN.reshape.default, _ATEN.view.default}
_MEANS_AND_MAXIMA = {_ATEN.max_pool2d.default, _ATEN.avg_pool2d.default}
# What gives k times as much for k times as much, k > 0, channel by channel.
EQUIVARIANT = {_ATEN.relu.default, *_MEANS_AND_MAXIMA, _ATEN.adaptive_avg_pool2d.default}


def fold(network: nn.Module, example: Tensor) -> fx.GraphModule:
    """Return the network in evaluation mode as a graph for inputs like `example` (1, C, S, S).

    Nothing in it is changed in place, so that what every node gives can be looked at.
    Batch norms and constant factors are folded into the convolution or dense layer before them;
    a batch norm that has none (DenseNet, ResNetV2) becomes a 1×1 convolution of each channel
    alone, which int8 rounds only once. A hard sigmoid becomes relu6(x + 3) / 6, a mean over the
    picture the pooling that ONNX Runtime has in integers.
    """
    module = torch.export.export(network.eval(), (example,)).module()
    assert isinstance(module, fx.GraphModule)
    _rewrite_each(
        module,
        _change_nothing_in_place,
        _drop_idle,
        _spread_activation,
        _pool_mean,
        _fold_batch_norm,
        _fold_number,
        _spread_hard_swish,
        _write_averages_as_layers,
    )
    return module


def for_any_number(folded: fx.GraphModule) -> fx.GraphModule:
    """Return a copy of a graph made for one image (1, C, S, S) that takes (N, C, S, S)."""
    copied = copy.deepcopy(folded)
    _rewrite_each(copied, _reshape_any_number)
    return copied


def layers(module: fx.GraphModule) -> Iterator[fx.Node]:
    """Give the nodes of convolutions and dense layers, in the order in which they run."""
    return (node for node in module.graph.nodes if node.target in WEIGHTED)


def layer_constants(module: nn.Module, node: fx.Node) -> list[Tensor | None]:
    """Return a layer's weights (out, ...) and its bias (out,), None where it has none.

    They are the graph's own: changed in place, they stay changed.
    """
    return [_constant(module, argument) for argument in (*node.args[1:3], None)[:2]]


def upper_bound(node: fx.Node) -> float:
    """Return what a ReLU that ends somewhere gives at most: 6 of ReLU6, 0 of any other node."""
    if node.target is _ATEN.relu6.default:
        return 6.0
    if node.target is _ATEN.hardtanh.default and node.args[1:2] == (0,):
        return float(node.args[2])  # type: ignore[arg-type]
    return 0.0


@torch.no_grad()
def watch(folded: fx.GraphModule, images: Tensor, seen: Callable[[str, Tensor], None]) -> None:
    """Run images (N, C, S, S) through a graph; `seen` is told each node's name and what it gave."""

    class Watched(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:  # noqa: ANN401 -- whatever a node gives
            result = super().run_node(n)
            if isinstance(result, Tensor) and n.op not in {"get_attr", "output"}:
                seen(n.name, result)
            return result

    Watched(folded).run(images)


def pad_before_pooling(module: fx.GraphModule) -> None:
    """Give a maximum of what is never negative its padding as zeros in a layer of their own.

    For TFLite, whose maximum knows only the padding "same": its converter would pad with minus
    infinity, which XNNPACK does not run. Beside what ReLU gives, zero changes no maximum.
    """
    _rewrite_each(module, _pad_apart)


def _rewrite_each(
    module: fx.GraphModule, *rewrites: Callable[[fx.GraphModule, fx.Node], None]
) -> None:
    for rewrite in rewrites:
        for node in list(module.graph.nodes):
            rewrite(module, node)
    module.graph.eliminate_dead_code()
    module.recompile()


def _change_nothing_in_place(module: fx.GraphModule, node: fx.Node) -> None:
    """Compute anew what is computed in place; what reads the old afterwards reads the new."""
    name, _, overload = str(node.target).removeprefix("aten.").partition(".")
    if not isinstance(node.target, torch._ops.OpOverload) or not name.endswith("_"):  # noqa: SLF001 -- has no public name
        return
    source = _input(node)
    nodes = list(module.graph.nodes)
    later = set(nodes[nodes.index(node) + 1 :])
    node.target = getattr(getattr(_ATEN, name[:-1]), overload)
    source.replace_all_uses_with(node, delete_user_cb=later.__contains__)


def _drop_idle(module: fx.GraphModule, node: fx.Node) -> None:
    """Drop dropout, and the check of the input's shape that torch.export adds."""
    if node.target in _DROPOUTS:
        _replace(module, node, _input(node))
    elif node.op == "call_module" and node.target == "_guards_fn":
        module.graph.erase_node(node)


def _spread_activation(module: fx.GraphModule, node: fx.Node) -> None:
    """Write out activations that both formats compute in several steps."""
    if node.target is _ATEN.silu.default:
        with module.graph.inserting_before(node):
            call = module.graph.call_function
            gate = call(_ATEN.sigmoid.default, (_input(node),))
            result = call(_ATEN.mul.Tensor, (_input(node), gate))
        _replace(module, node, result)
    if node.target is _ATEN.hardsigmoid.default:
        with module.graph.inserting_before(node):
            call = module.graph.call_function
            raised = call(_ATEN.add.Tensor, (_input(node), 3.0))
            clipped = call(_ATEN.hardtanh.default, (raised, 0.0, 6.0))
            result = call(_ATEN.mul.Tensor, (clipped, 1 / 6))
        _replace(module, node, result)


def _pool_mean(module: fx.GraphModule, node: fx.Node) -> None:
    """Write a mean over height and width as an average pooling to one pixel."""
    if node.target is not _ATEN.mean.dim or node.kwargs:
        return
    source, (_, dims, *keeps) = _input(node), node.args
    shape = source.meta["val"].shape
    if len(shape) != 4 or {d % 4 for d in dims} != {2, 3}:  # type: ignore[union-attr, operator] # noqa: PLR2004 -- NCHW
        return
    with module.graph.inserting_before(node):
        call = module.graph.call_function
        one = tuple(shape[2:]) == (1, 1)
        pooled = source if one else call(_ATEN.adaptive_avg_pool2d.default, (source, [1, 1]))
        result = pooled if any(keeps) else call(_ATEN.reshape.default, (pooled, list(shape[:2])))
    _replace(module, node, result)


def _fold_batch_norm(module: fx.GraphModule, node: fx.Node) -> None:
    if node.target is not _ATEN.batch_norm.default or node.args[5]:  # of the batch itself
        return
    source, epsilon = _input(node), node.args[7]
    assert isinstance(epsilon, float)
    weight, bias, mean, variance = (_value(module, argument) for argument in node.args[1:5])
    factor = torch.rsqrt(_given(variance, 1) + epsilon) * _given(weight, 1)
    summand = _given(bias, 0) - _given(mean, 0) * factor
    if _is_foldable(source):
        _scale_weights(module, source, factor, summand)
        _replace(module, node, source)
    else:
        _replace(module, node, _channelwise(module, node, factor, summand))


def _fold_number(module: fx.GraphModule, node: fx.Node) -> None:
    """Fold a number that a layer's result is multiplied by, or that is added to it."""
    if node.target not in _FACTORS | _SUMMANDS or node.kwargs:
        return
    source, number = node.args
    if isinstance(number, int | float) and isinstance(source, fx.Node) and _is_foldable(source):
        factor, summand = (number, 0) if node.target in _FACTORS else (1, number)
        _scale_weights(module, source, _given(None, factor), _given(None, summand))
        _replace(module, node, source)


def _spread_hard_swish(module: fx.GraphModule, node: fx.Node) -> None:
    """Write hard-swish of what a layer gives as (x / 6) × relu6(6 × (x / 6) + 3).

    Both formats compute it in integers, and alike: LiteRT has hard-swish of int8 outside of
    XNNPACK only, ONNX Runtime in float. The layer gives x / 6 at no cost.
    """
    if node.target is not _ATEN.hardswish.default or not _is_foldable(source := _input(node)):
        return
    channels = source.meta["val"].shape[1]
    _scale_weights(module, source, _given(None, 1 / 6), _given(None, 0))
    raised = _channelwise(module, node, torch.full((channels,), 6.0), torch.full((channels,), 3.0))
    with module.graph.inserting_before(node):
        call = module.graph.call_function
        clipped = call(_ATEN.hardtanh.default, (raised, 0.0, 6.0))
        result = call(_ATEN.mul.Tensor, (source, clipped))
    _replace(module, node, result)


def _write_averages_as_layers(module: fx.GraphModule, node: fx.Node) -> None:
    """Write the mean of each window as a convolution of each channel alone.

    As pooling LiteRT rounds ties away from zero and ONNX Runtime to even, and every second mean
    of four numbers is one. A layer has a grid of its own, on which both round alike.
    """
    if node.target is not _ATEN.avg_pool2d.default:
        return
    source, kernel, stride, padding, ceil, counted = (*node.args, *(None,) * 6)[:6]
    kernel, padding = _both(kernel), _both(padding or [0])
    if ceil or (counted is False and any(padding)) or node.args[6:]:
        return
    assert isinstance(source, fx.Node)
    channels = source.meta["val"].shape[1]
    (weight,) = _constants(module, node, torch.full((channels, 1, *kernel), 1 / math.prod(kernel)))
    strides = _both(stride) if stride else kernel
    with module.graph.inserting_before(node):
        arguments = (source, weight, None, strides, padding, [1, 1], channels)
        result = module.graph.call_function(_ATEN.conv2d.default, arguments)
    result.meta = node.meta
    _replace(module, node, result)


def _reshape_any_number(module: fx.GraphModule, node: fx.Node) -> None:
    del module
    if node.target in _RESHAPES:
        given: Any = node.args[1]
        first, *rest = node.meta["val"].shape if "val" in node.meta else given
        if first == 1:
            node.args = (_input(node), [-1, *rest])


def _pad_apart(module: fx.GraphModule, node: fx.Node) -> None:
    if node.target is not _ATEN.max_pool2d.default or len(node.args) < 4:  # noqa: PLR2004 -- no padding
        return
    source, kernel, stride, padding, *rest = node.args
    assert isinstance(source, fx.Node)
    if any(rest) or not _is_never_negative(source):  # dilated, or rounded up
        return
    size = list(source.meta["val"].shape[2:])
    if _is_same(size, _both(kernel), _both(stride), _both(padding)):
        return
    height, width = _both(padding)
    sides = [width, width, height, height]
    with module.graph.inserting_before(node):
        padded = module.graph.call_function(_ATEN.pad.default, (source, sides, "constant", 0.0))
    node.args = (padded, kernel, stride)


def _is_same(
    size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> bool:
    """Whether a padding is TensorFlow's "same", which needs no layer of its own."""
    steps = zip(size, kernel, stride, padding, strict=True)
    return all(max((-(-n // s) - 1) * s + k - n, 0) == 2 * p for n, k, s, p in steps)


def _is_never_negative(node: fx.Node) -> bool:
    if node.target in _RELUS:
        return True
    if node.target is _ATEN.hardtanh.default:
        return node.args[1:2] == (0,)
    if node.target in _MEANS_AND_MAXIMA:
        return _is_never_negative(_input(node))
    if node.target is _ATEN.cat.default:
        return all(_is_never_negative(part) for part in node.all_input_nodes)
    return False


def _is_foldable(node: fx.Node) -> bool:
    return node.target in WEIGHTED and len(node.users) == 1


def _scale_weights(module: fx.GraphModule, node: fx.Node, factor: Tensor, summand: Tensor) -> None:
    """Let a layer give factor × its result + summand; both (out,) or () float64."""
    _, weight_node, bias_node, *rest = (*node.args, None)[: max(3, len(node.args))]
    weight, bias = _value(module, weight_node), _value(module, bias_node)
    assert weight is not None
    scaled = weight * factor.expand(len(weight)).reshape(-1, *(1,) * (weight.ndim - 1))
    shifted = (_given(bias, 0) * factor + summand).expand(len(weight))
    constants = _constants(module, node, scaled, shifted)
    node.args = (_input(node), *constants, *rest)


def _channelwise(module: fx.GraphModule, node: fx.Node, factor: Tensor, summand: Tensor) -> fx.Node:
    """Write factor × x + summand, both (C,), as a convolution of each channel alone."""
    source, channels = _input(node), len(factor)
    weight, bias = _constants(module, node, factor.reshape(-1, 1, 1, 1), summand)
    settings = ([1, 1], [0, 0], [1, 1], channels)
    with module.graph.inserting_before(node):
        call = module.graph.call_function
        if node.meta["val"].ndim == 4:  # noqa: PLR2004 -- NCHW
            return call(_ATEN.conv2d.default, (source, weight, bias, *settings))
        square = call(_ATEN.reshape.default, (source, [1, channels, 1, 1]))
        result = call(_ATEN.conv2d.default, (square, weight, bias, *settings))
        return call(_ATEN.reshape.default, (result, [1, channels]))


def _constants(module: fx.GraphModule, node: fx.Node, *values: Tensor) -> list[fx.Node]:
    """Add float32 constants to the graph, for a node that comes after them."""
    nodes = []
    for index, value in enumerate(values):
        name = f"{node.name}_folded_{index}"
        while hasattr(module, name):  # folded twice
            name += "_again"
        module.register_buffer(name, value.float().contiguous())
        with module.graph.inserting_before(node):
            nodes.append(module.graph.get_attr(name))
    return nodes


def _replace(module: fx.GraphModule, node: fx.Node, other: fx.Node) -> None:
    node.replace_all_uses_with(other)
    module.graph.erase_node(node)


def _input(node: fx.Node) -> fx.Node:
    source = node.args[0]
    assert isinstance(source, fx.Node)
    return source


def _constant(module: nn.Module, node: object) -> Tensor | None:
    while isinstance(node, fx.Node) and node.op != "get_attr":
        node = node.args[0]  # rounded, in a simulation
    if not isinstance(node, fx.Node):
        return None
    value = attrgetter(str(node.target))(module)
    assert isinstance(value, Tensor)
    return value


def _value(module: fx.GraphModule, node: object) -> Tensor | None:
    """Return a parameter in float64, so that folding rounds once; None where there is none."""
    value = _constant(module, node)
    return None if value is None else value.detach().double()


def _given(value: Tensor | None, otherwise: float) -> Tensor:
    return torch.tensor(otherwise, dtype=torch.float64) if value is None else value


def _both(value: Any) -> list[int]:  # noqa: ANN401 -- a node's argument
    """Spread a size for height and width; ATen's lists hold one number for both, or two."""
    return list(value) * (2 // len(value))
