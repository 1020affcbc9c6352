"""Graphs that are nothing but an int8 matrix product: what an interpreter can do at most.

Four products of (1024, 256) by (256, 256) one after the other, and one of a single row. TFLite has
them as 1×1 convolutions over 32×32 places of 256 channels, which is the same; ONNX as QLinearMatMul
with unsigned activations.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.extras import require
from leansight.runtime.interpreter import Format

SIDE: Final = 32
CHANNELS: Final = 256
PRODUCTS: Final = 4
# The last one has one row: so little comes out that nothing but products is timed.
PEAK_MACS: Final = PRODUCTS * (SIDE * SIDE * CHANNELS * CHANNELS) + CHANNELS * CHANNELS
_SHAPE: Final = (1, SIDE, SIDE, CHANNELS)
_ROW: Final = (1, 1, 1, CHANNELS)
_SCALE: Final = 0.02  # of activations; with that of weights, results keep their size
_WEIGHT_SCALE: Final = 0.002
_INT8_VERSION: Final = 3  # of TFLite's CONV_2D


def peak_graph(model_format: Format) -> bytes:
    """Return the graph in a format; MissingExtraError where what writes it is not installed."""
    return {"tflite": _tflite, "onnx": _onnx}[model_format]()


def _weights() -> NDArray[np.int8]:
    return np.random.default_rng(0).integers(-127, 128, (CHANNELS, CHANNELS)).astype(np.int8)


def _tflite() -> bytes:
    schema = require("ai_edge_litert.schema_py_generated", package="LiteRT", extra="bench")
    data = [_weights().tobytes(), bytes(4 * CHANNELS)]
    buffers = [schema.BufferT()]  # by definition empty
    buffers += [schema.BufferT(data=np.frombuffer(part, np.uint8)) for part in data]
    kinds = schema.TensorType
    weights = _tensor(schema, (CHANNELS, 1, 1, CHANNELS), kinds.INT8, _WEIGHT_SCALE, 1)
    bias = _tensor(schema, (CHANNELS,), kinds.INT32, _SCALE * _WEIGHT_SCALE, 2)
    shapes = [_SHAPE] * (PRODUCTS + 1) + [_ROW]
    activations = [_tensor(schema, shape, kinds.INT8, _SCALE, 0) for shape in shapes]
    operators = [_convolution(schema, 2 + n) for n in range(PRODUCTS + 1)]
    operators[-1].builtinOptions.strideW = operators[-1].builtinOptions.strideH = SIDE
    graph = schema.SubGraphT(
        tensors=[weights, bias, *activations],
        operators=operators,
        inputs=[2],
        outputs=[1 + len(activations)],
    )
    code = schema.BuiltinOperator.CONV_2D
    model = schema.ModelT(
        version=3,
        operatorCodes=[
            schema.OperatorCodeT(
                builtinCode=code, deprecatedBuiltinCode=code, version=_INT8_VERSION
            )
        ],
        subgraphs=[graph],
        buffers=buffers,
    )
    builder = schema.flatbuffers.Builder(1 << 17)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(schema: Any, shape: tuple[int, ...], kind: int, scale: float, buffer: int) -> Any:  # noqa: ANN401 -- flatbuffers writes classes without types
    grid = schema.QuantizationParametersT(scale=[scale], zeroPoint=[0])
    return schema.TensorT(shape=list(shape), type=kind, buffer=buffer, name=b"t", quantization=grid)


def _convolution(schema: Any, source: int) -> Any:  # noqa: ANN401 -- flatbuffers writes classes without types
    options = schema.Conv2DOptionsT(padding=schema.Padding.VALID, strideW=1, strideH=1)
    return schema.OperatorT(
        opcodeIndex=0,
        inputs=[source, 0, 1],
        outputs=[source + 1],
        builtinOptionsType=schema.BuiltinOptions.Conv2DOptions,
        builtinOptions=options,
    )


def _onnx() -> bytes:
    onnx = require("onnx", package="onnx", extra="bench")
    helper, tensors, kinds = onnx.helper, onnx.numpy_helper, onnx.TensorProto
    constants = {
        "weights": _weights(),
        "scale": np.float32(_SCALE),
        "zero": np.uint8(128),
        "weight_scale": np.float32(_WEIGHT_SCALE),
        "weight_zero": np.int8(0),
        "starts": np.zeros(2, np.int64),
        "ends": np.ones(2, np.int64),
        "axes": np.array([1, 2], np.int64),
    }
    names = ["image", *(f"product{n}" for n in range(PRODUCTS))]
    sources = [*names[:-1], "row"]
    operands = ("scale", "zero", "weights", "weight_scale", "weight_zero", "scale", "zero")
    nodes = [
        helper.make_node("QLinearMatMul", [source, *operands], [result])
        for source, result in zip(sources, [*names[1:], "last"], strict=True)
    ]
    nodes.insert(-1, helper.make_node("Slice", [names[-1], "starts", "ends", "axes"], ["row"]))
    nodes.append(helper.make_node("DequantizeLinear", ["last", "scale", "zero"], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "peak",
        [helper.make_tensor_value_info("image", kinds.UINT8, _SHAPE)],
        [helper.make_tensor_value_info("logits", kinds.FLOAT, _ROW)],
        [tensors.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())
