"""Layer norms without scale and shift: both go into the layers that take what is normalised.

What is left has a mean of 0 and a variance of 1, which int8 rounds well, and no converter folds
it in one format alone.
"""

from collections.abc import Iterator
from typing import Any, Final

from torch import Tensor, fx

from leansight.exporters.conversion.torch_graph import (
    ATEN,
    RESHAPES,
    add_constants,
    given,
    input_of,
    numbers_of,
    value_of,
)

_TO_CHANNELS_FIRST: Final = [0, 3, 1, 2]
# Stride, padding, dilation and groups of a convolution that leaves them out.
_CONVOLUTION: Final[tuple[Any, ...]] = ([1, 1], [0, 0], [1, 1], 1)


def fold_norm_into_next(module: fx.GraphModule, node: fx.Node) -> None:
    """Put scale and shift of a layer norm over features into all layers that take its result."""
    if node.target is not ATEN.layer_norm.default or len(numbers_of(node.args[1])) != 1:
        return
    weight, bias = (value_of(module, part) for part in (*node.args[2:4], None, None)[:2])
    readers = list(_readers(node))
    if (weight is None and bias is None) or not all(can_take(module, r) for r in readers):
        return
    for reader in readers:
        take(module, reader, given(weight, 1), given(bias, 0))
    node.args = (*node.args[:2], None, None, *node.args[4:])


def _readers(node: fx.Node) -> Iterator[fx.Node]:
    """Give what takes a node's result, also as rows, or with its channels put first."""
    features = node.meta["val"].shape[-1]
    for user in node.users:
        turned = user.target is ATEN.permute.default and user.args[1] == _TO_CHANNELS_FIRST
        if turned or (user.target in RESHAPES and user.meta["val"].shape[-1] == features):
            yield from user.users
        else:
            yield user


def can_take(module: fx.GraphModule, reader: fx.Node) -> bool:
    """Whether a layer reads each feature with weights of its own, and no padding."""
    if reader.target not in {ATEN.linear.default, ATEN.conv2d.default}:
        return False
    settings: list[Any] = [*reader.args[3:]]
    _, padding, _, groups = (*settings, *_CONVOLUTION[len(settings) :])
    return value_of(module, reader.args[1]) is not None and not any(padding) and bool(groups == 1)


def take(module: fx.GraphModule, reader: fx.Node, factor: Tensor, summand: Tensor) -> None:
    """Let a layer compute of x what it computed of factor × x + summand; both (features,) or ()."""
    weight, bias = (value_of(module, part) for part in (*reader.args[1:3], None)[:2])
    assert weight is not None
    side = (1, -1, *(1,) * (weight.ndim - 2))
    features = weight.shape[1]
    shift = (weight * summand.expand(features).reshape(side)).flatten(1).sum(1)
    scaled = weight * factor.expand(features).reshape(side)
    constants = add_constants(module, reader, scaled, given(bias, 0) + shift)
    reader.args = (input_of(reader), *constants, *reader.args[3:])


def scale_norm(module: fx.GraphModule, node: fx.Node, factor: Tensor, summand: Tensor) -> None:
    """Let a layer norm over features give factor × its result + summand; both (features,) or ()."""
    weight, bias = (value_of(module, part) for part in (*node.args[2:4], None, None)[:2])
    features = numbers_of(node.args[1])
    constants = add_constants(
        module,
        node,
        (given(weight, 1) * factor).expand(features),
        (given(bias, 0) * factor + summand).expand(features),
    )
    node.args = (*node.args[:2], *constants, *node.args[4:])
