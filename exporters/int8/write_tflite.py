"""Full-integer quantization: the float TFLite graph as int8, with the ranges that it is given."""

import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer import qtyping, quantizer, recipe_manager
from ai_edge_quantizer.algorithms.uniform_quantize import uniform_quantize_tensor
from ai_edge_quantizer.utils import progress_utils
from numpy.typing import NDArray

from leansight.exporters.errors import FLOAT_ONLY, ConversionError
from leansight.exporters.int8.ranges import STEPS, Range
from leansight.exporters.tflite.graph import TfliteGraph

CASTS = frozenset({"QUANTIZE", "DEQUANTIZE"})
# Where the output channels of a layer's weights are.
CHANNEL_AXES = {"CONV_2D": 0, "FULLY_CONNECTED": 0, "DEPTHWISE_CONV_2D": 3}
LEVELS = 127  # of a symmetric int8 weight
LARGE_BYTES = 32 * 2**20  # as ai-edge-quantizer counts
LARGEST_BIAS = 2**30  # half of what 32 bits hold
SMALLEST_WIDTH = 1e-9  # of a range: ai-edge-quantizer makes a narrower one as wide


def quantize_tflite(
    model: bytes,
    graph: TfliteGraph,
    ranges: Mapping[str, Range],
    in_float: Collection[str] = (),
    islands: Collection[str] = (),
) -> bytes:
    """Return the int8 file: weights per channel and symmetric, activations per tensor.

    What gives or takes an activation of `in_float` computes in float, and so does an operator
    whose first result is one of `islands`.

    ai-edge-quantizer writes it; its own calibration (a moving average) loses too much accuracy
    and is not used.

    Raises:
        ConversionError: the quantizer does not know a layer as this network uses it.

    """
    calibration = {
        name: {
            "min": _of_rank(graph, name, ranges[name].low),
            "max": _of_rank(graph, name, ranges[name].high),
        }
        for name in graph.activations
    }
    with warnings.catch_warnings(), _without_bars(), _with_large_weights():
        # LiteRT warns that keeping every activation is for debugging: the quantizer reads them.
        warnings.simplefilter("ignore", UserWarning)
        try:
            result = quantizer.Quantizer(
                fit_biases(model, graph, ranges), _recipe(graph, in_float, islands)
            ).quantize(calibration, enable_progress_report=False)
        except ValueError as error:
            said = " ".join(str(error).split())
            raise ConversionError(
                f"ai-edge-quantizer cannot make this network int8 ({said}): {FLOAT_ONLY}",
                parameter="precision",
            ) from error
    assert result.quantized_model is not None
    return bytes(result.quantized_model)


@contextmanager
def _without_bars() -> Iterator[None]:
    """Let the quantizer draw no bars: it forgets half of what `enable_progress_bar` says (0.10)."""
    bar = progress_utils.ProgressBar

    def hidden(*steps: Any, **options: Any) -> Any:
        return bar(*steps, **options | {"enable": False})

    progress_utils.ProgressBar = hidden
    try:
        yield
    finally:
        progress_utils.ProgressBar = bar


