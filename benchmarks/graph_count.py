"""Count parameters and multiply-accumulates on the exported graph itself.

MACs: convolutions (grouped, depthwise and transposed too), fully connected layers and matrix
products, for one image; multiplications with padding count, everything else costs none. Averages
of windows, and batch norms that no layer before takes in, are convolutions in what leansight
exports, and count as such.
Parameters: the constant operands of these, and constants of more than one value that are
added, subtracted, multiplied or divided elementwise. Each tensor counts once. Not counted:
quantization scales, shapes, scalars such as a normalisation, and biases that are all zero,
which converters add where a layer has none. So a network has one count in both formats.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from leansight.benchmarks.results.result import LayerCount
from leansight.runtime.bundle import Precision, describe_precision
from leansight.runtime.errors import BundleError, LeansightError
from leansight.runtime.extras import require
from leansight.runtime.interpreter import Format

Shape = Sequence[int]


@dataclass(frozen=True, kw_only=True)
class GraphCount:
    """What one inference of a graph takes; precision is "int8" if a convolution's weights are.

    Where there is no convolution, the weights of the other layers decide. `float_layers` counts
    the layers of an int8 graph whose weights are not of 8 bits. `layers` are the single operations.
    """

    parameters: int
    macs: int
    precision: Precision
    float_layers: int = 0
    layers: tuple[LayerCount, ...] = field(default=(), compare=False)

    @property
    def precision_text(self) -> str:
        """What it computes in: "int8", "float32" or "int8, 3 layers float32"."""
        return describe_precision(self.precision, self.float_layers)


def count_graph(model: bytes, model_format: Format, *, name: str = "the model") -> GraphCount:
    """Count a model's bytes; `name` is what error messages call it.

    Raises:
        BundleError: the bytes are no graph of that format, or a shape in it is not fixed.
        MissingExtraError: the package that reads the format is not installed.

    """
    read = {"tflite": _tflite_operations, "onnx": _onnx_operations}[model_format]
    try:
        return _total(list(read(model)))
    except LeansightError:
        raise
    except Exception as error:  # flatbuffers and protobuf raise whatever damaged bytes lead to
        raise BundleError(f"{name} has no {model_format} graph to count: {error!r}") from error


@dataclass(frozen=True, kw_only=True)
class _Constant:
    key: str
    elements: int
    is_8_bit: bool
    is_zero: bool


@dataclass(frozen=True, kw_only=True)
class _Operation:
    """An operation that multiplies or adds; operands that are computed have no constant."""

    name: str
    result: str
    macs: int
    weights: Sequence[_Constant]
    added: Sequence[_Constant]


def _total(operations: Sequence[_Operation]) -> GraphCount:
    counted = {c.key: c.elements for operation in operations for c in operation.weights}
    counted |= {c.key: c.elements for o in operations for c in o.added if not c.is_zero}
    layers = [o for o in operations if o.weights]
    in_float = [o for o in layers if not _is_8_bit(o)]
    convolutions = [o for o in layers if "conv" in o.name.lower()]
    is_int8 = any(o not in in_float for o in convolutions or layers)
    return GraphCount(
        parameters=sum(counted.values()),
        macs=sum(operation.macs for operation in operations),
        precision="int8" if is_int8 else "float32",
        float_layers=len(in_float) if is_int8 else 0,
        layers=tuple(
            LayerCount(name=o.result, operation=o.name, macs=o.macs, is_int8=_is_8_bit(o))
            for o in operations
            if o.macs
        ),
    )


def _is_8_bit(operation: _Operation) -> bool:
    return bool(operation.weights) and all(c.is_8_bit for c in operation.weights)


# Where each operation has its weights and what is added to its products (bias).
_Operands = tuple[Sequence[int], Sequence[int]]
_ONNX_OPERANDS: Final[dict[str, _Operands]] = {
    "Conv": ([1], [2]),
    "ConvTranspose": ([1], [2]),
    "ConvInteger": ([1], []),
    "QLinearConv": ([3], [8]),
    "Gemm": ([0, 1], [2]),
    "MatMul": ([0, 1], []),
    "MatMulInteger": ([0, 1], []),
    "QLinearMatMul": ([0, 3], []),
    "BatchNormalization": ([], [1, 2]),  # mean and variance vanish when it is folded
}
_ONNX_ELEMENTWISE: Final = frozenset({"Add", "Sub", "Mul", "Div", "PRelu"})
# What a constant may pass through between its store and its use.
_ONNX_TRANSPARENT: Final = frozenset(
    {"Cast", "DequantizeLinear", "Identity", "QuantizeLinear", "Reshape", "Transpose"}
)
_TFLITE_OPERANDS: Final[dict[str, _Operands]] = {
    "CONV_2D": ([1], [2]),
    "DEPTHWISE_CONV_2D": ([1], [2]),
    "TRANSPOSE_CONV": ([1], [3]),
    "FULLY_CONNECTED": ([1], [2]),
    "BATCH_MATMUL": ([0, 1], []),
}
_TFLITE_ELEMENTWISE: Final = frozenset({"ADD", "SUB", "MUL", "DIV", "PRELU"})
_TFLITE_TRANSPARENT: Final = frozenset({"CAST", "DEQUANTIZE", "QUANTIZE", "RESHAPE", "TRANSPOSE"})


def _onnx_operations(model: bytes) -> Iterator[_Operation]:
    onnx = require("onnx", package="onnx", extra="bench")
    graph = _with_shapes(onnx, model).graph
    shapes = _onnx_shapes(graph)
    constants = _onnx_constants(onnx, graph)
    for node in graph.node:
        if node.op_type in _ONNX_TRANSPARENT and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
        elif node.op_type in _ONNX_ELEMENTWISE:
            yield _elementwise(node.op_type, [constants.get(name) for name in node.input])
        elif node.op_type in _ONNX_OPERANDS:
            weights, added = _ONNX_OPERANDS[node.op_type]
            operands = [constants.get(name) for name in node.input]
            yield _Operation(
                name=node.op_type,
                result=node.output[0],
                macs=_onnx_macs(onnx, node, shapes),
                weights=_picked(operands, weights),
                added=_picked(operands, added),
            )


def _with_shapes(onnx: Any, model: bytes) -> Any:
    """Parse the model and infer the shapes of all its tensors, for a batch of one image."""
    parsed = onnx.load_model_from_string(model)
    for value in parsed.graph.input:
        batch = value.type.tensor_type.shape.dim
        if batch and not batch[0].HasField("dim_value"):
            batch[0].dim_value = 1
    return onnx.shape_inference.infer_shapes(parsed, data_prop=True)


def _onnx_shapes(graph: Any) -> dict[str, Shape]:
    values = [*graph.input, *graph.value_info, *graph.output]
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
    return shapes | {tensor.name: list(tensor.dims) for tensor in graph.initializer}


def _onnx_constants(onnx: Any, graph: Any) -> dict[str, _Constant]:
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            stored[node.output[0]] = node.attribute[0].t
    bytes_like = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    return {
        name: _Constant(
            key=name,
            elements=math.prod(tensor.dims),
            is_8_bit=tensor.data_type in bytes_like,
            is_zero=not onnx.numpy_helper.to_array(tensor).any(),
        )
        for name, tensor in stored.items()
    }


def _onnx_macs(onnx: Any, node: Any, shapes: dict[str, Shape]) -> int:
    """Multiply the number of results by the products that each of them sums up."""
    if node.op_type == "BatchNormalization":
        return 0
    weight_at = _ONNX_OPERANDS[node.op_type][0][-1]
    first, weight = _fixed(shapes, node.input[0]), _fixed(shapes, node.input[weight_at])
    match node.op_type:
        case "ConvTranspose":
            return math.prod(first) * math.prod(weight[1:])
        case "Conv" | "ConvInteger" | "QLinearConv":
            return math.prod(_fixed(shapes, node.output[0])) * math.prod(weight[1:])
    options = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    depth = first[0] if options.get("transA") else first[-1]
    return math.prod(_fixed(shapes, node.output[0])) * depth


def _fixed(shapes: dict[str, Shape], tensor: str) -> Shape:
    shape = shapes.get(tensor)
    if shape is None or not all(shape):
        raise BundleError(f"the graph does not fix the shape of its tensor {tensor}")
    return shape


def _tflite_operations(model: bytes) -> Iterator[_Operation]:
    schema = require("ai_edge_litert.schema_py_generated", package="LiteRT", extra="bench")
    names = {code: name for name, code in vars(schema.BuiltinOperator).items()}
    root = schema.ModelT.InitFromPackedBuf(model)
    (graph,) = root.subgraphs
    constants = _tflite_constants(schema, root, model)
    for operator in graph.operators:
        code = root.operatorCodes[operator.opcodeIndex]
        name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        operands = [constants.get(tensor) for tensor in operator.inputs]
        if name in _TFLITE_TRANSPARENT and operands[0] is not None:
            constants[operator.outputs[0]] = operands[0]
        elif name in _TFLITE_ELEMENTWISE:
            yield _elementwise(name, operands)
        elif name in _TFLITE_OPERANDS:
            weights, added = _TFLITE_OPERANDS[name]
            yield _Operation(
                name=name,
                result=graph.tensors[operator.outputs[0]].name.decode(errors="replace"),
                macs=_tflite_macs(name, operator, graph.tensors),
                weights=_picked(operands, weights),
                added=_picked(operands, added),
            )


def _tflite_constants(schema: Any, root: Any, model: bytes) -> dict[int, _Constant]:
    bytes_like = (schema.TensorType.INT8, schema.TensorType.UINT8)
    constants = {}
    for number, tensor in enumerate(root.subgraphs[0].tensors):
        buffer = root.buffers[tensor.buffer]
        # Quantizers and large models store the bytes behind the flatbuffer, at an offset.
        outside = model[buffer.offset : buffer.offset + buffer.size] if buffer.size else b""
        if outside or (buffer.data is not None and len(buffer.data)):
            constants[number] = _Constant(
                key=str(tensor.buffer),
                elements=math.prod(() if tensor.shape is None else map(int, tensor.shape)),
                is_8_bit=tensor.type in bytes_like,
                is_zero=not (any(outside) if outside else buffer.data.any()),
            )
    return constants


def _tflite_macs(name: str, operator: Any, tensors: Any) -> int:
    """Multiply the number of results by the products that each of them sums up."""
    inputs = [[int(n) for n in tensors[i].shape] for i in operator.inputs if i >= 0]
    first, weight = inputs[0], inputs[1]
    results = math.prod(int(n) for n in tensors[operator.outputs[0]].shape)
    match name:
        case "TRANSPOSE_CONV":  # its first operand is the shape of the result
            return math.prod(inputs[2]) * math.prod(weight[:-1])
        case "DEPTHWISE_CONV_2D":
            return results * math.prod(weight[1:-1])
        case "BATCH_MATMUL":
            return results * (first[-2] if operator.builtinOptions.adjX else first[-1])
    return results * math.prod(weight[1:])


def _elementwise(name: str, operands: Sequence[_Constant | None]) -> _Operation:
    added = [c for c in operands if c is not None and c.elements > 1]
    return _Operation(name=name, result="", macs=0, weights=[], added=added)


def _picked(operands: Sequence[_Constant | None], places: Sequence[int]) -> list[_Constant]:
    present = [operands[place] for place in places if place < len(operands)]
    return [constant for constant in present if constant is not None]
