"""Grids of constants: steps in which what is added or multiplied is computed alike in both formats.

ai-edge-quantizer gives each constant the finest steps that it can have. Both runtimes round alike
only where all parts of a sum count in steps of one size, and where integers of a product are
divided by an odd number (docs/decisions/0014).
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from leansight.exporters.int8.ranges import STEPS, Range
from leansight.exporters.int8.rounding_ties import MOST_WIDENED, divisor, widening
from leansight.exporters.tflite.file import pack, unpack
from leansight.exporters.tflite.graph import Operator, TfliteGraph
from leansight.exporters.tflite.shared_grids import SharedGrids

_INT8: Final = np.iinfo(np.int8)
_UNCHANGED: Final = 1 + 1e-6  # a width


def constant_ranges(
    graph: TfliteGraph, grids: SharedGrids, ranges: Mapping[str, Range], islands: Collection[str]
) -> Mapping[str, Range]:
    """Return the ranges of constants that need other ones than the narrowest, given all others.

    A constant that is added is as wide as the sum, or an odd multiple of that. One that is
    multiplied is a little wider where nothing else was
    (`leansight.exporters.int8.rounding_ties.avoid_ties`).
    """
    found = {}
    for name, result in grids.constants.items():
        narrowest, width = narrowest_range(graph, name), ranges[result].width
        if narrowest.width > 0 and width > 0:
            times = widening(max(narrowest.width / width, 1), of_result=True)
            found[name] = narrowest.widened(max(narrowest.width, width) * times)
    for op in (o for o in graph.operators if o.kind == "MUL" and o.outputs[0] not in islands):
        for name in _own_constants(graph, op):
            factor = widening(divisor(graph, op, ranges), of_result=False)
            if _UNCHANGED < factor < MOST_WIDENED:
                narrowest = narrowest_range(graph, name)
                found[name] = narrowest.widened(factor * narrowest.width)
    return found


def narrowest_range(graph: TfliteGraph, name: str) -> Range:
    """Return the smallest and the largest number of a constant, zero included."""
    values = graph.tensors[name].values
    assert values is not None
    return Range(low=min(float(values.min()), 0.0), high=max(float(values.max()), 0.0))


def _own_constants(graph: TfliteGraph, op: Operator) -> Iterator[str]:
    """Give the constant of a product of several numbers, if nothing else reads it."""
    for name in op.inputs:
        values = graph.tensors[name].values
        alone = sum(name in other.inputs for other in graph.operators) == 1
        if values is not None and values.size > 1 and values.any() and alone:
            yield name


def with_constant_ranges(file: bytes, graph: TfliteGraph, ranges: Mapping[str, Range]) -> bytes:
    """Return an int8 file in which these constants of the float `graph` count in other steps.

    One that does not fit into 8 bits so, or that is not int8 in the file, stays as it is.
    """
    if not ranges:
        return file
    model = unpack(file)
    (subgraph,) = model.subgraphs
    for tensor in subgraph.tensors:
        name = tensor.name.decode()
        if name not in ranges or tensor.type != schema.TensorType.INT8:
            continue
        values = graph.tensors[name].values
        assert values is not None
        step = np.float32(ranges[name].width / STEPS)
        zero = int(np.clip(_INT8.min - np.rint(ranges[name].low / step), _INT8.min, _INT8.max))
        levels = np.rint(values.astype(np.float64) / step) + zero
        if levels.min() < _INT8.min or levels.max() > _INT8.max:
            continue
        tensor.quantization.scale, tensor.quantization.zeroPoint = [float(step)], [zero]
        integers = levels.astype(np.int8).reshape(-1).view(np.uint8)
        model.buffers.append(schema.BufferT(data=integers))
        tensor.buffer = len(model.buffers) - 1
    return pack(model)
