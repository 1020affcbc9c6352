"""The int8 files as they are: read with onnx and the TFLite schema, not by leansight."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from onnx import numpy_helper


@dataclass(frozen=True)
class Layer:
    """A layer's integers, weights as (out, in, height, width), and the grid of its output."""

    weights: NDArray[np.int8]
    scale: NDArray[np.float32]
    bias: NDArray[np.int32]
    bias_scale: NDArray[np.float32]
    output: tuple[float, int]


OPERATORS = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
TYPES = {v: k for k, v in vars(schema.TensorType).items() if isinstance(v, int)}


class Tflite:
    """Straight from the flatbuffer."""

    def __init__(self, file: bytes) -> None:
        self.file = file
        self.model = schema.ModelT.InitFromPackedBuf(file, 0)
        (self.graph,) = self.model.subgraphs
        self.tensors = self.graph.tensors
        self.operators = [
            (OPERATORS[self.code(op)], list(op.inputs), op.outputs[0])
            for op in self.graph.operators
        ]

    def code(self, operator: Any) -> int:  # noqa: ANN401 -- flatbuffers has no types
        code = self.model.operatorCodes[operator.opcodeIndex]
        return int(max(code.builtinCode, code.deprecatedBuiltinCode))

    def values(self, tensor: int, dtype: type) -> NDArray[Any]:
        buffer = self.model.buffers[self.tensors[tensor].buffer]
        if buffer.data is not None and len(buffer.data):
            data = bytes(buffer.data)
        else:  # ai-edge-quantizer puts them behind the flatbuffer
            data = self.file[buffer.offset : buffer.offset + buffer.size]
        return np.frombuffer(data, dtype).reshape(self.tensors[tensor].shape)

    def scale(self, tensor: int) -> NDArray[np.float32]:
        return np.asarray(self.tensors[tensor].quantization.scale, np.float32)

    def grid(self, tensor: int) -> tuple[float, int]:
        quantization = self.tensors[tensor].quantization
        assert len(quantization.scale) == len(quantization.zeroPoint) == 1
        return float(quantization.scale[0]), int(quantization.zeroPoint[0])

    def layers(self) -> list[Layer]:
        order = {
            "CONV_2D": (0, 3, 1, 2),
            "DEPTHWISE_CONV_2D": (3, 0, 1, 2),
            "FULLY_CONNECTED": (0, 1),
        }
        return [
            Layer(
                weights=self.values(weights, np.int8).transpose(order[kind]),
                scale=self.scale(weights),
                bias=self.values(bias, np.int32),
                bias_scale=self.scale(bias),
                output=self.grid(output),
            )
            for kind, (_, weights, bias), output in (o for o in self.operators if o[0] in order)
        ]


class Onnx:
    """Straight from the protobuf."""

    def __init__(self, file: bytes) -> None:
        self.model = onnx.load_from_string(file)
        onnx.checker.check_model(self.model, full_check=True)
        self.nodes = list(self.model.graph.node)
        self.constants = {i.name: numpy_helper.to_array(i) for i in self.model.graph.initializer}
        self.producers = {name: n for n in self.nodes for name in n.output}

    def grid(self, node: onnx.NodeProto) -> tuple[float, int]:
        scale, zero = (self.constants[name] for name in node.input[1:])
        assert (scale.shape, zero.shape, zero.dtype) == ((), (), np.uint8)
        return float(scale), int(zero)

    def quantizer(self, name: str) -> onnx.NodeProto:
        (after,) = (n for n in self.nodes if name in n.input)
        assert after.op_type == "QuantizeLinear"
        return after

    def layers(self) -> list[Layer]:
        result = []
        for node in (n for n in self.nodes if n.op_type in {"Conv", "Gemm"}):
            parts = []
            for name in node.input[1:]:
                dequantize = self.producers[name]
                assert dequantize.op_type == "DequantizeLinear"
                integers, steps, zero_points = (self.constants[i] for i in dequantize.input)
                assert not zero_points.any()  # symmetric
                parts += [integers, steps]
            if len(parts) == 2:  # no bias
                parts += [np.zeros(len(parts[0]), np.int32), np.ones(len(parts[0]), np.float32)]
            scale, zero = self.grid(self.quantizer(node.output[0]))
            result.append(Layer(*parts, output=(scale, zero - 128)))
        return result


def key(layer: Layer) -> bytes:
    return layer.weights.tobytes()


def optimised(model: bytes, folder: Path) -> onnx.GraphProto:
    """Return what ONNX Runtime makes of a model before it runs it."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimised.onnx").graph
