import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from residual_network import PREPROCESSING, exact
from torch import nn
from trained_networks import ignore

from leansight.exporters.conversion.convert import convert
from leansight.exporters.int8.calibrated_network import CalibratedNetwork, calibrate_network
from leansight.exporters.int8.ranges import Range
from leansight.exporters.int8.rounding_ties import avoid_ties
from leansight.exporters.tflite.graph import TfliteGraph
from leansight.exporters.tflite.shared_grids import SharedGrids
from leansight.runtime.preprocessing import Preprocessing

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")


@pytest.mark.slow
def test_what_is_measured_is_of_all_images(found: CalibratedNetwork) -> None:
    pixels, logits = found.evaluation_set
    assert len(pixels) == 32
    np.testing.assert_array_equal(pixels[[0, -1]], found.pixels[[0, -1]])
    torch.testing.assert_close(logits[-1], exact(found)[-1], rtol=1e-4, atol=1e-4)
    held_back, logits = found.held_out_set
    assert len(held_back) == len(logits) == 60 - 32
    assert not {p.tobytes() for p in pixels} & {p.tobytes() for p in held_back}
    few = replace(found, pixels=found.pixels[:32])
    np.testing.assert_array_equal(few.held_out_set[0], few.evaluation_set[0])


def test_what_an_activation_takes_is_not_on_its_grid() -> None:
    """Even where the images by which tensors are paired show no difference between the two."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(1, 8, 3, 2, 1, bias=False)
    nn.init.dirac_(convolution.weight)  # the picture as it comes: from -1 to 1
    network = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(8 * 12**2, 3))
    pixels = np.full((8, 24, 24, 1), 255, np.uint8)
    pixels[4:] = 0
    found = calibrate_network(convert(network, PREPROCESSING), pixels, ignore)
    layer = next(op for op in found.graph.operators if "CONV_2D" in op.kind)
    assert found.ranges[layer.outputs[0]] == Range(low=0.0, high=127 / 128)


TIED = (0.00735046248883009, 0.0037945988588035107)  # steps of a Swin-T, whose formats parted


@pytest.fixture(scope="module")
def with_gelu() -> TfliteGraph:
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
def test_no_entry_of_a_gelu_is_near_a_tie(
    with_gelu: TfliteGraph, steps: tuple[float, float]
) -> None:
    (gelu,) = [op for op in with_gelu.operators if op.kind == "GELU"]
    (taken,), (made,) = gelu.inputs, gelu.outputs
    ranges = {name: Range(low=-1, high=1) for name in with_gelu.activations}
    ranges |= {taken: Range(low=-100 * steps[0], high=155 * steps[0])}
    ranges |= {made: Range(low=-45 * steps[1], high=210 * steps[1])}
    chosen = avoid_ties(with_gelu, SharedGrids.of(with_gelu), ranges)
    assert nearest_tie(chosen[taken].width / 255, chosen[made].width / 255) > 1e-4
    assert all(0.9999 < chosen[n].width / ranges[n].width < 1.05 for n in (taken, made))
