"""An ONNX file read whole, with the weights that it keeps in files beside it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leansight.runtime.errors import BundleError
from leansight.runtime.extras import require


def read_onnx_file(path: Path) -> Any:
    """Return the `onnx.ModelProto` in a file, with all weights in it.

    torch, from 2.9 on, writes the weights of an ONNX model into a second file, model.onnx.data.

    Raises:
        BundleError: it is no ONNX file, or a file of its weights is missing or damaged.
        MissingExtraError: onnx is not installed.
        OSError: it cannot be read.

    """
    onnx, model = _parse(path)
    files = weight_files(path)
    if missing := [file.name for file in files if not file.is_file()]:
        raise BundleError(
            f"{path} keeps its weights in {' and '.join(missing)}, which is not beside it: "
            "copy all of its files into one folder, or save the model as one file"
        )
    if files:
        try:
            onnx.load_external_data_for_model(model, str(path.parent))
            onnx.checker.check_model(model)
        except (onnx.checker.ValidationError, ValueError, OSError) as error:
            raise BundleError(
                f"{files[0]} does not hold the weights of {path}: copy both again "
                f"({_first_line(error)})"
            ) from error
    return model


def weight_files(path: Path) -> list[Path]:
    """Return the files beside an ONNX file in which it keeps weights; see `read_onnx_file`."""
    onnx, model = _parse(path)
    names = {
        entry.value
        for tensor in _tensors(model.graph)
        if onnx.external_data_helper.uses_external_data(tensor)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return [path.parent / name for name in sorted(names)]


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield the weights of a graph, and the constants in its nodes and in the graphs of these."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(inner)


def _parse(path: Path) -> tuple[Any, Any]:
    """Return the module onnx, and the model without the weights that are elsewhere."""
    onnx = require("onnx", package="onnx", extra="bench")
    data = path.read_bytes()
    try:
        return onnx, onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's errors share no base class
        raise BundleError(f"{path} is not an ONNX file: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
