"""Quantized layers of an int8 file, read alike from both formats: on which grids they compute.

In ONNX, what a layer takes comes from a DequantizeLinear and what it gives goes into a
QuantizeLinear: that pair's integers are the tensor. What only moves numbers may pass them on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from onnx import numpy_helper

from leansight.exporters.tflite.file import unpack

_CASTS: Final = frozenset({"QUANTIZE", "DEQUANTIZE", "QuantizeLinear", "DequantizeLinear"})
# Which inputs are a layer's weights and its bias, and on which axis of the weights channels are.
_TFLITE_LAYERS: Final = {
    "CONV_2D": (1, 2, 0),
    "DEPTHWISE_CONV_2D": (1, 2, 3),
    "TRANSPOSE_CONV": (1, 3, 0),
    "FULLY_CONNECTED": (1, 2, 0),
}
_ONNX_LAYERS: Final = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1, "MatMul": -1}
# What only moves numbers, or leaves some out.
_MOVING: Final = frozenset(
    {"Clip", "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad"}
    | {"Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)
_WITH_SETTINGS: Final = frozenset({"Clip", "Pad", "Resize"})  # their other inputs: bounds, sizes
_BYTES: Final = frozenset({onnx.TensorProto.INT8, onnx.TensorProto.UINT8})
_OPERATORS: Final = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
_TYPES: Final = {v: k.lower() for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
_NUMBERS: Final = frozenset({"int8", "uint8", "float16", "float32"})  # not axes and sizes
_FLOAT: Final = np.zeros((), np.float32)


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A tensor with its number of scales, on an `axis`; `symmetric`: all its zero points are 0."""

    name: str
    dtype: str
    scales: int = 0
    axis: int = 0
    symmetric: bool = True

    @property
    def is_float(self) -> bool:
        """Whether it holds numbers that are not whole."""
        return self.dtype.startswith("float")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """An operator that is no cast, under its name and its format's.

    `channels` are so many, on an `axis` of the weights.
    """

    name: str
    takes: Sequence[Tensor]
    gives: Sequence[Tensor]
    weights: Tensor | None = None
    bias: Tensor | None = None
    channels: int = 0
    axis: int = 0


def tflite_layers(model: bytes) -> Iterator[Layer]:
    """Give the layers of a TFLite file in the order in which they run."""
    (graph,) = (root := unpack(model)).subgraphs
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in root.operatorCodes]
    operators = [(_OPERATORS[codes[o.opcodeIndex]], o) for o in graph.operators]
    computed = {int(i) for i in (*graph.inputs, *(i for _, o in operators for i in o.outputs))}
    tensors = [_tflite_tensor(tensor) for tensor in graph.tensors]
    for kind, operator in ((k, o) for k, o in operators if k not in _CASTS):
        inputs, outputs = ([int(i) for i in found] for found in (operator.inputs, operator.outputs))
        weights, bias, axis = _TFLITE_LAYERS.get(kind, (-1, -1, 0))
        fixed = {at: i for at, i in enumerate(inputs) if i not in computed}
        own = {at: tensors[fixed[at]] for at in (weights, bias) if fixed.get(at, -1) >= 0}
        others = [i for at, i in enumerate(inputs) if at not in own and i >= 0]
        yield Layer(
            name=f"TFLite's {kind} {tensors[outputs[0]].name}",
            takes=[tensors[i] for i in others if i in computed or tensors[i].dtype in _NUMBERS],
            gives=[tensors[i] for i in outputs],
            weights=own.get(weights),
            bias=own.get(bias),
            channels=int(graph.tensors[inputs[weights]].shape[axis]) if own else 0,
            axis=axis,
        )


def _tflite_tensor(tensor: Any) -> Tensor:
    quantization, name = tensor.quantization, tensor.name.decode()
    if quantization is None or quantization.scale is None or quantization.zeroPoint is None:
        return Tensor(name=name, dtype=_TYPES[tensor.type])
    return Tensor(
        name=name,
        dtype=_TYPES[tensor.type],
        scales=len(quantization.scale),
        axis=quantization.quantizedDimension,
        symmetric=not any(quantization.zeroPoint),
    )


