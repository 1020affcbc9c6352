"""Rounding ties: no entry of a function's table may lie where two runtimes round apart."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from leansight.exporters.conversion.convert import convert
from leansight.exporters.int8.ranges import Range
from leansight.exporters.int8.rounding_ties import avoid_ties
from leansight.exporters.tflite.graph import TfliteGraph
from leansight.exporters.tflite.shared_grids import SharedGrids
from leansight.runtime.preprocessing import Preprocessing

TIED = (0.00735046248883009, 0.0037945988588035107)  # steps of a Swin-T, whose formats parted


@pytest.fixture(scope="module")
def graph() -> TfliteGraph:
    layers = (nn.Conv2d(3, 4, 3), nn.GELU(), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1))
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 2)).eval()
    torch.manual_seed(0)
    return TfliteGraph(convert(network, Preprocessing(size=16)).tflite)


def nearest_tie(taken: float, made: float) -> float:
    """Return how near GELU comes to the middle of two levels, in levels."""
    apart = []
    for step in range(-255, 256):
        x = step * taken
        level = x * (1 + math.erf(x / math.sqrt(2))) / 2 / made
        if abs(level) <= 255:
            apart.append(abs(level - math.floor(level) - 0.5))
    return min(apart)


step_sizes = st.floats(1e-4, 1.0)


@settings(max_examples=60, deadline=None)
@given(steps=st.just(TIED) | st.tuples(step_sizes, step_sizes))
def test_no_entry_of_a_gelu_is_near_a_tie(graph: TfliteGraph, steps: tuple[float, float]) -> None:
    (gelu,) = [op for op in graph.operators if op.kind == "GELU"]
    (taken,), (made,) = gelu.inputs, gelu.outputs
    ranges = {name: Range(low=-1, high=1) for name in graph.activations}
    ranges |= {taken: Range(low=-100 * steps[0], high=155 * steps[0])}
    ranges |= {made: Range(low=-45 * steps[1], high=210 * steps[1])}
    chosen = avoid_ties(graph, SharedGrids.of(graph), ranges)
    assert nearest_tie(chosen[taken].width / 255, chosen[made].width / 255) > 1e-4
    assert all(0.9999 < chosen[n].width / ranges[n].width < 1.05 for n in (taken, made))
