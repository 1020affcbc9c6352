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

    `shape` is the ONNX tensor's, for one image. `affine`: it is the pixels but for factors and
    summands. `positive`: nothing in it is below zero. `condition`: it says where something holds.
    """

    node: fx.Node
    shape: tuple[int, ...]
    order: tuple[int, ...]
    affine: bool = False
    positive: bool = False
    condition: bool = False

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
        return self.in_order(value)

    def in_order(self, value: Activation) -> Activation:
        """Return an activation with its axes as torch has them."""
        if value.is_plain:
            return value
        node = self.graph.call_function(torch.permute, (value.node, value.order))
        return replace(value, node=node, order=tuple(range(len(value.order))))

    def operands(self) -> tuple[list[fx.Node | float], tuple[int, ...]]:
        """Return all inputs with their axes in one order, and this order; constants are numbers."""
        activations = [value for value in self.inputs if isinstance(value, Activation)]
        constants = [value for value in self.inputs if isinstance(value, np.ndarray)]
        order = activations[0].order
        is_common = {value.order for value in activations} == {order}
        if not is_common or any(value.size > 1 for value in constants):
            activations = [self.in_order(value) for value in activations]
            order = tuple(range(len(self.shapes[0])))
        nodes = iter(activations)
        return [
            next(nodes).node if isinstance(value, Activation) else self._number_or_weights(value)
            for value in self.inputs
        ], order

    def _number_or_weights(self, value: Constant | None) -> fx.Node | float:
        if value is None:
            raise self.refuse("one of its inputs is missing")
        if value.size == 1:
            number: float = value.item()
            return number
        return self.condition(value) if value.dtype == bool else self.weights(value)

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
        return self._buffer(torch.tensor([*indices]))

    def condition(self, value: Constant) -> fx.Node:
        """Put a constant into the graph that says where something holds."""
        return self._buffer(torch.from_numpy(value.copy()))

    def _buffer(self, value: torch.Tensor) -> fx.Node:
        name = f"buffer_{len(list(self.root.buffers()))}"
        self.root.register_buffer(name, value)
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
        return replace(source, node=node, affine=False, positive=positive, condition=False)

    def call(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        order: tuple[int, ...] | None = None,
        affine: bool = False,
        positive: bool = False,
    ) -> Activation:
        """Write a call whose result is the node's, and in torch's order unless one is given."""
        shape = self.shapes[0]
        return Activation(
            node=self.graph.call_function(function, arguments),
            shape=shape,
            order=tuple(range(len(shape))) if order is None else order,
            affine=affine,
            positive=positive,
        )
