"""The range of every activation, found once, on training images, for both formats."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from leansight.exporters.conversion.convert import batches, network_input
from leansight.exporters.conversion.torch_graph import watch
from leansight.exporters.tflite.graph import TfliteGraph
from leansight.runtime.preprocessing import PIXEL_SCALE, PIXEL_ZERO, Image

BINS = 2048
STEPS = 255  # between the 256 levels of an int8 activation
SMALLEST = 1e-30  # step between two levels, where a tensor is nothing but zero
# What may be cut off the numbers of a tensor at either end.
TAILS = (1e-5, 1e-4)
SHRUNK = tuple(
    n / 50 for n in range(15, 51)
)  # parts of the full range that are tried for the least error


@dataclass(frozen=True, kw_only=True)
class Range:
    """The smallest and the largest value that a tensor can take, zero included."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """From the smallest to the largest value."""
        return self.high - self.low

    @property
    def zero(self) -> float:
        """Where zero lies between them, from 0 to 1."""
        return -self.low / self.width if self.width > 0 else 0.0

    def widened(self, width: float) -> "Range":
        """Return the range of this width in which zero lies where it does here."""
        return Range(low=-self.zero * width, high=(1 - self.zero) * width)


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How often the values of tensors on one grid lay where, in `BINS` equal bins of `range`."""

    range: Range
    counts: NDArray[np.float64]

    def without_tails(self, share: float) -> Range:
        """Return the range without this share of all values at either end, zero included."""
        edges = np.linspace(self.range.low, self.range.high, len(self.counts) + 1)
        below = np.concatenate([[0.0], np.cumsum(self.counts)]) / self.counts.sum()
        first = int(np.searchsorted(below, share, side="right")) - 1
        last = int(np.searchsorted(below, 1 - share, side="left"))
        return Range(low=min(float(edges[first]), 0.0), high=max(float(edges[last]), 0.0))

    def of_least_error(self) -> Range:
        """Return the part of the range whose 256 levels have the least mean squared error."""
        tried = [Range(low=self.range.low * part, high=self.range.high * part) for part in SHRUNK]
        return min(tried, key=self.squared_error)

    def squared_error(self, chosen: Range) -> float:
        """Return the mean squared error of rounding to the 256 levels of a range."""
        edges = np.linspace(self.range.low, self.range.high, len(self.counts) + 1)
        values = (edges[1:] + edges[:-1]) / 2
        scale = max((chosen.high - chosen.low) / STEPS, SMALLEST)
        zero = np.rint(-chosen.low / scale)
        rounded = (np.clip(np.rint(values / scale) + zero, 0, STEPS) - zero) * scale
        return float(np.average((rounded - values) ** 2, weights=self.counts))

    def candidates(self) -> list[Range]:
        """Return narrower ranges that round what was counted with less squared error."""
        narrower = [*(self.without_tails(tail) for tail in TAILS), self.of_least_error()]
        most = self.squared_error(self.range)
        return [r for r in dict.fromkeys(narrower) if self.squared_error(r) < most]


# Every pixel value is possible, whatever the calibration images show; with these bounds the
# scale is 1/128 and the zero point 0 exactly: the int8 input is pixel - 128.
INPUT_RANGE = Range(low=(0 - PIXEL_ZERO) * PIXEL_SCALE, high=(255 - PIXEL_ZERO) * PIXEL_SCALE)
# What gives the numbers that it takes, or values between them.
MOVING = frozenset(
    {"CONCATENATION", "MAX_POOL_2D", "AVERAGE_POOL_2D", "PAD", "PADV2", "RESHAPE", "TRANSPOSE"}
)
# What adds the numbers that it takes: exact in integers where all of them count in equal steps.
ADDING = frozenset({"ADD", "SUB"})


