"""A classifier as an ONNX file, read into a torch network."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import fx

from leansight.exporters.errors import ConversionError
from leansight.exporters.importers.onnx_graph import GraphReader
from leansight.exporters.importers.preparation.chosen_output import choose_output
from leansight.exporters.importers.preparation.ending import End, cut_end
from leansight.exporters.importers.preparation.float32 import as_float32
from leansight.exporters.importers.preparation.fused_operators import split_fused
from leansight.exporters.importers.preparation.image_input import (
    ImageInput,
    fix_input,
    set_lengths,
    take_floats,
)
from leansight.exporters.importers.preparation.single_image import take_one_image
from leansight.runtime.decision import sigmoid, softmax
from leansight.runtime.errors import BundleError
from leansight.runtime.extras import onnx_runtime
from leansight.runtime.onnx_file import read_onnx_file
from leansight.runtime.system.whole_files import scratch_folder

_QUANTIZED: Final = frozenset({"QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger"})
_CONSTANT_WEIGHTS: Final = 4  # the IR version from which weights need be no inputs
_NUMPY: Final = {  # what ONNX Runtime calls an input's type
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}


@dataclass(frozen=True, kw_only=True)
class OnnxClassifier:
    """A classifier as it came and as torch.

    `network` takes what the file takes, channels first, (N, C, H, W) float32, and gives logits
    (N, K): a softmax or sigmoid at the `end` is left out, and one output alone becomes two.
    `model` is the file with that output, for `batch` images of its own type at once, `input` its
    input, (batch, H, W, C) where it is `channels_last`; `size` is the side of square images, or
    (H, W). `takes_bytes`: the file takes uint8, what `network` takes from 0 to 255. `notes` say
    what of the file was left out or changed, `computes_in` what it computed in.
    """

    name: str
    network: fx.GraphModule
    model: bytes
    input: str
    size: int | tuple[int, int]
    channels: int
    outputs: int
    channels_last: bool
    end: End
    batch: int = 1
    takes_bytes: bool = False
    notes: tuple[str, ...] = ()
    computes_in: str = "float32"

    def logits(self) -> int:
        """Return how many logits the network gives."""
        return max(self.outputs, 2)

    def run(
        self,
        images: Iterable[NDArray[np.float32]],
        progress: Callable[[int], None] = lambda _: None,
    ) -> NDArray[np.float64]:
        """Return what the file itself gives for normalised images (H, W, C): (N, K).

        `progress` is told how many are done.
        """
        session = _session(self.model, self.name)
        kind = _NUMPY[session.get_inputs()[0].type]
        ordered = (each if self.channels_last else each.transpose(2, 0, 1) for each in images)
        results: list[NDArray[np.floating]] = []
        for some in _batches(ordered, self.batch):
            # A network for several images at once sees the last one again where there are less.
            full = np.stack([*some, *some[-1:] * (self.batch - len(some))]).astype(kind)
            (result,) = session.run(None, {self.input: full})
            results += list(result.reshape(self.batch, -1)[: len(some)])
            progress(len(results))
        return np.stack(results).astype(np.float64)


def read_onnx(
    path: Path,
    *,
    size: int | tuple[int, int] | None,
    channels: int,
    name: str = "",
    output: str | None = None,
) -> OnnxClassifier:
    """Read a float ONNX classifier of images with so many channels.

    Args:
        path: the file.
        size: of the images in pixels, the side of a square or (height, width); None: as the file
            says.
        channels: C.
        name: what messages call the file.
        output: the name of the output that gives a number for each class; None: the only one.

    Raises:
        BundleError: it is no ONNX file, or the file of its weights is missing.
        ConversionError: it does not take images or give one number a class, or holds an
            operator that is not read; the message names it.

    """
    name = name or str(path)
    model = _load(path, name)
    choice = choose_output(model, output, name)
    image = fix_input(model, size, channels, name)
    whole = model.SerializeToString()
    notes = [choice] * bool(choice)
    if image.takes_bytes:
        take_floats(model)
        notes.append("takes pixels as they are, uint8 from 0 to 255")
    if precision := as_float32(model):
        if precision != "float16":  # ONNX Runtime computes others on no processor
            whole = model.SerializeToString()
        notes.append(f"computes in {precision}, and is read as float32")
    if fused := split_fused(model):
        notes.append(
            f"holds {', '.join(sorted(fused))} of ONNX Runtime's, read as what they stand for"
        )
    simplified = _simplified(model.SerializeToString(), name)
    if image.batch > 1:
        simplified = _for_one_image(simplified, image, name)
        notes.append(f"takes {image.batch} images at once, and is read for one")
    end = cut_end(simplified)
    if end != "logits":
        notes.append(f"ends in a {end}, which is left out: it follows in the decision")
    reader = GraphReader(simplified, model, name, channels_last=image.channels_last)
    network, outputs = reader.read()
    size = image.height if image.height == image.width else (image.height, image.width)
    return OnnxClassifier(
        name=name,
        network=network,
        model=whole,
        input=image.name,
        size=size,
        channels=channels,
        outputs=outputs,
        channels_last=image.channels_last,
        end=end,
        batch=image.batch,
        notes=tuple(notes),
        takes_bytes=image.takes_bytes,
        computes_in="float16" if precision == "float16" else "float32",
    )


def _load(path: Path, name: str) -> onnx.ModelProto:
    model: onnx.ModelProto = read_onnx_file(path)
    if not model.graph.node:
        raise BundleError(f"{name} is not an ONNX file: it holds no graph")
    if found := {node.op_type for node in model.graph.node} & _QUANTIZED:
        raise ConversionError(
            f"{name} is quantized already ({min(found)}): give the float network it was made from"
        )
    _take_weights_for_constants(model)
    return model


def _take_weights_for_constants(model: onnx.ModelProto) -> None:
    """List no weights among the inputs, where files of IR 3 and older have them all.

    ONNX Runtime would fold none of them, and the shapes of what it folds in IR 3 are not inferred.
    """
    model.ir_version = max(model.ir_version, _CONSTANT_WEIGHTS)
    weights = {initializer.name for initializer in model.graph.initializer}
    for value in [value for value in model.graph.input if value.name in weights]:
        model.graph.input.remove(value)


def _for_one_image(model: onnx.ModelProto, image: ImageInput, name: str) -> onnx.ModelProto:
    """Return a simplified graph for one of the images that it takes at once."""
    take_one_image(model, image.batch, name)
    set_lengths(model, replace(image, batch=1).shape)
    return _with_shapes(model)


def _batches(
    images: Iterable[NDArray[np.float32]], size: int
) -> Iterator[list[NDArray[np.float32]]]:
    """Yield lists of up to `size` images; itertools.batched needs Python 3.12."""
    left = iter(images)
    while some := list(islice(left, size)):
        yield some


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
        if "serialization failed" in str(error):
            raise ConversionError(
                f"ONNX Runtime cannot write {simplify_into} ({_first_line(error)}): free some "
                "space there, or set TMPDIR to another folder"
            ) from error
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
        return _with_shapes(simplified)


def _with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


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
