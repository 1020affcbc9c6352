"""An ONNX graph written as a torch graph, node by node."""

import math
import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import fx, nn
from torch.nn import functional

from leansight.exporters.conversion.any_number import for_any_number
from leansight.exporters.conversion.torch_graph import IMAGE_AXES
from leansight.exporters.errors import ConversionError
from leansight.exporters.importers.operators.node import Activation, Constant, Step
from leansight.exporters.importers.operators.table import OPERATORS
from leansight.exporters.importers.preparation.fused_operators import DOMAIN

_OURS: Final = frozenset({"", "ai.onnx"})


class GraphReader:
    """Writes an ONNX graph as a torch graph, node by node.

    `model` is what ONNX Runtime made of the user's `source`, whose nodes messages name.
    """

    def __init__(
        self, model: onnx.ModelProto, source: onnx.ModelProto, name: str, *, channels_last: bool
    ) -> None:
        self._model = model
        self._sources: dict[str, onnx.NodeProto] = {
            key: node for node in source.graph.node for key in (node.name, *node.output) if key
        }
        self._readers = {used: node for node in model.graph.node for used in node.input}
        self._name = name
        self._opset = max(o.version for o in model.opset_import if o.domain in _OURS)
        self._root = nn.Module()
        self._graph = fx.Graph()
        self._shapes = {
            value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
            for value in (*model.graph.input, *model.graph.value_info, *model.graph.output)
            if value.type.tensor_type.HasField("shape")
        }
        self._values: dict[str, Activation | Constant | None] = {"": None}
        for initializer in model.graph.initializer:
            self._values[initializer.name] = numpy_helper.to_array(initializer)
        image = next(v.name for v in model.graph.input if v.name not in self._values)
        shape, order = self._shapes[image], (0, 2, 3, 1) if channels_last else (0, 1, 2, 3)
        self._example = torch.zeros([shape[order.index(axis)] for axis in range(IMAGE_AXES)])
        self._values[image] = Activation(
            node=self._graph.placeholder("image"), shape=shape, order=order, affine=True
        )

    def read(self) -> tuple[fx.GraphModule, int]:
        """Return the network and how many numbers the file gives for an image."""
        for node in self._model.graph.node:
            self._write(node)
        result = self._values[self._model.graph.output[0].name]
        if not isinstance(result, Activation):
            raise ConversionError(f"what {self._name} gives does not depend on the image")
        outputs = math.prod(result.shape)
        if outputs != max(result.shape, default=0):
            raise ConversionError(
                f"{self._name} gives {'×'.join(map(str, result.shape))} numbers for an image, "
                "not one a class"
            )
        self._graph.output(self._logits(result, outputs))
        self._graph.eliminate_dead_code()
        network = fx.GraphModule(self._root, self._graph).eval()
        return for_any_number(network, self._example), outputs

    def _logits(self, result: Activation, outputs: int) -> fx.Node:
        call = self._graph.call_function
        logits = result.node
        if result.shape != (1, outputs):
            logits = call(torch.reshape, (logits, (1, outputs)))
        return logits if outputs > 1 else self._both_classes(logits)

    def _both_classes(self, logit: fx.Node) -> fx.Node:
        """Make two logits of one: the softmax of -z/2 and z/2 is the sigmoid of z."""
        call = self._graph.call_function
        if logit.target is functional.linear:
            source, *constants = logit.args
            return call(functional.linear, (source, *map(self._halves, constants)))
        parts = tuple(call(operator.mul, (logit, factor)) for factor in (-0.5, 0.5))
        return call(torch.cat, (parts, 1))

    def _halves(self, constant: object) -> fx.Node | None:
        """Return a dense layer's weights or bias with a row for each of two classes."""
        if not isinstance(constant, fx.Node):
            return None
        values = self._root.get_parameter(str(constant.target))
        halves = nn.Parameter(torch.cat((values / -2, values / 2)), requires_grad=False)
        self._root.register_parameter(f"{constant.target}_halves", halves)
        return self._graph.get_attr(f"{constant.target}_halves")

    def _write(self, node: onnx.NodeProto) -> None:
        inputs = [self._values[name] for name in node.input]
        if node.domain in _OURS and node.op_type == "Shape":
            self._values[node.output[0]] = np.array(self._shape(node.input[0]), np.int64)
            return
        if node.domain in _OURS and not any(isinstance(value, Activation) for value in inputs):
            self._values |= self._computed(node)
            return
        own = self._own_node(node)
        if node.domain not in _OURS or node.op_type not in OPERATORS:
            raise self._unread(own)
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        step = Step(
            graph=self._graph,
            root=self._root,
            node=node,
            name=f"{self._name}: {own.op_type} {own.name or own.output[0]}",
            inputs=inputs,
            shapes=[self._shape(name) for name in node.output if name],
            attributes=attributes,
            opset=self._opset,
        )
        results = OPERATORS[node.op_type](step)
        for name, value in zip(node.output, _listed(results), strict=False):
            self._values[name] = replace(value, shape=self._shape(name))

    def _shape(self, tensor: str) -> tuple[int, ...]:
        shape = self._shapes.get(tensor)
        if shape is None or not all(shape):
            raise ConversionError(
                f"{self._name}: the shape of {tensor} is not known before the file runs"
            )
        return shape

    def _unread(self, node: onnx.NodeProto) -> ConversionError:
        """Return the error for a node of the user's file whose operator is not known."""
        domain = f"{node.domain}." if node.domain not in _OURS else ""
        hint = ""
        if node.domain.startswith(DOMAIN):
            hint = (
                ": ONNX Runtime has optimized this file. Give the one from before that, or save it "
                "with ORT_ENABLE_BASIC"
            )
        return ConversionError(
            f"{self._name} has the operator {domain}{node.op_type} "
            f"({node.name or node.output[0]}), which leansight does not read{hint}"
        )

    def _own_node(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """Return the node of the user's file that one stands for: ONNX Runtime makes some anew."""
        made = node
        while not self._sources.keys() & {made.name, made.output[0]}:
            if made.output[0] not in self._readers:
                return node
            made = self._readers[made.output[0]]
        key = made.output[0] if made.output[0] in self._sources else made.name
        return self._sources[key]

    def _computed(self, node: onnx.NodeProto) -> dict[str, Constant]:
        """Return what a node gives for every image alike, where ONNX Runtime has left it."""
        opsets = {opset.domain: opset.version for opset in self._model.opset_import}
        evaluator = ReferenceEvaluator(node, opsets=opsets)
        given = {name: self._values[name] for name in node.input if name}
        return dict(zip(node.output, evaluator.run(None, given), strict=True))


def _listed(results: Activation | Sequence[Activation]) -> Sequence[Activation]:
    return [results] if isinstance(results, Activation) else results