def onnx_layers(graph: onnx.GraphProto) -> Iterator[Layer]:
    """Give the layers of an ONNX graph in the order in which they run."""
    return _OnnxGraph(graph).layers()


class _OnnxGraph:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self._nodes = list(graph.node)
        self._constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        self._outputs = {output.name for output in graph.output}
        self._makers = {name: node for node in self._nodes for name in node.output}
        self._readers: Mapping[str, list[onnx.NodeProto]] = {name: [] for name in self._makers}
        self._integers = {i.name for i in graph.input if i.type.tensor_type.elem_type in _BYTES}
        for node in self._nodes:
            for name in node.input:
                self._readers.get(name, []).append(node)
            moved = node.op_type in _MOVING and node.input[0] in self._integers
            if node.op_type == "QuantizeLinear" or moved:
                self._integers.update(node.output)

    def layers(self) -> Iterator[Layer]:
        for node in (n for n in self._nodes if n.op_type not in _CASTS):
            weights = self._stored(node.input[1]) if node.op_type in _ONNX_LAYERS else None
            alone = weights is not None or node.op_type in _WITH_SETTINGS
            names = [n for n in node.input[: 1 if alone else None] if self._is_number(n)]
            own = [self._taken(node, name) for name in node.input[1:] if weights is not None]
            axis = _channel_axis(node)
            yield Layer(
                name=f"ONNX's {node.op_type} {node.name or node.output[0]}",
                takes=[self._taken(node, name) for name in names],
                gives=[self._given(node, name) for name in node.output],
                weights=own[0] if own else None,
                bias=own[1] if own[1:] else None,
                channels=0 if weights is None else weights.shape[axis],
                axis=0 if weights is None else axis % weights.ndim,
            )

    def _is_number(self, name: str) -> bool:
        """Whether a tensor is there, and no constant of axes or sizes."""
        return bool(name) and self._constants.get(name, _FLOAT).dtype.name in _NUMBERS

    def _stored(self, name: str) -> NDArray[Any] | None:
        """Return a constant as it is in the file, in integers or not; None if it is computed."""
        maker = self._makers.get(name)
        is_cast = maker is not None and maker.op_type == "DequantizeLinear"
        return self._constants.get(maker.input[0] if maker is not None and is_cast else name)

    def _taken(self, node: onnx.NodeProto, name: str) -> Tensor:
        """Return what a node reads as the integers that it comes from."""
        maker, moving = self._makers.get(name), node.op_type in _MOVING
        if maker is not None and maker.op_type == "DequantizeLinear":
            return self._on_grid(maker, name)
        if name in self._constants:
            return Tensor(name=name, dtype=self._constants[name].dtype.name)
        if name in self._integers:  # who moves them needs no scale
            return Tensor(name=name, dtype="uint8", scales=int(moving))
        if moving and maker is not None and maker.op_type in _MOVING:
            return replace(self._taken(maker, maker.input[0]), name=name)
        return Tensor(name=name, dtype="float32")

    def _given(self, node: onnx.NodeProto, name: str) -> Tensor:
        """Return what a node gives as the integers that are made of it."""
        readers = self._readers[name]
        rounded = readers and all(reader.op_type == "QuantizeLinear" for reader in readers)
        if rounded and name not in self._outputs:
            return self._on_grid(readers[0], name)
        if node.op_type in _MOVING:
            return replace(self._taken(node, node.input[0]), name=name)
        return Tensor(name=name, dtype="float32")

    def _on_grid(self, cast: onnx.NodeProto, name: str) -> Tensor:
        scale, zero = (self._constants.get(part) for part in (*cast.input, "")[1:3])
        axes = [attribute.i for attribute in cast.attribute if attribute.name == "axis"]
        stored = self._constants.get(cast.input[0], zero)
        return Tensor(
            name=name,
            dtype="uint8" if stored is None else stored.dtype.name,
            scales=0 if scale is None else scale.size,
            axis=axes[0] if axes else 1,
            symmetric=zero is None or not zero.any(),
        )


def _channel_axis(node: onnx.NodeProto) -> int:
    """Return on which axis of its weights a layer has its output channels."""
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 0 if transposed else _ONNX_LAYERS.get(node.op_type, 0)
