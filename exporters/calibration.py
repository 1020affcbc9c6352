"""The range of every activation, found once, on training images, for both formats."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from leansight.exporters.tflite_graph import TfliteGraph
from leansight.runtime.preprocessing import PIXEL_SCALE, PIXEL_ZERO, Image


@dataclass(frozen=True, kw_only=True)
class Range:
    """The smallest and the largest value that a tensor took, zero included."""

    low: float
    high: float


# Every pixel value is possible, whatever the calibration images show; with these bounds the
# scale is 1/128 and the zero point 0 exactly: the int8 input is pixel - 128.
INPUT_RANGE = Range(low=(0 - PIXEL_ZERO) * PIXEL_SCALE, high=(255 - PIXEL_ZERO) * PIXEL_SCALE)
# What gives the numbers that it takes, or values between them.
MOVING = frozenset(
    {"CONCATENATION", "MAX_POOL_2D", "AVERAGE_POOL_2D", "PAD", "PADV2", "RESHAPE", "TRANSPOSE"}
)


def calibrate(
    graph: TfliteGraph, pixels: Image, progress: Callable[[int, int], None]
) -> Mapping[str, Range]:
    """Return the range of each activation of a float graph over images (N, S, S, C) uint8.

    What is concatenated or pooled shares its range with the result, so that it lies on one grid.
    `progress` is told how many of how many images are done.

    Raises:
        ValueError: there is no image.

    """
    if not len(pixels):
        raise ValueError("calibration needs at least one image")
    low = dict.fromkeys(graph.activations, 0.0)
    high = dict.fromkeys(graph.activations, 0.0)
    for done, image in enumerate(pixels, start=1):
        for name, values in graph.run(network_input(image)).items():
            low[name] = min(low[name], float(values.min()))
            high[name] = max(high[name], float(values.max()))
        progress(done, len(pixels))
    ranges = {name: Range(low=low[name], high=high[name]) for name in graph.activations}
    for op in graph.operators:
        if op.kind == "PADV2":  # with minus infinity, before a maximum
            ranges[op.outputs[0]] = ranges[op.inputs[0]]
    return {**_share(graph, ranges), graph.input: INPUT_RANGE}


def _share(graph: TfliteGraph, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Give tensors between which numbers are only moved one range, that of all of them.

    Else they would be rounded again from grid to grid before each concatenation, which TFLite's
    runtimes and ONNX Runtime do not do alike; in DenseNet all layers of a block meet in one.
    """
    groups = {name: {name} for name in ranges}
    for op in graph.operators:
        if op.kind in MOVING:
            moved = [n for n in (*op.inputs, *op.outputs) if n in ranges and n != graph.input]
            group = set().union(*(groups[name] for name in moved))
            groups |= dict.fromkeys(group, group)
    return {
        name: Range(low=min(ranges[n].low for n in group), high=max(ranges[n].high for n in group))
        for name, group in groups.items()
    }


def network_input(image: Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Turn one image (S, S, C) uint8 into a float graph's input (1, S, S, C) float32."""
    return (image[None].astype(np.float32) - PIXEL_ZERO) * np.float32(PIXEL_SCALE)
