"""A classifier as an ONNX file, read into a torch network."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from torch import fx

from leansight.exporters.conversion.torch_graph import IMAGE_AXES
from leansight.exporters.errors import ConversionError
from leansight.exporters.importers.onnx_graph import GraphReader
from leansight.runtime.decision import sigmoid, softmax
from leansight.runtime.errors import BundleError
from leansight.runtime.extras import onnx_runtime
from leansight.runtime.onnx_file import read_onnx_file
from leansight.runtime.system.whole_files import scratch_folder

End = Literal["logits", "softmax", "log-softmax", "sigmoid"]
_ENDS: Final[Mapping[str, End]] = {
    "Softmax": "softmax",
    "LogSoftmax": "log-softmax",
    "Sigmoid": "sigmoid",
}
# What may come after a softmax without changing its numbers.
_MOVES: Final = frozenset({"Identity", "Reshape", "Flatten", "Squeeze", "Cast"})
_QUANTIZED: Final = frozenset({"QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger"})
_LAYOUTS: Final = {False: (1, 2, 3), True: (3, 1, 2)}  # where channels, height and width are


@dataclass(frozen=True, kw_only=True)
class OnnxClassifier:
    """A classifier as it came and as torch.

    `network` takes what the file takes, channels first, (N, C, S, S) float32, and gives logits
    (N, K): a softmax or sigmoid at the `end` is left out, and one output alone becomes two.
    `model` is the file for one image, `input` its input, (1, S, S, C) where it is `channels_last`.
    """

    name: str
    network: fx.GraphModule
    model: bytes
    input: str
    size: int
    channels: int
    outputs: int
    channels_last: bool
    end: End

    def logits(self) -> int:
        """Return how many logits the network gives."""
        return max(self.outputs, 2)

    def run(
        self,
        images: Iterable[NDArray[np.float32]],
        progress: Callable[[int], None] = lambda _: None,
    ) -> NDArray[np.float64]:
        """Return what the file itself gives for normalised images (S, S, C): (N, K).

        `progress` is told how many are done.
        """
        session = _session(self.model, self.name)
        results = []
        for done, image in enumerate(images, start=1):
            one = image if self.channels_last else image.transpose(2, 0, 1)
            (result,) = session.run(None, {self.input: np.ascontiguousarray(one[None])})
            results.append(result.reshape(-1))
            progress(done)
        return np.stack(results).astype(np.float64)


def read_onnx(path: Path, *, size: int | None, channels: int, name: str = "") -> OnnxClassifier:
    """Read a float ONNX classifier of square images with so many channels.

    Args:
        path: the file.
        size: S in pixels; None: as the file says.
        channels: C.
        name: what messages call the file.

    Raises:
        BundleError: it is no ONNX file, or the file of its weights is missing.
        ConversionError: it does not take one image or give one number a class, or holds an
            operator that is not read; the message names it.

    """
    name = name or str(path)
    model = _load(path, name)
    image = _only_input(model, name)
    channels_last, size = _fix_sizes(image, size, channels, name)
    whole = model.SerializeToString()
    simplified = _simplified(whole, name)
    end = _cut_end(simplified)
    network, outputs = GraphReader(simplified, model, name, channels_last=channels_last).read()
    return OnnxClassifier(
        name=name,
        network=network,
        model=whole,
        input=image.name,
        size=size,
        channels=channels,
        outputs=outputs,
        channels_last=channels_last,
        end=end,
    )


def _load(path: Path, name: str) -> onnx.ModelProto:
    model: onnx.ModelProto = read_onnx_file(path)
    if not model.graph.node:
        raise BundleError(f"{name} is not an ONNX file: it holds no graph")
    if found := {node.op_type for node in model.graph.node} & _QUANTIZED:
        raise ConversionError(
            f"{name} is quantized already ({min(found)}): give the float network it was made from"
        )
    return model


def _only_input(model: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    """Return the one input of a graph that has one output; ConversionError for others."""
    weights = {initializer.name for initializer in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    for what, values in (("input", inputs), ("output", model.graph.output)):
        if len(values) != 1:
            names = ", ".join(value.name for value in values)
            raise ConversionError(f"{name} has {len(values)} {what}s ({names}), not one")
    image: onnx.ValueInfoProto = inputs[0]
    kind = image.type.tensor_type
    if kind.elem_type != onnx.TensorProto.FLOAT or len(kind.shape.dim) != IMAGE_AXES:
        given = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
        raise ConversionError(
            f"{name} takes {given} with {len(kind.shape.dim)} axes ({image.name}), not images: "
            "float with 4"
        )
    return image


def _fix_sizes(
    image: onnx.ValueInfoProto, size: int | None, channels: int, name: str
) -> tuple[bool, int]:
    """Let the input be of one image; return whether its channels are last, and its side."""
    dims = image.type.tensor_type.shape.dim
    given = [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]
    shown = "×".join("?" if n is None else str(n) for n in given)
    if given[0] not in (None, 1):
        raise ConversionError(
            f"{name} takes {given[0]} images at once ({shown}): export it for one, or any number"
        )
    layouts = [last for last, axes in _LAYOUTS.items() if given[axes[0]] == channels]
    if not layouts:
        raise ConversionError(
            f"{name} takes {shown}, which has no axis of {channels} channels: choose another colour"
            + (", or export it with a fixed number" if None in given[1:] else ""),
            parameter="colour",
        )
    channels_last = layouts[0]
    sides = {given[axis] for axis in _LAYOUTS[channels_last][1:]} - {None}
    if size is None and len(sides) == 1:
        (size,) = sides
    if size is None:
        raise ConversionError(
            f"{name} takes {shown}: say how large its images are", parameter="size"
        )
    if sides - {size}:
        raise ConversionError(f"{name} takes {shown}, not images of {size}×{size} pixels")
    fixed = [1, size, size, channels] if channels_last else [1, channels, size, size]
    for dim, value in zip(dims, fixed, strict=True):
        dim.dim_value = value
    return channels_last, size


def _session(model: bytes, name: str, *, simplify_into: str = "") -> Any:
    ort = onnx_runtime()
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what it logs of errors, it raises as well
    if simplify_into:  # by what any runtime knows, without ONNX Runtime's own operators
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = simplify_into
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no class in common but this
        raise ConversionError(f"ONNX Runtime cannot run {name}: {_first_line(error)}") from error


def _simplified(model: bytes, name: str) -> onnx.ModelProto:
    """Return the graph as ONNX Runtime simplifies it, with the shape of every tensor.

    What does not depend on the image is computed, batch norms are in the layers before them, and
    transpositions are gone as far as they cancel out.
    """
    with scratch_folder() as folder:
        file = folder / "simplified.onnx"
        _session(model, name, simplify_into=str(file))
        simplified = onnx.load(file)
        if any(node.op_type == "Shape" for node in simplified.graph.node):
            # Of an operator that it has written out only at its end, such as GroupNormalization.
            _session(simplified.SerializeToString(), name, simplify_into=str(file))
            simplified = onnx.load(file)
        return onnx.shape_inference.infer_shapes(simplified, data_prop=True)


def _cut_end(model: onnx.ModelProto) -> End:
    """Leave out a softmax or sigmoid that ends the graph, and say which it was."""
    producers = {name: node for node in model.graph.node for name in node.output}
    node = producers.get(model.graph.output[0].name)
    while node is not None and node.op_type in _MOVES:
        node = producers.get(node.input[0])
    if node is None or node.op_type not in _ENDS:
        return "logits"
    end = _ENDS[node.op_type]
    node.CopyFrom(helper.make_node("Identity", node.input, node.output, node.name))
    return end


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def largest_difference(
    classifier: OnnxClassifier, logits: NDArray[np.float32], outputs: NDArray[np.float64]
) -> float:
    """Return by how much torch's logits (N, K) say something else than the file's outputs.

    Where the file ends in probabilities, of these; else of its numbers, as a share of the largest.
    """
    given = as_outputs(classifier, logits)
    match classifier.end:
        case "log-softmax":
            given, outputs = np.exp(given), np.exp(outputs)
        case "logits":
            largest = max(float(np.abs(outputs).max()), 1e-6)
            given, outputs = given / largest, outputs / largest
    return float(np.abs(given - outputs).max())


def as_outputs(classifier: OnnxClassifier, logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return what the file would give where torch gives logits (N, K)."""
    given = logits.astype(np.float64)
    if classifier.outputs == 1:
        given = given[:, 1:] - given[:, :1]
    match classifier.end:
        case "softmax":
            return softmax(given)
        case "log-softmax":
            return np.log(np.maximum(softmax(given), np.finfo(np.float64).tiny))
        case "sigmoid":
            return sigmoid(given)
        case "logits":
            return given
