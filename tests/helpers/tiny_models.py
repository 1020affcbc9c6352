"""Networks small enough to count by hand, built in milliseconds without torch.

`stripes_*` take a gray 8 x 8 picture and say "upright" or "level" for stripes of that
direction, "plain" for a picture without: 4 filters of 3 x 3 measure the brightness steps in
both directions, their means are compared.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from leansight.runtime.bundle import Bundle, write_bundle
from leansight.runtime.decision import Task
from leansight.runtime.interpreter import FORMATS, load_interpreter

LABELS = ("plain", "upright", "level")
# Pixels come as (pixel - 128) / 128; times 128, a step is in pixel values again.
_ACROSS = np.array([[-1, 0, 1]] * 3, np.float32) * 128 / 3
# (out, height, width, in): steps to the right, to the left, down, up.
FILTERS = np.stack([_ACROSS, -_ACROSS, _ACROSS.T, -_ACROSS.T])[..., None]
FILTER_BIAS = np.full(4, -1, np.float32)  # a step of 1 is noise
WEIGHTS = np.array([[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]], np.float32) / 4
BIAS = np.array([4, 0, 0], np.float32)
# By hand: 6 x 6 places x 4 filters x 9 pixels, then 3 x 4; 36 + 4 + 12 + 3.
STRIPES_MACS = 1296 + 12
STRIPES_PARAMETERS = 55


def stripes(label: str, size: int = 8) -> NDArray[np.uint8]:
    """Return a (size, size) gray picture that the network gives this label."""
    picture = np.full((size, size), 128, np.uint8)
    lines = np.where(np.arange(size) * 8 // size % 4 < 2, 0, 255).astype(np.uint8)
    match label:
        case "upright":
            picture[:] = lines
        case "level":
            picture[:] = lines[:, None]
    return picture


@dataclass
class TfliteGraph:
    """A TFLite model under construction; tensors are named by their number."""

    model: Any = field(default_factory=lambda: schema.ModelT(version=3, buffers=[]))
    tensors: list[Any] = field(default_factory=list)
    operators: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model.buffers.append(schema.BufferT())  # by definition empty
        self.model.operatorCodes = []

    def tensor(self, shape: Sequence[int], kind: int = schema.TensorType.FLOAT32) -> int:
        """Add a tensor that is computed."""
        self.tensors.append(schema.TensorT(shape=list(shape), type=kind, name=b"t"))
        return len(self.tensors) - 1

    def constant(self, values: NDArray[Any]) -> int:
        """Add a tensor with values, of their dtype."""
        kind = getattr(schema.TensorType, values.dtype.name.upper())
        number = self.tensor(values.shape, kind)
        data = np.frombuffer(values.tobytes(), np.uint8)
        self.model.buffers.append(schema.BufferT(data=data))
        self.tensors[number].buffer = len(self.model.buffers) - 1
        return number

    def add(
        self, name: str, inputs: Sequence[int], output: int, options: object | None = None
    ) -> None:
        """Add the operator `name` with a table of the schema as its options."""
        builtin = getattr(schema.BuiltinOperator, name)
        self.model.operatorCodes.append(
            schema.OperatorCodeT(builtinCode=builtin, deprecatedBuiltinCode=min(builtin, 127))
        )
        operator = schema.OperatorT(
            opcodeIndex=len(self.operators), inputs=list(inputs), outputs=[output]
        )
        if options is not None:
            table = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, table)
            operator.builtinOptions = options
        self.operators.append(operator)

    def pack(self, model_input: int, output: int) -> bytes:
        """Return the file."""
        self.model.subgraphs = [
            schema.SubGraphT(
                tensors=self.tensors,
                operators=self.operators,
                inputs=[model_input],
                outputs=[output],
            )
        ]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def stripes_tflite() -> bytes:
    """Return the network with an NHWC input, float32 (pixel - 128) / 128."""
    graph = TfliteGraph()
    pixels, steps = graph.tensor((1, 8, 8, 1)), graph.tensor((1, 6, 6, 4))
    means, logits = graph.tensor((1, 4)), graph.tensor((1, 3))
    convolution = schema.Conv2DOptionsT(
        padding=schema.Padding.VALID,
        strideW=1,
        strideH=1,
        fusedActivationFunction=schema.ActivationFunctionType.RELU,
    )
    filters, filter_bias = graph.constant(FILTERS), graph.constant(FILTER_BIAS)
    graph.add("CONV_2D", (pixels, filters, filter_bias), steps, convolution)
    axes = graph.constant(np.array([1, 2], np.int32))
    graph.add("MEAN", (steps, axes), means, schema.ReducerOptionsT())
    weights, bias = graph.constant(WEIGHTS), graph.constant(BIAS)
    graph.add("FULLY_CONNECTED", (means, weights, bias), logits, schema.FullyConnectedOptionsT())
    return graph.pack(pixels, logits)


def enlarging(factor: int) -> bytes:
    """Return a model whose one hidden tensor has 64 * factor ** 2 floats."""
    graph = TfliteGraph()
    side = 8 * factor
    pixels, many = graph.tensor((1, 8, 8, 1)), graph.tensor((1, side, side, 1))
    logits = graph.tensor((1, side))
    times = graph.constant(np.array([1, factor, factor, 1], np.int32))
    graph.add("TILE", (pixels, times), many, schema.TileOptionsT())
    axes = graph.constant(np.array([1, 3], np.int32))
    graph.add("MEAN", (many, axes), logits, schema.ReducerOptionsT())
    return graph.pack(pixels, logits)


def onnx_model(
    nodes: Sequence[Any],
    constants: dict[str, NDArray[Any]],
    input_shape: Sequence[int],
    output_shape: Sequence[int],
) -> bytes:
    """Return the file of a float graph from "pixels" to "logits"."""
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString()


def stripes_onnx() -> bytes:
    """Return the network with an NCHW input, float32 (pixel - 128) / 128."""
    nodes = [
        helper.make_node("Conv", ["pixels", "filters", "filter_bias"], ["steps"]),
        helper.make_node("Relu", ["steps"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"], transB=1),
    ]
    constants = {
        "filters": FILTERS.transpose(0, 3, 1, 2),
        "filter_bias": FILTER_BIAS,
        "weights": WEIGHTS,
        "bias": BIAS,
    }
    return onnx_model(nodes, constants, (1, 1, 8, 8), (1, 3))


def golden_bundle(
    tiny_bundle: Path,
    *,
    pixel_change: int = 0,
    logit_change: float = 0.0,
    task: Task = "classification",
) -> Path:
    """Write the tiny bundle again with golden photos, what they must give changed as told."""
    tiny = Bundle.load(tiny_bundle)
    photos = [stripes(label, 20) for label in LABELS]
    arrays = {f"photo_{i:02}": photo for i, photo in enumerate(photos)}
    pixels = np.concatenate([tiny.preprocessing(photo) for photo in photos])
    for kind in FORMATS:
        run = load_interpreter(tiny.read(f"model.{kind}"), kind)
        logits = np.stack([run(image[None]) for image in pixels])
        logits[0, 0] += logit_change
        arrays[f"logits_{kind}"] = logits
    pixels[0, 0, 0, 0] ^= pixel_change
    file = io.BytesIO()
    np.savez(file, pixels=pixels, **arrays)
    contents = {f"model.{kind}": tiny.read(f"model.{kind}") for kind in FORMATS}
    path = tiny_bundle.with_name("golden.bundle")
    draft = Bundle(**{**vars(tiny), "path": path, "task": task, "files": {}, "digest": ""})
    write_bundle(draft, {**contents, "golden.npz": file.getvalue()})
    return path
