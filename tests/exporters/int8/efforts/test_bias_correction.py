import pytest
import torch
from residual_network import exact

from leansight.exporters.conversion.inference import predict
from leansight.exporters.int8.calibrated_network import CalibratedNetwork
from leansight.exporters.int8.efforts.bias_correction import correct_biases

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")


@pytest.mark.slow
def test_corrected_biases_bring_the_means_back(spoilt: CalibratedNetwork) -> None:
    simulation, wanted = spoilt.simulate(), exact(spoilt)
    before = torch.from_numpy(predict(simulation, spoilt.pixels))
    correct_biases(simulation, spoilt.floats.folded, spoilt.pixels)
    after = torch.from_numpy(predict(simulation, spoilt.pixels))
    bounds = spoilt.ranges[spoilt.graph.output]
    step = (bounds.high - bounds.low) / 255
    assert (after - wanted).mean(0).abs().max() < step
    assert (after - wanted).mean(0).abs().max() < (before - wanted).mean(0).abs().max()
