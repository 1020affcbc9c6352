"""float16, bfloat16 and float64 networks become float32, as both runtimes compute float."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import onnx
from onnx import numpy_helper

_FLOAT: Final = onnx.TensorProto.FLOAT
_HALVES: Final = frozenset({onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16})
FLOATS: Final = frozenset({_FLOAT, onnx.TensorProto.DOUBLE, *_HALVES})
"""The types of images that a network can take."""
# Attributes that hold the type of what a node gives.
_TYPES: Final = frozenset({"to", "dtype", "output_dtype"})


def as_float32(model: onnx.ModelProto) -> str:
    """Let a network compute in float32, in place; return what it computed in, "" if in that.

    Weights of 16 bits keep their values. Those of 64 are rounded, where the network takes images
    of 64 bits; in others they are sizes that it computes.
    """
    kinds = {value.type.tensor_type.elem_type for value in model.graph.input}
    others: set[int] = {*_HALVES, *({onnx.TensorProto.DOUBLE} & kinds)}
    found = {kind for graph in _graphs(model.graph) for kind in _convert(graph, others)}
    del model.graph.value_info[:]
    names = sorted(_readable(kind) for kind in found)
    return " and ".join(names)


def _readable(kind: int) -> str:
    name = onnx.TensorProto.DataType.Name(kind).lower()
    return "float64" if name == "double" else name


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _convert(graph: onnx.GraphProto, others: set[int]) -> Iterator[int]:
    """Convert one graph; give the types that were found in it."""
    for value in (*graph.input, *graph.output):
        if (kind := value.type.tensor_type.elem_type) in others:
            value.type.tensor_type.elem_type = _FLOAT
            yield kind
    for tensor in graph.initializer:
        yield from _convert_tensor(tensor, others)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in _TYPES and attribute.i in others:
                yield attribute.i
                attribute.i = _FLOAT
            if attribute.HasField("t"):
                yield from _convert_tensor(attribute.t, others)


def _convert_tensor(tensor: onnx.TensorProto, others: set[int]) -> Iterator[int]:
    if tensor.data_type in others:
        yield tensor.data_type
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
