"""Tensor matching: the TFLite tensor of each tensor of torch's or the ONNX graph, by its values.

The converters name, order and fuse things differently, so names and graph walks do not carry
over to the next kind of network. Run on the same images, equal tensors hold equal numbers,
whatever produced them. Of tensors that hold equal numbers, what only moves others is paired with
what TFLite moves as well: a class token that is added and cut off again leaves the same numbers, in
other steps.
"""

import math
import operator
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from leansight.exporters.conversion.torch_graph import (
    ACTIVATIONS,
    ATEN,
    IMAGE_AXES,
    MOVES,
    watch,
)
from leansight.exporters.tflite.graph import TfliteGraph
from leansight.exporters.tflite.shared_grids import MOVING as TFLITE_MOVING
from leansight.runtime.extras import onnx_runtime
from leansight.runtime.preprocessing import Image, network_input

PROBES = 4  # one picture can make two different tensors equal: all zero, say
TOLERANCE = 1e-3  # of the tensor's largest value: two runtimes add in different orders
NOISE = 1e-6  # of the same: less tells no tensor from another
# Behind a hundred layers that adds up: more is accepted where all that is different is this many
# times further away.
DEEP_TOLERANCE, CLEARLY = 5e-3, 20
# ONNX operators that give the numbers that they take: on their grid, whatever TFLite makes of them.
MOVING = frozenset(
    {"DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "SpaceToDepth"}
    | {"Split", "Squeeze", "Transpose", "Unsqueeze"}
)
# Functions that end at 1: of large numbers, noise far behind the point is what they give.
_SQUASHING: Mapping[object, str] = {
    "Sigmoid": "LOGISTIC",
    "Tanh": "TANH",
    ATEN.sigmoid.default: "LOGISTIC",
    ATEN.tanh.default: "TANH",
}
# The same of torch's nodes.
_MOVING_NODES = MOVES | {
    *(ATEN.expand.default, ATEN.expand_as.default, ATEN.index_select.default, ATEN.narrow.default),
    *(ATEN.pixel_shuffle.default, ATEN.pixel_unshuffle.default, ATEN.select.int),
    *(ATEN.slice.Tensor, ATEN.squeeze.dim, ATEN.squeeze.dims, ATEN.unsqueeze.default),
    operator.getitem,  # one of several slices
}
_TOKEN_AXES = 3  # batch, tokens, features
SAMPLES = 4096  # numbers of each tensor that are compared: big networks need not be kept whole


def pair_tensors(model: onnx.ModelProto, graph: TfliteGraph, pixels: Image) -> Mapping[str, str]:
    """Return the TFLite partner of each ONNX activation that has one.

    Args:
        model: the float ONNX network, input (1, C, S, S).
        graph: the same network as float TFLite, input (1, S, S, C).
        pixels: images (N, S, S, C) uint8; the first `PROBES` are run through both.

    """
    probes = [network_input(image[None]) for image in pixels[:PROBES]]
    sources = {name: list(node.input) for node in model.graph.node for name in node.output}
    moving = {n for node in model.graph.node if node.op_type in MOVING for n in node.output}
    squashed = {
        node.output[0]: (node.input[0], _SQUASHING[node.op_type])
        for node in model.graph.node
        if node.op_type in _SQUASHING
    }
    return _pair(_run_onnx(model, probes), graph, probes, sources, moving, squashed, strictly=True)


def pair_nodes(folded: fx.GraphModule, graph: TfliteGraph, pixels: Image) -> Mapping[str, str]:
    """Return the TFLite partner of each node of torch's folded graph that has one.

    What an activation takes has none where TFLite computes both in one: no probe need show that
    the two differ, and the grid is that of the result.

    Args:
        folded: the network, input (1, C, S, S), from `leansight.exporters.conversion.folding.fold`.
        graph: the same network as float TFLite, input (1, S, S, C).
        pixels: images (N, S, S, C) uint8; the first `PROBES` are run through both.

    """
    probes = [network_input(image[None]) for image in pixels[:PROBES]]
    nodes = folded.graph.nodes
    sources = {node.name: [part.name for part in node.all_input_nodes] for node in nodes}
    moving = {node.name for node in nodes if node.target in _MOVING_NODES}
    squashed = {
        node.name: (node.args[0].name, _SQUASHING[node.target])
        for node in nodes
        if node.target in _SQUASHING
    }
    partners = _pair(
        _run_torch(folded, probes), graph, probes, sources, moving, squashed, strictly=False
    )
    fused = {
        node.args[0].name
        for node in nodes
        if node.target in ACTIVATIONS and partners.get(node.args[0].name) == partners.get(node.name)
    }
    return {name: partner for name, partner in partners.items() if name not in fused}


Run = Mapping[str, Sequence[NDArray[np.float32]]]  # each tensor in every order its axes may have
Sample = tuple[int, NDArray[np.float32]]  # a tensor's size, and some of its numbers


def _pair(
    ours: Iterator[Run],
    graph: TfliteGraph,
    probes: list[NDArray[np.float32]],
    sources: Mapping[str, Sequence[str]],
    moving: Collection[str],
    squashed: Mapping[str, tuple[str, str]],
    *,
    strictly: bool,
) -> Mapping[str, str]:
    """Return the TFLite partner of each tensor.

    `sources` gives what each tensor is computed of, and `moving` which of them only move their
    first source: with `strictly`, these are paired only with what TFLite moves as well. `squashed`
    gives for what a function of `_SQUASHING` computes what the function takes, and TFLite's name
    of it.
    """
    runs = ({name: [values] for name, values in graph.run(probe).items()} for probe in probes)
    theirs = {name: values for name, (values,) in _samples(runs).items()}
    partners: dict[str, str] = {}
    errors: dict[str, float] = {}  # of the TFLite tensors that have a partner, the first one's
    copies: dict[str, float] = {}  # of these and of all that holds nothing but their numbers
    moved = _moved(graph)
    functions = {(op.inputs[0], op.kind): op.outputs[0] for op in graph.operators}
    for name, layouts in _samples(ours).items():
        given = [partners.get(source, "") for source in sources.get(name, ())]
        allowed: Collection[str] = theirs.keys()
        taken = errors if name in moving else copies
        if name in moving and strictly:
            allowed = moved.get(given[0], allowed)
        best, error = _equal(layouts, {c: theirs[c] for c in theirs if c in allowed}, taken, given)
        if best is None and name in squashed:
            source, kind = squashed[name]
            best = functions.get((partners.get(source, ""), kind))
        if best is not None:
            partners[name] = best
            errors.setdefault(best, error)
            for copy in moved[best]:
                copies.setdefault(copy, error)
    return _choose_copies(partners, graph, theirs, sources, moving) if strictly else partners


def _choose_copies(
    partners: Mapping[str, str],
    graph: TfliteGraph,
    theirs: Mapping[str, Sample],
    sources: Mapping[str, Sequence[str]],
    moving: Collection[str],
) -> Mapping[str, str]:
    """Return the partners, of equal copies those that are read for the same.

    TFLite may have a tensor twice, on its grid for one reader and in float for another.
    """
    found = dict(partners)
    moved = _moved(graph)
    makers = {name: op for op in graph.operators for name in op.outputs}
    readers: dict[str, list[str]] = {}
    for reader, given in sources.items():
        for source in given:
            readers.setdefault(source, []).append(reader)
    for name in reversed([name for name in partners if name in moving]):
        current = found[name]
        size, numbers = theirs[current]
        copies = [
            copy
            for copy in moved.get(found.get(sources[name][0], ""), ())
            if theirs[copy][0] == size and np.array_equal(theirs[copy][1], numbers)
        ]
        if len(copies) < 2:  # noqa: PLR2004 -- nothing to choose between
            continue
        behind = _first_paired(name, readers, found)
        read = [{found[r], *makers[found[r]].inputs} for r in behind if found[r] in makers]
        ranks = {
            copy: (
                sum(bool(inputs.intersection(moved[copy])) for inputs in read),
                -len(moved[copy]),  # what is moved on for others as well serves them all
                copy == current,
            )
            for copy in copies
        }
        if ranks[max(copies, key=ranks.__getitem__)][0] > ranks[current][0]:
            found[name] = max(copies, key=ranks.__getitem__)
    return found


def _first_paired(
    name: str, readers: Mapping[str, Sequence[str]], partners: Mapping[str, str]
) -> Collection[str]:
    """Return what is computed of a tensor and has a partner, directly or by steps without one."""
    found, steps, behind = set[str](), {name}, [name]
    while behind:
        given = set(readers.get(behind.pop(), ()))
        found |= given & partners.keys()
        without = given - partners.keys() - steps
        steps |= without
        behind += without
    return found


def _equal(
    layouts: Sequence[Sample],
    candidates: Mapping[str, Sample],
    taken: Mapping[str, float],
    given: Collection[str],
) -> tuple[str | None, float]:
    """Return the candidate that holds the numbers of a tensor in one of its layouts.

    One of `taken` is returned where no other one holds them as well: one of `given`, the partners
    of what the tensor is computed of, where a step that TFLite leaves out changes nothing. What
    its partner is clearly nearer to does not hold them: 0.999 x is not x.

    Returns:
        The candidate, and how far its numbers are away, as a share of the largest.

    """
    shared: tuple[str | None, float] = None, math.inf
    for size, values in layouts:
        largest = max(float(np.abs(values).max()), 1e-6)
        distances = {
            name: max(float(np.abs(values - others).max()) / largest, NOISE)
            for name, (size_of_other, others) in candidates.items()
            if size_of_other == size
        }
        # Equal ones, such as two gates that are closed for all probes, come in the same order.
        ranks = [
            (distance, name in taken, name not in given, order, name)
            for order, (name, distance) in enumerate(distances.items())
            if distance <= CLEARLY * taken.get(name, math.inf)
        ]
        error, is_taken, *_, best = min(ranks, default=(math.inf, True, True, 0, ""))
        if shared[0] is not None:
            if error <= NOISE and not is_taken:
                return best, error
        elif error <= TOLERANCE or (
            error <= DEEP_TOLERANCE
            and all(
                distance >= CLEARLY * error
                for name, distance in distances.items()
                if np.abs(candidates[name][1] - candidates[best][1]).max() > error * largest
            )
        ):
            if not is_taken:
                return best, error
            shared = best, error
    return shared


def _moved(graph: TfliteGraph) -> Mapping[str, Collection[str]]:
    """Return for each activation itself, and all that holds nothing but its numbers."""
    moved = {name: {name} for name in graph.activations}
    for op in reversed(graph.operators):
        if op.kind in TFLITE_MOVING:
            for name in moved.keys() & set(op.inputs):
                moved[name] |= set[str]().union(*(moved[given] for given in op.outputs))
    return moved


def _samples(runs: Iterator[Run]) -> dict[str, list[Sample]]:
    """Return each tensor's size, and numbers of all runs end to end, extremes included."""
    parts: dict[str, list[list[NDArray[np.float32]]]] = {}
    sizes = {}
    for run in runs:
        for name, layouts in run.items():
            if layouts[0].dtype.kind != "f":  # a condition, a shape: nothing to be rounded
                continue
            found = parts.setdefault(name, [[] for _ in layouts])
            for part, values in zip(found, layouts, strict=True):
                flat = values.reshape(-1)
                sizes[name] = flat.size
                part += [flat[_positions(flat.size)], np.array([flat.min(), flat.max()])]
    return {
        name: [(sizes[name], np.concatenate(part)) for part in layouts]
        for name, layouts in parts.items()
    }


@lru_cache
def _positions(size: int) -> NDArray[np.int64]:
    """Return where tensors of this size are compared: always the same places."""
    return np.random.default_rng(0).permutation(size)[:SAMPLES].copy()


def _run_onnx(model: onnx.ModelProto, probes: list[NDArray[np.float32]]) -> Iterator[Run]:
    """Give every activation for each probe."""
    traced = onnx.ModelProto()
    traced.CopyFrom(model)
    computed = [name for node in model.graph.node for name in node.output]
    shown = {output.name for output in model.graph.output}
    traced.graph.output.extend(onnx.ValueInfoProto(name=n) for n in computed if n not in shown)
    ort = onnx_runtime()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        traced.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    for probe in probes:
        channels_first = probe.transpose(0, 3, 1, 2)
        image = model.graph.input[0].name
        outputs = session.run(computed, {image: channels_first})
        run = {name: _layouts(values) for name, values in zip(computed, outputs, strict=True)}
        yield {image: [probe], **run}


def _run_torch(folded: fx.GraphModule, probes: list[NDArray[np.float32]]) -> Iterator[Run]:
    """Give what every node of the graph computes for each probe."""
    for probe in probes:
        run: dict[str, Sequence[NDArray[np.float32]]] = {}

        def record(
            name: str, values: Tensor, run: dict[str, Sequence[NDArray[np.float32]]] = run
        ) -> None:
            run[name] = _layouts(values.numpy())

        watch(folded, torch.from_numpy(probe.transpose(0, 3, 1, 2)), record)
        yield run


def _layouts(values: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
    """Return a tensor in TFLite's order of axes, and as it is: it may have been turned already.

    Rows of features may be features of rows, where TFLite's converter turns them later.
    """
    if values.ndim == IMAGE_AXES:
        return [values.transpose(0, 2, 3, 1), values]
    return [values, values.transpose(0, 2, 1)] if values.ndim == _TOKEN_AXES else [values]
