"""Whether a TFLite file is a plain feed-forward network, told from its bytes alone.

LiteRT follows offsets and indices without a look: a wrong one reads foreign memory, or ends the
process. Source: tensorflow/compiler/mlir/lite/schema/schema.fbs, whose fields are numbered here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.model_files.flatbuffer import Table

_IDENTIFIER: Final = b"TFL3"
_VERSION: Final = 3
_MOST_BYTES: Final = 1 << 30  # of a tensor
_HIGHEST_RANK: Final = 8
# Types of tensors: their number in the schema, bits a value, the least and the greatest integer.
_FLOAT32: Final = 0
_BITS: Final = {0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, 9: 8, 17: 4}
_ZERO_POINTS: Final = {3: (0, 255), 9: (-128, 127), 17: (-8, 7)}  # 0 of any other type
# Operators whose memory and time do not depend on what is in the picture. Those in the second
# table take sizes, axes or indices from some inputs (by number), which must be constant then.
_PLAIN: Final = frozenset(
    {
        *(0, 1, 2, 3, 4, 5, 6, 8, 9),  # ADD ... FULLY_CONNECTED: convolutions, pools, sums
        *(11, 12, 13, 14, 17, 18, 19, 20, 21),  # normalisation, LOGISTIC, MAX_POOL_2D, MUL, RELU
        *(25, 26, 28, 41, 42, 43, 47, 50, 53, 54, 55, 57, 58, 59),  # SOFTMAX ... NEG
        *(61, 62, 63, 64, 66, 71, 72, 73, 75, 76, 78),  # comparisons, SELECT, SIN, LOG, SQRT, POW
        *(83, 84, 86, 87, 88, 92, 98, 99, 101, 104, 106, 108),  # PACK ... COS
        *(111, 114, 116, 117, 123, 126, 150, 152, 158),  # ELU, QUANTIZE, ..., GELU, SIGN
    }
)
_WITH_CONSTANTS: Final = {
    **dict.fromkeys((22, 23, 34, 39, 40, 56, 69, 70, 74, 79, 81, 82, 89, 97, 100, 105, 130), (1,)),
    **dict.fromkeys((36,), (1,)),  # GATHER
    **dict.fromkeys((45,), (1, 2, 3)),  # STRIDED_SLICE
    **dict.fromkeys((37, 38, 60, 65, 102), (1, 2)),  # SPACE_TO_BATCH_ND, PADV2, SLICE, SPLIT_V
    **dict.fromkeys((49, 67), (0,)),  # SPLIT, TRANSPOSE_CONV
}
_CUSTOM: Final = 32


def check_tflite(model: bytes) -> None:
    """Raise ValueError unless a file is one graph of known operators, each index inside it.

    Scales are finite and above zero, weights are as long as their shapes say and inside the file,
    every tensor is computed once and before it is used. Nothing loops, branches or keeps a state.
    """
    root = Table.root(model, _IDENTIFIER)
    if (version := root.number(0)) != _VERSION:
        raise ValueError(f"it is of version {version} of the format, not {_VERSION}")
    if any(root.is_set(field) and any(root.tables(field)) for field in (9, 10)):
        raise ValueError("it keeps weights outside of the file")
    graphs = list(root.tables(2))
    if len(graphs) != 1:
        raise ValueError(f"it has {len(graphs)} graphs: loops and branches are not run")
    lengths = [_buffer_length(buffer, model) for buffer in root.tables(4)]
    tensors = [_tensor(table, lengths) for table in graphs[0].tables(0)]
    _check_graph(graphs[0], tensors, [_operator_code(code) for code in root.tables(1)])
    _check_notes(root, tensors=len(tensors), buffers=len(lengths))


@dataclass(frozen=True)
class _Tensor:
    is_constant: bool


def _buffer_length(buffer: Table, model: bytes) -> int:
    """Return how many bytes a buffer has, in the table or elsewhere in the file."""
    offset, size = buffer.number(1, "Q"), buffer.number(2, "Q")
    if offset + size > len(model):
        raise ValueError("weights of it are outside of the file")
    return len(buffer.numbers(0, np.uint8)) or size


def _tensor(table: Table, lengths: Sequence[int]) -> _Tensor:
    shape = table.numbers(0, np.int32)
    kind, number = table.number(1, "b", _FLOAT32), table.number(2)
    table.check_text(3)
    if kind not in _BITS:
        raise ValueError(f"it has a tensor of type {kind}, which is not run")
    if len(shape) > _HIGHEST_RANK or (shape < 1).any():
        raise ValueError(f"it has a tensor of shape {shape.tolist()[: _HIGHEST_RANK + 1]}")
    size = -(-math.prod(shape.tolist()) * _BITS[kind] // 8)
    if size > _MOST_BYTES:
        raise ValueError(f"it has a tensor of {size:,} bytes: at most {_MOST_BYTES:,}")
    if table.number(5, "b") or table.is_set(6) or any(table.tables(9)) or table.number(10):
        raise ValueError("it has a tensor that is sparse, keeps a state, or is in another file")
    if number >= len(lengths):
        raise ValueError(f"it has no buffer {number}")
    if lengths[number] not in (0, size):
        raise ValueError(f"{lengths[number]} bytes of weights are for a tensor of {size}")
    _check_quantization(table.table(4), kind, shape)
    return _Tensor(is_constant=lengths[number] > 0)


def _check_quantization(table: Table | None, kind: int, shape: NDArray[Any]) -> None:
    if table is None:
        return
    scales, zero_points = table.numbers(2, np.float32), table.numbers(3, np.int64)
    for field in (0, 1):
        table.numbers(field, np.float32)
    if table.number(4, "B"):
        raise ValueError("it is quantized in a way of its own")
    if not (np.isfinite(scales) & (scales > 0)).all():
        raise ValueError("it has a scale that is not a finite number above zero")
    axis = table.number(6, "i")
    if len(scales) > 1 and not (0 <= axis < len(shape) and len(scales) == shape[axis]):
        raise ValueError(f"it has {len(scales)} scales for shape {shape.tolist()}")
    if len(zero_points) not in (0, len(scales)):
        raise ValueError(f"it has {len(zero_points)} zero points for {len(scales)} scales")
    least, greatest = _ZERO_POINTS.get(kind, (0, 0))
    if ((zero_points < least) | (zero_points > greatest)).any():
        raise ValueError(f"it has a zero point outside {least} to {greatest}")


def _operator_code(table: Table) -> int:
    """Return the operator that an entry of the list of operators names."""
    code = max(table.number(0, "b"), table.number(3, "i"))
    if code == _CUSTOM or table.is_set(1):
        raise ValueError("it has a custom operator")
    if code not in _PLAIN and code not in _WITH_CONSTANTS:
        raise ValueError(f"it has operator {code} of the TFLite schema, which is not run")
    return code


def _check_graph(graph: Table, tensors: Sequence[_Tensor], codes: Sequence[int]) -> None:
    """Follow the operators in their order; each may use what is there by then."""
    graph.check_text(4)
    inputs, outputs = (_indices(graph, field, len(tensors)) for field in (1, 2))
    constants = {number for number, tensor in enumerate(tensors) if tensor.is_constant}
    ready = constants | set(inputs)
    if len(inputs) != len(set(inputs)) or constants & set(inputs):
        raise ValueError("an input of it is a constant, or is there twice")
    for operator in graph.tables(3):
        number = operator.number(0)
        if number >= len(codes):
            raise ValueError(f"it has no operator {number}")
        _check_operator(operator, codes[number], constants, ready, len(tensors))
    if not set(outputs) <= ready - constants:
        raise ValueError("an output of it is not computed")


def _check_operator(
    operator: Table, code: int, constants: set[int], ready: set[int], tensors: int
) -> None:
    """Check one operator, and add what it computes to `ready`."""
    inputs = _indices(operator, 1, tensors, optional=True)
    outputs = _indices(operator, 2, tensors)
    given = {number for number in inputs if number >= 0}
    if not given or not outputs or not given <= ready:
        raise ValueError("an operator of it uses what was not computed before")
    parameters = {inputs[place] for place in _WITH_CONSTANTS.get(code, ()) if place < len(inputs)}
    if not parameters <= constants | {-1}:
        raise ValueError(f"operator {code} of it takes a size or an index that is computed")
    if len(outputs) != len(set(outputs)) or ready & set(outputs):
        raise ValueError("two operators of it compute the same tensor")
    if any(operator.is_set(field) for field in (9, 10)) or operator.number(11, "B"):
        raise ValueError("it has options of a custom operator")
    if (options := operator.table(4)) is not None:
        options.check_fields()
    ready.update(outputs)


def _indices(table: Table, field: int, count: int, *, optional: bool = False) -> list[int]:
    """Return numbers of tensors; with `optional`, -1 stands for none."""
    found = table.numbers(field, np.int32)
    if ((found < (-1 if optional else 0)) | (found >= count)).any():
        raise ValueError(f"it has no tensor {found.max(initial=0)}: there are {count}")
    indices: list[int] = found.tolist()
    return indices


def _check_notes(root: Table, *, tensors: int, buffers: int) -> None:
    """Check what is no part of the graph and is read all the same: metadata and signatures."""
    root.check_text(3)
    noted = [*root.numbers(5, np.int32).tolist()]
    for note in root.tables(6):
        note.check_text(0)
        noted.append(note.number(1))
    named = []
    for signature in root.tables(7):
        signature.check_text(2)
        if signature.number(4):
            raise ValueError("a signature of it is of a graph that is not there")
        for entry in (*signature.tables(0), *signature.tables(1)):
            entry.check_text(0)
            named.append(entry.number(1))
    if any(not 0 <= number < buffers for number in noted) or any(n >= tensors for n in named):
        raise ValueError("its metadata name a tensor or a buffer that is not there")
