"""Batching: a graph that is written for one image, made to take any number of them.

Operators know nothing of images: what one makes of an axis may be right for one image and mix two.
Here the images follow each other on the first axis of every activation, where one image may take
several places; an operator that would see that is applied to each image by torch.vmap.
"""

import copy
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.utils._pytree import tree_map

from leansight.exporters.conversion.torch_graph import (
    ACTIVATIONS,
    ATEN,
    IMAGE_AXES,
    MEANS_AND_MAXIMA,
    RESHAPES,
    WEIGHTED,
    add_shapes,
)

# What treats all places of the first axis alike.
_LAYERS: Final = WEIGHTED | {functional.conv2d, functional.linear, functional.batch_norm}
# What does so with pictures.
_OF_PICTURES: Final = (
    ACTIVATIONS
    | MEANS_AND_MAXIMA
    | {ATEN.add.Tensor, ATEN.mul.Tensor, ATEN.adaptive_avg_pool2d.default}
)
_ONE_PICTURE: Final = {(IMAGE_AXES, 1)}  # axes, and places of the first
_RESHAPES: Final = RESHAPES | {ATEN.flatten.using_ints, ATEN.unflatten.int, torch.reshape}


def for_any_number(module: fx.GraphModule, example: Tensor | None = None) -> fx.GraphModule:
    """Return a copy of a graph made for one image (1, C, H, W) that takes (N, C, H, W).

    What a node gives for one image, (A, ...), it gives for N as (N A, ...).

    Args:
        module: knows the shapes of what its nodes give (`add_shapes`), or
        example: is an image to find them with.

    """
    copied = copy.deepcopy(module)
    if example is None:
        (image,) = (node for node in copied.graph.nodes if node.op == "placeholder")
        example = torch.zeros(image.meta["val"].shape)
    add_shapes(copied, example)
    depends: set[fx.Node] = set()
    for node in copied.graph.nodes:
        if node.op == "placeholder" or not depends.isdisjoint(node.all_input_nodes):
            depends.add(node)
            _write(copied, node, depends)
    copied.recompile()
    return copied


def _write(module: fx.GraphModule, node: fx.Node, depends: set[fx.Node]) -> None:
    """Let a node that depends on the images take any number of them."""
    if node.op != "call_function" or node.target in _LAYERS:
        return
    if node.target in _RESHAPES:
        shape = node.meta["val"].shape
        node.target, node.args, node.kwargs = torch.reshape, (node.args[0], [-1, *shape[1:]]), {}
        return
    around = [
        node.meta.get("val"),
        *(n.meta.get("val") for n in node.all_input_nodes if n in depends),
    ]
    shapes = [value.shape for value in around if isinstance(value, Tensor)]
    is_part = len(shapes) < len(around) and node.target is operator.getitem  # of several results
    is_picture = node.target in _OF_PICTURES and {(len(s), s[0]) for s in shapes} == _ONE_PICTURE
    if is_part or is_picture:
        return
    parts = node.all_input_nodes

    def place(part: fx.Node) -> Any:  # noqa: ANN401 -- fx has no type for others than its own
        return _Place(parts.index(part))

    args, kwargs = fx.node.map_arg((node.args, node.kwargs), place)
    assert callable(node.target)
    name = f"each_image_{node.name}"
    module.add_submodule(
        name,
        _EachImage(
            node.target,
            args,
            kwargs,
            [part.meta["val"].shape if part in depends else None for part in parts],
        ),
    )
    node.op, node.target, node.args, node.kwargs = "call_module", name, tuple(parts), {}


@dataclass(frozen=True)
class _Place:
    """Stands for one of the tensors that a function is given."""

    index: int


class _EachImage(nn.Module):
    """Applies a function to each image by itself.

    Args:
        function: of tensors and settings.
        args: what it takes, `_Place` for a tensor.
        kwargs: the same by name.
        shapes: of each tensor for one image; None where it is the same for all of them.

    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        shapes: Sequence[torch.Size | None],
    ) -> None:
        super().__init__()
        self._function, self._args, self._kwargs, self._shapes = function, args, kwargs, shapes

    def forward(self, *tensors: Tensor) -> Tensor | Sequence[Tensor]:
        """Map tensors (N A, ...) to one, or to several, (N B, ...)."""
        given = list(zip(tensors, self._shapes, strict=True))
        if all(shape in (None, tensor.shape) for tensor, shape in given):
            return self._call(*tensors)
        split = [tensor if shape is None else tensor.reshape(-1, *shape) for tensor, shape in given]
        axes = tuple(None if shape is None else 0 for shape in self._shapes)
        result: Tensor | Sequence[Tensor] = tree_map(
            _join, torch.vmap(self._call, in_dims=axes)(*split)
        )
        return result

    def _call(self, *tensors: Tensor) -> Tensor | Sequence[Tensor]:
        def value(part: Any) -> Any:  # noqa: ANN401 -- whatever a function may take
            return tensors[part.index] if isinstance(part, _Place) else part

        args, kwargs = fx.node.map_aggregate((self._args, self._kwargs), value)
        result: Tensor | Sequence[Tensor] = self._function(*args, **kwargs)
        return result


def _join(result: Tensor) -> Tensor:
    return result.flatten(0, 1) if result.ndim > 1 else result
