"""A TFLite file as objects of its schema, to be changed, and as bytes again."""

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools.flatbuffer_utils import read_model_from_bytearray

from leansight.runtime.preprocessing import PIXEL_ZERO

ALIGNMENT = 16  # bytes: the schema's, for kernels that load whole registers
IDENTIFIER = b"TFL3"


def unpack(model: bytes) -> Any:
    """Return the file as a `schema.ModelT`, without what is appended to it (a zip)."""
    return read_model_from_bytearray(model)


def pack(model: Any) -> bytes:
    """Return the file of a `schema.ModelT`, every buffer inside the flatbuffer."""
    model.buffers = [
        buffer if buffer.data is None else _AlignedBuffer(np.frombuffer(buffer.data, np.uint8))
        for buffer in model.buffers
    ]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def take_pixels(model: Any) -> None:
    """Let a `schema.ModelT` with an int8 input and output take uint8 and give float32.

    MediaPipe takes and reads no int8. Every number stays the same: pixel - 128 is exact. QUANTIZE
    alone would do it too, but x86's LiteRT runs that byte by byte; XNNPACK runs both at once.
    """
    (graph,) = model.subgraphs
    (first,), (last,) = graph.inputs, graph.outputs
    int8, uint8 = schema.TensorType.INT8, schema.TensorType.UINT8
    if graph.tensors[first].type == int8:
        signed = graph.tensors[first].quantization
        zero_point = int(signed.zeroPoint[0]) + PIXEL_ZERO
        grid = schema.QuantizationParametersT(scale=list(signed.scale), zeroPoint=[zero_point])
        image = _add_tensor(graph, first, b"image", kind=uint8, quantization=grid)
        exact = _add_tensor(graph, first, b"image_exact")
        dequantize = _cast(model, "DEQUANTIZE", image, exact)
        graph.operators[:0] = [dequantize, _cast(model, "QUANTIZE", exact, first)]
        graph.inputs = [image]
    if graph.tensors[last].type == int8:
        logits = _add_tensor(graph, last, b"logits")
        graph.operators.append(_cast(model, "DEQUANTIZE", last, logits))
        graph.outputs = [logits]
    moved = {first: graph.inputs[0], last: graph.outputs[0]}
    for signature in model.signatureDefs or []:
        for entry in (*signature.inputs, *signature.outputs):
            entry.tensorIndex = moved[entry.tensorIndex]


def _add_tensor(
    graph: Any,
    like: int,
    name: bytes,
    *,
    kind: int = schema.TensorType.FLOAT32,
    quantization: Any = None,
) -> int:
    """Add a computed tensor of the shape of another; return its index."""
    shape = list(graph.tensors[like].shape)
    tensor = schema.TensorT(shape=shape, type=kind, name=name, quantization=quantization)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _cast(model: Any, kind: str, source: int, target: int) -> Any:
    """Return the operator that writes one tensor's numbers as another's type."""
    code = getattr(schema.BuiltinOperator, kind)
    # Version 2 of both knows int8.
    entry = schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=code, version=2)
    model.operatorCodes.append(entry)
    number = len(model.operatorCodes) - 1
    return schema.OperatorT(opcodeIndex=number, inputs=[source], outputs=[target])


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]  # flatbuffers has no types
    """A buffer that lies where the schema wants it: flatbuffers' Python ignores `force_align`."""

    def __init__(self, data: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        super().__init__(data=data)

    def Pack(self, builder: Any) -> Any:  # noqa: N802 -- flatbuffers' own name
        """Write the buffer, its data at a multiple of 16 bytes."""
        builder.Prep(ALIGNMENT, len(self.data))
        return super().Pack(builder)
