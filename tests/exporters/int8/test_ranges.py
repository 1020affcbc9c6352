from dataclasses import replace

import numpy as np
import pytest
import torch
from residual_network import PREPROCESSING, exact
from torch import nn
from trained_networks import ignore

from leansight.exporters.conversion.convert import convert
from leansight.exporters.int8.calibrated_network import CalibratedNetwork, calibrate_network
from leansight.exporters.int8.ranges import Range

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