def calibrate(
    folded: fx.GraphModule,
    graph: TfliteGraph,
    partners: Mapping[str, str],
    pixels: Image,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Mapping[str, Range]:
    """Return the range of each activation of a TFLite graph over images (N, S, S, C) uint8.

    What is concatenated or pooled shares its range with the result, so that it lies on one grid;
    what is added shares the width of its range with the sum, so that no step is lost.

    Args:
        folded: the same network in torch, for any number of images.
        graph: float.
        partners: the activation of each of torch's nodes, from `pair_nodes`; what has none is
            run in TFLite, image by image.
        pixels: training images.
        progress: told how many of how many images are done.

    Raises:
        ValueError: there is no image.

    """
    if not len(pixels):
        raise ValueError("calibration needs at least one image")
    grids = shared_grids(graph)
    known = {grids[name] for name in partners.values()}
    unknown = [name for name in graph.activations if grids[name] not in known]
    low = dict.fromkeys(grids.values(), 0.0)
    high = dict.fromkeys(grids.values(), 0.0)

    def see(grid: str, smallest: float, largest: float) -> None:
        low[grid] = min(low[grid], smallest)
        high[grid] = max(high[grid], largest)

    def seen(node: str, values: Tensor) -> None:
        if node in partners:
            see(grids[partners[node]], *(float(bound) for bound in values.aminmax()))

    for done, batch in batches(pixels):
        watch(folded, batch, seen)
        progress(done, len(pixels))
    for image in pixels if unknown else ():
        run = graph.run(network_input(image))
        for name in unknown:
            see(grids[name], float(run[name].min()), float(run[name].max()))
    ranges = {name: Range(low=low[grid], high=high[grid]) for name, grid in grids.items()}
    return {**_widened_to_share_steps(graph, ranges), graph.input: INPUT_RANGE}


def _widened_to_share_steps(graph: TfliteGraph, ranges: Mapping[str, Range]) -> Mapping[str, Range]:
    """Return ranges as wide as the widest of those that must count in steps of the same size."""
    scales = shared_scales(graph)
    widths = dict.fromkeys(scales.values(), 0.0)
    for name, found in ranges.items():
        widths[scales[name]] = max(widths[scales[name]], found.width)
    return {name: found.widened(widths[scales[name]]) for name, found in ranges.items()}


def count_values(
    folded: fx.GraphModule,
    partners: Mapping[str, str],
    grids: Mapping[str, str],
    ranges: Mapping[str, Range],
    pixels: Image,
) -> Mapping[str, Histogram]:
    """Return the histogram of each grid of `shared_grids` that a node of torch's graph lies on.

    Args:
        folded: as for `calibrate`.
        partners: as for `calibrate`.
        grids: of each activation.
        ranges: of each activation over the same images, from `calibrate`.
        pixels: (N, S, S, C) uint8.

    """
    bounds = {grids[name]: ranges[name] for name in partners.values()}
    counts = {grid: np.zeros(BINS) for grid in bounds}

    def seen(node: str, values: Tensor) -> None:
        if node in partners:
            grid = grids[partners[node]]
            low, high = bounds[grid].low, bounds[grid].high
            if high > low:
                counts[grid] += torch.histc(values, BINS, low, high).numpy()

    for _, batch in batches(pixels):
        watch(folded, batch, seen)
    return {
        grid: Histogram(range=bounds[grid], counts=found)
        for grid, found in counts.items()
        if found.any()
    }


def shared_grids(graph: TfliteGraph) -> dict[str, str]:
    """Return for each activation the name of the first that must lie on the same grid.

    These are the tensors between which numbers are only moved. Else they would be rounded again
    from grid to grid before each concatenation, which TFLite's runtimes and ONNX Runtime do not
    do alike; in DenseNet all layers of a block meet in one.
    """
    return _together(graph, MOVING)


def shared_scales(graph: TfliteGraph) -> dict[str, str]:
    """Return for each activation the name of the first that must count in steps of the same size.

    These are the ones that are added, and those on a grid with them. TFLite's runtimes multiply
    each side of a sum by a fixed-point factor, ONNX Runtime by a float, and where they part by a
    step in one number of 60,000, a deep network makes other logits of it. With equal steps both
    add integers: the two files then give the same numbers, bit for bit (docs/decisions/0014).
    """
    return _together(graph, MOVING | ADDING)


def _together(graph: TfliteGraph, kinds: frozenset[str]) -> dict[str, str]:
    """Return for each activation the first of those that operators of these kinds join it to."""
    groups: dict[str, set[str]] = {name: {name} for name in graph.activations}
    for op in graph.operators:
        sources = [name for name in op.inputs if name in groups and name != graph.input]
        # A constant that is added has steps of its own: what it is added to may be far larger.
        if op.kind in kinds and (op.kind in MOVING or len(sources) > 1):
            group = set[str]().union(*(groups[name] for name in (*sources, *op.outputs)))
            groups |= dict.fromkeys(group, group)
    order = {name: index for index, name in enumerate(graph.activations)}
    return {name: min(group, key=order.__getitem__) for name, group in groups.items()}
