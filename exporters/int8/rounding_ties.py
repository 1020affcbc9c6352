"""Rounding ties: quantization steps with which no result lies midway between two levels.

The runtimes compute a result in another order, and with another precision, before they round it.
Near the middle between two levels of an activation one rounds up where the other rounds down, and
every layer after it makes more of that (docs/decisions/0014). So the levels of such results are
moved a little apart, until nothing lies there.
"""

import math
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from leansight.exporters.int8.ranges import STEPS, Range
from leansight.exporters.tflite.graph import Operator, TfliteGraph
from leansight.exporters.tflite.shared_grids import ADDING, FIXED, SharedGrids

MOST_WIDENED: Final = 1.3  # a range: less than half a bit is lost
MOST_PARTS: Final = 8  # of the number by which sums and products are divided
MOST_STEPS_WIDENED: Final = 50  # of a function's table, each by a thousandth
# What is added counts in so many steps at most. XNNPACK rounds the factor of each side of a sum to
# 20 bits: an error of 255 × MOST_MULTIPLE / 2²⁰ of the least distance from a middle, doubled.
MOST_MULTIPLE: Final = 1023
# XNNPACK takes no sum whose steps are 256 times finer than what is added, ONNX Runtime no such
# mean.
MOST_FINER: Final = 200
FAR_FROM_TIES: Final = 5e-4  # levels: float32 leaves an error of 255 × 2⁻²³, a function some more
# What both runtimes compute of the 256 numbers that an int8 tensor can have, each in its own way.
_TABLES: Final[Mapping[str, tuple[Callable[[Tensor], Tensor], ...]]] = {
    "GELU": (functional.gelu, partial(functional.gelu, approximate="tanh")),
    "LOGISTIC": (torch.sigmoid,),
    "TANH": (torch.tanh,),
}


def avoid_ties(
    graph: TfliteGraph,
    grids: SharedGrids,
    ranges: Mapping[str, Range],
    islands: Collection[str] = (),
) -> Mapping[str, Range]:
    """Return the ranges of all activations, some of them a little wider.

    What sums join counts in odd multiples of one step. In sums, in means over the picture and in
    products, integers are then divided by an odd number M, so that no quotient comes nearer to a
    middle than 1 / (2 M), far more than either runtime's error. A function of one tensor is a
    table of 256 numbers, none of which comes near a middle then. What is widened for a mean, a
    product or a table is the result, or what it is made of: whichever has steps of its own, and is
    in no other quotient or function yet. `islands` are computed in float and divide nothing.
    """
    fixed = _fixed_ranges(graph, grids, islands)
    chosen = {**odd_multiples(graph.operators, grids, ranges), **fixed}
    settled = {graph.input, *fixed}

    def is_free(name: str) -> bool:
        joined = {other for other, found in grids.sums.items() if found == grids.sums.get(name)}
        same = {other for other in joined if grids.grid[other] == grids.grid[name]}
        return bool(joined) and same == joined and not same & settled

    rounding = [op for op in graph.operators if op.kind in {"MEAN", "MUL", *_TABLES}]
    for op in (op for op in rounding if op.outputs[0] not in islands):
        made = op.outputs[0]
        for name in filter(is_free, (made, *op.inputs)):
            of_result = name == made
            if op.kind in _TABLES:
                factor = _table_widening(graph, op, chosen, of_result=of_result)
            else:
                factor = _quotient_widening(divisor(graph, op, chosen), of_result=of_result)
            if factor < MOST_WIDENED:
                own = grids.members(grids.grid[name])
                chosen |= {n: chosen[n].widened(factor * chosen[n].width) for n in own}
                break
        settled |= {made, *op.inputs}
    return chosen


