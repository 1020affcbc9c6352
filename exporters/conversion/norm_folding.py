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
    """Put scale and shift of a layer norm over features into all layers that take its result.

    What else takes the result gets it scaled and shifted, as TFLite's converter would put the shift
    into the layers alone, in one format.
    """
    if node.target is not ATEN.layer_norm.default or len(numbers_of(node.args[1])) != 1:
        return
    weight, bias = (value_of(module, part) for part in (*node.args[2:4], None, None)[:2])
    features = node.meta["val"].shape[-1]
    readers = {user: list(_readers(user, features)) for user in node.users}
    taking = [
        user
        for user, found in readers.items()
        if all(reader.target is kind and can_take(module, reader) for reader, kind in found)
    ]
    if (weight is None and bias is None) or not taking:
        return
    for reader, _ in (each for user in taking for each in readers[user]):
        take(module, reader, given(weight, 1), given(bias, 0))
    node.args = (*node.args[:2], None, None, *node.args[4:])
    others = [user for user in readers if user not in taking]
    if others:
        parts = (part.expand(features) for part in (given(weight, 1), given(bias, 0)))
        following = node.next
        factor, summand = add_constants(module, following, *parts)
        with module.graph.inserting_before(following):
            scaled = module.graph.call_function(ATEN.mul.Tensor, (node, factor))
            whole = module.graph.call_function(ATEN.add.Tensor, (scaled, summand))
        scaled.meta["val"] = whole.meta["val"] = node.meta["val"]
        for user in others:
            user.replace_input_with(node, whole)


def _readers(user: fx.Node, features: int) -> Iterator[tuple[fx.Node, Any]]:
    """Give what takes a norm's features by a node, and which layer can read them there.

    A dense layer can where features are last, a convolution where channels were put first.
    """
    if user.target is ATEN.permute.default and user.args[1] == _TO_CHANNELS_FIRST:
        yield from ((reader, ATEN.conv2d.default) for reader in user.users)
    elif _moves_places(user, features):
        for reader in user.users:
            yield from _readers(reader, features)
    else:
        yield user, ATEN.linear.default


def _moves_places(node: fx.Node, features: int) -> bool:
    """Whether a node only moves places, so that each has its features on the last axis still."""
    if node.target is ATEN.permute.default:
        order = numbers_of(node.args[1])
        return order[-1] % len(order) == len(order) - 1
    return node.target in RESHAPES and bool(node.meta["val"].shape[-1] == features)


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