@contextmanager
def _with_large_weights() -> Iterator[None]:
    """Give the quantizer the kernels of a large convolution in parts (0.10).

    It takes arrays above 32 MiB for matrices, and then has scales for each channel of four axes.
    """
    whole = uniform_quantize_tensor.uniform_quantize

    def in_parts(values: Any, grid: qtyping.UniformQuantParams, blockwise: bool = False) -> Any:  # noqa: FBT001, FBT002 -- its own
        if values.ndim <= 2 or values.nbytes <= LARGE_BYTES or grid.quantized_dimension != 0:  # noqa: PLR2004
            return whole(values, grid, blockwise)
        parts = -(-values.nbytes // LARGE_BYTES)
        return np.concatenate(
            [
                whole(values[rows], _of_channels(grid, rows), blockwise)
                for rows in np.array_split(np.arange(len(values)), parts)
            ]
        )

    uniform_quantize_tensor.uniform_quantize = in_parts
    try:
        yield
    finally:
        uniform_quantize_tensor.uniform_quantize = whole


def _of_channels(
    grid: qtyping.UniformQuantParams, channels: NDArray[np.int64]
) -> qtyping.UniformQuantParams:
    return replace(grid, scale=grid.scale[channels], zero_point=grid.zero_point[channels])


def fit_biases(model: bytes, graph: TfliteGraph, ranges: Mapping[str, Range]) -> bytearray:
    """Return the float file with dead channels' weights large enough for their biases.

    An int32 bias counts in steps of the input's scale times the channel's weight scale. Where a
    channel's weights are nearly nothing (a batch norm that has switched it off), so are the
    steps, and the bias is more of them than 32 bits hold: it would become another number. One
    weight of such a channel is raised until it fits, which adds at most 3e-5 of the bias to what
    the channel gives.
    """
    file = bytearray(model)
    root = schema.Model.GetRootAs(file, 0)
    tensors = [root.Subgraphs(0).Tensors(i) for i in range(root.Subgraphs(0).TensorsLength())]
    buffers = {tensor.Name().decode(): root.Buffers(tensor.Buffer()) for tensor in tensors}
    for op in graph.operators:
        if op.kind not in CHANNEL_AXES or not any(op.inputs[2:3]):  # no bias
            continue
        source, weights, bias = op.inputs[0], graph.tensors[op.inputs[1]], op.inputs[2]
        if weights.values is None or (biases := graph.tensors[bias].values) is None:
            continue
        scale = max(ranges[source].width, SMALLEST_WIDTH) / STEPS
        least = np.abs(biases) * LEVELS / (LARGEST_BIAS * scale)
        axis = CHANNEL_AXES[op.kind]
        largest = np.abs(weights.values).max(axis=tuple({*range(weights.values.ndim)} - {axis}))
        stored = np.moveaxis(_stored(file, buffers[weights.name], weights.values.shape), axis, 0)
        for channel in np.flatnonzero(largest < least):
            stored[channel].flat[0] = least[channel]
    return file


def _stored(file: bytearray, buffer: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return a float tensor as it lies in the file, to be written to."""
    # Large files keep their buffers behind the flatbuffer.
    start, size = buffer.Offset(), buffer.Size()
    behind = np.frombuffer(file, np.uint8)[start : start + size]
    data: NDArray[np.uint8] = behind if size else buffer.DataAsNumpy()
    return data.view(np.float32).reshape(shape)


def require_integers(graph: TfliteGraph, in_float: Collection[str] = ()) -> None:
    """Raise ConversionError if the quantized graph computes anything else than these in float."""
    for op in graph.operators:
        touched = [name for name in (*op.inputs, *op.outputs) if name]
        floats = [name for name in touched if graph.tensors[name].dtype == "float32"]
        if floats and op.kind not in CASTS and not set(in_float) & {*floats, *op.outputs}:
            raise ConversionError(
                f"TFLite's {op.kind} has no int8 form here ({floats[0]}): {FLOAT_ONLY}",
                parameter="precision",
            )


def _recipe(
    graph: TfliteGraph, in_float: Collection[str], islands: Collection[str]
) -> qtyping.ModelQuantizationRecipe:
    """Return ai-edge-quantizer's recipe: everything in int8 but these."""
    manager = recipe_manager.RecipeManager()
    manager.add_static_config(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        activation_num_bits=8,
        weight_num_bits=8,
    )
    for op in graph.operators:
        if op.outputs[0] in islands or {*op.inputs, *op.outputs} & set(in_float):
            manager.add_quantization_config(
                regex=f"^{re.escape(';'.join(op.outputs))};$",
                operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
                algorithm_key=recipe_manager.AlgorithmName.NO_QUANTIZE,
            )
    return manager.get_quantization_recipe()


def _of_rank(
    graph: TfliteGraph, name: str, value: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.full((1,) * len(graph.tensors[name].shape), value, np.float32)