def odd_multiples(
    operators: Collection[Operator], grids: SharedGrids, ranges: Mapping[str, Range]
) -> dict[str, Range]:
    """Return the ranges, those that sums join as wide as odd multiples of one width.

    Of what sums join, none counts in steps of less than a `MOST_MULTIPLE`th of the largest, and no
    sum or mean in steps of less than a `MOST_FINER`th of what it takes.
    """
    widths = {step: ranges[step].width for step in grids.scale.values()}
    for op in operators:
        if op.kind in {*ADDING, "MEAN"} and (made := grids.scale.get(op.outputs[0])):
            taken = [widths[grids.scale[name]] for name in op.inputs if name in grids.scale]
            widths[made] = max(widths[made], max(taken, default=0.0) / MOST_FINER)
    joined: dict[str, set[str]] = {}
    for step in widths:
        joined.setdefault(grids.sums[step], set()).add(step)
    for steps in (found for found in joined.values() if len(found) > 1):
        unit = max(widths[step] for step in steps) / MOST_MULTIPLE
        for step in steps:
            width = max(widths[step], unit)
            widths[step] = width * widening(width / unit, of_result=True)
    return {name: found.widened(widths[grids.scale[name]]) for name, found in ranges.items()}


def widening(divisor: float, *, of_result: bool) -> float:
    """Return by what to widen a result, or one of the factors in it, to divide by an odd number."""
    half = (divisor - 1) / 2  # of an odd number: a whole one, which stays
    odd = 2 * (math.ceil(half - 1e-6) if of_result else math.floor(half + 1e-6)) + 1
    if divisor <= 0 or odd <= 0:
        return math.inf
    return odd / divisor if of_result else divisor / odd


def _quotient_widening(divisor: float, *, of_result: bool) -> float:
    """Return by what to widen a result, or one of the factors in it, to divide by M / n, M odd.

    By a whole number, or where that is too far away by the nearest such part: no whole number times
    n / M is nearer to a middle than 1 / (2 M).
    """
    whole, *parts = (widening(divisor * n, of_result=of_result) for n in range(1, MOST_PARTS + 1))
    return whole if whole < MOST_WIDENED else min(parts)


def _table_widening(
    graph: TfliteGraph, op: Operator, ranges: Mapping[str, Range], *, of_result: bool
) -> float:
    """Return by what to widen a function's result, or what it takes, to be far from all ties."""
    taken, made = (_width(graph, name, ranges) / STEPS for name in (op.inputs[0], op.outputs[0]))
    for factor in (1 + n / 1000 for n in range(MOST_STEPS_WIDENED)):
        steps = (taken, made * factor) if of_result else (taken * factor, made)
        if min(_nearest_tie(table, *steps) for table in _TABLES[op.kind]) > FAR_FROM_TIES:
            return factor
    return math.inf


def _nearest_tie(function: Callable[[Tensor], Tensor], taken: float, made: float) -> float:
    """Return how near a function comes to the middle of two levels, in levels.

    Of all whole numbers of steps `taken` that may be an int8 tensor's, wherever its zero lies.
    """
    if made <= 0:
        return math.inf
    levels = (function(torch.arange(-STEPS, STEPS + 1, dtype=torch.float64) * taken) / made).numpy()
    seen = levels[np.abs(levels) <= STEPS]
    return float(np.abs(seen - np.floor(seen) - 0.5).min(initial=0.5))


def divisor(graph: TfliteGraph, op: Operator, ranges: Mapping[str, Range]) -> float:
    """Return what the integers of a result are divided by, to be on its grid.

    A mean of N numbers in steps s, given in steps t: their sum by N t / s. A product of steps
    s and u: the integers' product by t / (s u). 0 where that is no number.
    """
    source, step = op.inputs[0], ranges[op.outputs[0]].width / STEPS
    if op.kind == "MEAN":
        numbers = math.prod(graph.tensors[source].shape)
        units = _width(graph, source, ranges) / STEPS
        units /= numbers / math.prod(graph.tensors[op.outputs[0]].shape)
    else:
        units = math.prod(_width(graph, name, ranges) / STEPS for name in op.inputs)
    return step / units if units > 0 else 0.0


def _width(graph: TfliteGraph, name: str, ranges: Mapping[str, Range]) -> float:
    """Return the width of what an operator takes, computed or constant."""
    if (values := graph.tensors[name].values) is not None:
        return float(max(values.max(), 0) - min(values.min(), 0))
    return ranges[name].width


def _fixed_ranges(
    graph: TfliteGraph, grids: SharedGrids, islands: Collection[str]
) -> Mapping[str, Range]:
    """Return the ranges of what functions give that LiteRT computes on one grid alone."""
    kinds = grids.fixed(graph, islands)
    return {
        name: Range(low=low, high=high)
        for name, grid in grids.grid.items()
        if grid in kinds
        for low, high in [FIXED[kinds[grid]]]
    }
