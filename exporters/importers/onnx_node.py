"""What the reading of an ONNX graph passes from node to node."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import fx

from leansight.exporters.errors import ConversionError

Constant = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Activation:
    """What an operator gives: the ONNX tensor is what `node` computes, its axes put in `order`.

    `shape` is the ONNX tensor's, for one image; the images of a batch follow each other on its axis
    `batch`, where one image may take several places. `affine`: it is the pixels but for factors and
    summands. `positive`: nothing in it is below zero.
    """

    node: fx.Node
    shape: tuple[int, ...]
    order: tuple[int, ...]
    batch: int = 0
    affine: bool = False
    positive: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether the axes are as torch has them."""
        return self.order == tuple(range(len(self.order)))


@dataclass(frozen=True, kw_only=True)
class Step:
    """One ONNX node with what it is given, and the torch graph that it is written to.

    `name` is how messages call it: the user's file, and the node there; `opset` is the version of
    ONNX's operators that it is written in.
    """

    graph: fx.Graph
    root: torch.nn.Module
    node: onnx.NodeProto
    name: str
    inputs: Sequence[Activation | Constant | None]
    shapes: Sequence[tuple[int, ...]]
    attributes: Mapping[str, Any]
    opset: int

    def refuse(self, why: str) -> ConversionError:
        """Return the error that says why the node cannot be read."""
        return ConversionError(f"{self.name}: {why}")

    def activation(self, index: int = 0) -> Activation:
        """Return an input that depends on the image."""
        value = self.inputs[index]
        if not isinstance(value, Activation):
            raise self.refuse("its input must come from the image")
        return value

    def plain(self, index: int = 0, *, axes: int | None = None) -> Activation:
        """Return such an input with its axes as torch has them, of so many axes."""
        value = self.activation(index)
        if axes is not None and len(value.shape) != axes:
            raise self.refuse(f"its input has {len(value.shape)} axes, not {axes}")
        if not value.is_plain:
            node = self.graph.call_function(torch.permute, (value.node, value.order))
            value = replace(value, node=node, order=tuple(range(len(value.order))))
        if axes is None or value.batch == 0:
            return value
        if max(value.shape[: value.batch]) > 1:
            raise self.refuse("the images of a batch are not on its input's first axis")
        node = self.graph.call_function(torch.reshape, (value.node, (-1, *value.shape[1:])))
        return replace(value, node=node, batch=0)

    def constant(self, index: int) -> Constant:
        """Return an input that is the same for every image."""
        value = self.optional(index)
        if value is None:
            raise self.refuse(f"its input {index} is missing")
        return value

    def optional(self, index: int) -> Constant | None:
        """Return such an input, or None where it is left out."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if isinstance(value, Activation):
            raise self.refuse("weights and sizes that depend on the image are not read")
        return value

    def setting(self, name: str, index: int, otherwise: Any) -> Any:
        """Return what is an attribute in old opsets and an input in new ones."""
        value = self.optional(index)
        return self.attributes.get(name, otherwise) if value is None else value.tolist()

    def weights(self, value: Constant) -> fx.Node:
        """Put a constant into the graph, as float32."""
        name = f"constant_{len(list(self.root.parameters()))}"
        numbers = torch.from_numpy(np.array(value, np.float32, order="C"))
        self.root.register_parameter(name, torch.nn.Parameter(numbers, requires_grad=False))
        return self.graph.get_attr(name)

    def places(self, indices: Sequence[int]) -> fx.Node:
        """Put places on an axis into the graph, as int64."""
        name = f"places_{len(list(self.root.buffers()))}"
        self.root.register_buffer(name, torch.tensor(indices))
        return self.graph.get_attr(name)

    def like(
        self,
        source: Activation,
        function: Callable[..., Any],
        *arguments: Any,
        positive: bool = False,
    ) -> Activation:
        """Write a call whose result has the axes of `source`, in the same order."""
        node = self.graph.call_function(function, arguments)
        return replace(source, node=node, affine=False, positive=positive)

    def call(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        order: tuple[int, ...] | None = None,
        batch: int = 0,
        affine: bool = False,
        positive: bool = False,
    ) -> Activation:
        """Write a call whose result is the node's, and in torch's order unless one is given."""
        shape = self.shapes[0]
        return Activation(
            node=self.graph.call_function(function, arguments),
            shape=shape,
            order=tuple(range(len(shape))) if order is None else order,
            batch=batch,
            affine=affine,
            positive=positive,
        )
