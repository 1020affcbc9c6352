"""Whether an ONNX file is a plain feed-forward network, told from its bytes alone.

An ONNX graph may loop for ever, or name files of the machine as its weights.
Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, whose fields are numbered here.
"""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from leansight.runtime.model_files.protobuf import Budget, Message

_MOST_BYTES: Final = 1 << 30  # of a tensor
_DOMAINS: Final = ("", "ai.onnx")
_FLOAT32: Final = 1
# Types of tensors: their number in the format, bytes a value.
_ITEM_BYTES: Final = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8}
_EXTERNAL: Final = 1
_SCALED: Final = ("QuantizeLinear", "DequantizeLinear")
# Operators whose memory and time do not depend on what is in the picture.
_PLAIN: Final = (
    "Abs Add ArgMax ArgMin AveragePool BatchNormalization Cast Ceil Clip Concat Constant Conv "
    "ConvTranspose Cos DepthToSpace Div Dropout Elu Equal Erf Exp Flatten Floor Gelu Gemm "
    "GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual HardSigmoid HardSwish Identity "
    "InstanceNormalization LRN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul "
    "Max MaxPool Min Mish Mul Neg PRelu Pow Reciprocal Relu Round Selu Sigmoid Sign Sin Softmax "
    "Softplus SpaceToDepth Sqrt Sub Sum Tanh Transpose Where"
)
# Those that take sizes, axes, indices or scales from some inputs, which must be constant then.
_WITH_CONSTANTS: Final[Mapping[str, tuple[int, ...]]] = {
    **dict.fromkeys(_SCALED, (1, 2)),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"), (1,)),
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze", "Split", "Gather", "Expand", "Tile"), (1,)),
    "Pad": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Resize": (1, 2, 3),
}
_OPERATORS: Final = frozenset((*_PLAIN.split(), *_WITH_CONSTANTS))


def check_onnx(model: bytes) -> None:
    """Raise ValueError unless a file is one graph of known operators, with its weights in it.

    Scales are finite and above zero, weights are as long as their shapes say, every value is
    computed once and before it is used. Nothing loops, branches or keeps a state.
    """
    root = Message(memoryview(model), Budget())
    if not root.has(7):
        raise ValueError("it holds no graph")
    if root.has(20, 25):
        raise ValueError("it has functions of its own, or is for training")
    graph = root.merged(7)
    if graph.has(15):
        raise ValueError("it has sparse weights")
    constants = {tensor.text(8): tensor for tensor in graph.messages(5)}
    for tensor in constants.values():
        _check_tensor(tensor)
    ready = {"", *constants, *(value.text(1) for value in graph.messages(11))}
    for node in graph.messages(1):
        _check_node(node, constants, ready)
    if not {value.text(1) for value in graph.messages(12)} <= ready - {""}:
        raise ValueError("an output of it is not computed")


def _check_tensor(tensor: Message) -> None:
    if tensor.has(13) or tensor.number(14) == _EXTERNAL:
        raise ValueError("it keeps weights outside of the file")
    kind, shape = tensor.number(2), tensor.integers(1)
    if kind not in _ITEM_BYTES:
        raise ValueError(f"it has a tensor of type {kind}, which is not run")
    size = math.prod(shape) * _ITEM_BYTES[kind]
    if size > _MOST_BYTES:
        raise ValueError(f"it has a tensor of {size:,} bytes: at most {_MOST_BYTES:,}")
    raw = tensor.bytes_of(9)
    if raw and len(raw[-1]) != size:
        raise ValueError(f"{len(raw[-1])} bytes of weights are for a tensor of {size}")


def _check_node(node: Message, constants: dict[str, Message], ready: set[str]) -> None:
    """Check one operator, and add what it computes to `ready`, a constant to `constants`."""
    inputs, outputs, operator = node.texts(1), node.texts(2), node.text(4)
    if node.text(7) not in _DOMAINS or operator not in _OPERATORS:
        name = f"{node.text(7)}.{operator}".removeprefix(".")[:60]
        raise ValueError(f"it has the operator {name!r}, which is not run")
    if not set(inputs) <= ready:
        raise ValueError(f"an operator of it, {operator}, uses what was not computed before")
    places = _WITH_CONSTANTS.get(operator, ())
    parameters = {inputs[place] for place in places if place < len(inputs)}
    if not parameters <= {"", *constants}:
        raise ValueError(f"an operator of it, {operator}, takes a parameter that is computed")
    if operator in _SCALED and len(inputs) > 1:
        _check_scales(constants[inputs[1]])
    if not outputs or len(outputs) != len(set(outputs)) or ready & set(outputs) - {""}:
        raise ValueError("two operators of it compute the same value")
    tensors = _tensors_of(node)
    if operator == "Constant" and tensors:
        constants[outputs[0]] = tensors[0]
    ready.update(outputs)


def _tensors_of(node: Message) -> list[Message]:
    """Return the tensors in the attributes of an operator; graphs in them are refused."""
    tensors = []
    for attribute in node.messages(5):
        if attribute.has(6, 11, 22, 23):
            raise ValueError("an operator of it holds a graph, or sparse weights")
        tensors += [*attribute.messages(5), *attribute.messages(10)]
    for tensor in tensors:
        _check_tensor(tensor)
    return tensors


def _check_scales(tensor: Message) -> None:
    if tensor.number(2) != _FLOAT32:
        raise ValueError("it has scales that are not float32")
    raw = tensor.bytes_of(9)
    scales = np.frombuffer(raw[-1], "<f4") if raw else tensor.floats(4)
    if not len(scales) or not (np.isfinite(scales) & (scales > 0)).all():
        raise ValueError("it has a scale that is not a finite number above zero")
