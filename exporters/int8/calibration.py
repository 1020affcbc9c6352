"""Calibration: the range of every activation, found once on training images for both formats."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor, fx

from leansight.exporters.conversion.inference import batches
from leansight.exporters.conversion.torch_graph import watch
from leansight.exporters.int8.constant_grids import narrowest_range
from leansight.exporters.int8.ranges import BINS, INPUT_RANGE, Histogram, Range
from leansight.exporters.tflite.graph import TfliteGraph
from leansight.exporters.tflite.shared_grids import SharedGrids
from leansight.runtime.preprocessing import Image, network_input

_WIDTH_OF_NOTHING: Final = 1.0


def calibrate(
    folded: fx.GraphModule,
    graph: TfliteGraph,
    grids: SharedGrids,
    partners: Mapping[str, str],
    pixels: Image,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Mapping[str, Range]:
    """Return the range of each activation of a TFLite graph over images (N, S, S, C) uint8.

    What is concatenated or pooled shares its range with the result, so that it lies on one grid;
    what counts in steps of one size shares the width of its range.

    Args:
        folded: the same network in torch, for any number of images.
        graph: float.
        grids: of the graph.
        partners: the activation of each of torch's nodes, from `pair_nodes`; what has none is
            run in TFLite, image by image.
        pixels: training images.
        progress: told how many of how many images are done.

    Raises:
        ValueError: there is no image.

    """
    return share_steps(graph, grids, measure(folded, graph, grids, partners, pixels, progress))


def measure(
    folded: fx.GraphModule,
    graph: TfliteGraph,
    grids: SharedGrids,
    partners: Mapping[str, str],
    pixels: Image,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Mapping[str, Range]:
    """Return what `calibrate` does, whatever shares its steps."""
    if not len(pixels):
        raise ValueError("calibration needs at least one image")
    known = {grids.grid[name] for name in partners.values()}
    unknown = [name for name in graph.activations if grids.grid[name] not in known]
    observer = _MinMaxObserver(grids)

    def record(node: str, values: Tensor) -> None:
        if node in partners:
            observer.record(partners[node], *(float(bound) for bound in values.aminmax()))

    for done, batch in batches(pixels):
        watch(folded, batch, record)
        progress(done, len(pixels))
    for image in pixels if unknown else ():
        run = graph.run(network_input(image[None]))
        for name in unknown:
            observer.record(name, float(run[name].min()), float(run[name].max()))
    return observer.ranges()


class _MinMaxObserver:
    """The smallest and the largest value on each grid, zero included."""

    def __init__(self, grids: SharedGrids) -> None:
        self._grid = grids.grid
        self._low = dict.fromkeys(grids.grid.values(), 0.0)
        self._high = dict.fromkeys(grids.grid.values(), 0.0)

    def record(self, activation: str, smallest: float, largest: float) -> None:
        """Widen the grid of an activation until these values are on it."""
        grid = self._grid[activation]
        self._low[grid] = min(self._low[grid], smallest)
        self._high[grid] = max(self._high[grid], largest)

    def ranges(self) -> dict[str, Range]:
        """Return the range of every activation: its grid's."""
        return {
            name: Range(low=self._low[grid], high=self._high[grid])
            for name, grid in self._grid.items()
        }


def share_steps(
    graph: TfliteGraph, grids: SharedGrids, ranges: Mapping[str, Range]
) -> Mapping[str, Range]:
    """Return ranges as wide as the widest of those that must count in steps of the same size.

    What was zero on all images, such as behind a ReLU that is silent, may have any step; but from
    one of next to nothing XNNPACK refuses to scale up the sums of the layer before.
    """
    own = widths_with_constants(graph, grids, ranges)
    widths = dict.fromkeys(grids.scale.values(), 0.0)
    for name, width in own.items():
        widths[grids.scale[name]] = max(widths[grids.scale[name]], width)
    widened = {
        name: found.widened(widths[grids.scale[name]] or _WIDTH_OF_NOTHING)
        for name, found in ranges.items()
    }
    return {**widened, graph.input: INPUT_RANGE}


def widths_with_constants(
    graph: TfliteGraph, grids: SharedGrids, ranges: Mapping[str, Range]
) -> Mapping[str, float]:
    """Return the width of each range; of a sum with a constant at least that of the constant."""
    added = {sum_: narrowest_range(graph, name).width for name, sum_ in grids.constants.items()}
    return {name: max(found.width, added.get(name, 0.0)) for name, found in ranges.items()}


def count_values(
    folded: fx.GraphModule,
    partners: Mapping[str, str],
    grids: SharedGrids,
    ranges: Mapping[str, Range],
    pixels: Image,
) -> Mapping[str, Histogram]:
    """Return the histogram of each grid that a node of torch's graph lies on.

    Args:
        folded: as for `calibrate`.
        partners: as for `calibrate`.
        grids: of the graph.
        ranges: of each activation over the same images, from `calibrate`.
        pixels: (N, S, S, C) uint8.

    """
    bounds = {grids.grid[name]: ranges[name] for name in partners.values()}
    counts = {grid: np.zeros(BINS) for grid in bounds}

    def record(node: str, values: Tensor) -> None:
        if node in partners:
            grid = grids.grid[partners[node]]
            low, high = bounds[grid].low, bounds[grid].high
            if high > low:
                counts[grid] += torch.histc(values, BINS, low, high).numpy()

    for _, batch in batches(pixels):
        watch(folded, batch, record)
    return {
        grid: Histogram(range=bounds[grid], counts=found)
        for grid, found in counts.items()
        if found.any()
    }
