import copy
from dataclasses import replace

import pytest
import torch
from residual_network import PREPROCESSING, Residual, exact, prepared, teach
from torch import Tensor, fx, nn
from trained_networks import ignore

from leansight.exporters.conversion.any_number import for_any_number
from leansight.exporters.conversion.convert import convert
from leansight.exporters.conversion.inference import batches
from leansight.exporters.conversion.torch_graph import watch
from leansight.exporters.int8.calibrated_network import CalibratedNetwork, calibrate_network
from leansight.exporters.int8.calibration import calibrate
from leansight.exporters.int8.efforts.equalisation import equalise
from leansight.exporters.int8.fake_quantization import logit_error

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")


def with_network(found: CalibratedNetwork, folded: fx.GraphModule) -> CalibratedNetwork:
    """Calibrate a network of the same layers with other weights; its files stay the old ones."""
    free = for_any_number(folded)
    ranges = calibrate(free, found.graph, found.grids, found.nodes, found.pixels)
    return replace(found, floats=replace(found.floats, folded=folded), ranges=ranges)


@pytest.mark.slow
def test_equalising_changes_nothing_in_float_and_much_in_int8(spoilt: CalibratedNetwork) -> None:
    folded = copy.deepcopy(spoilt.floats.folded)
    assert equalise(folded, spoilt.pixels) == 2
    after = with_network(spoilt, folded)
    torch.testing.assert_close(exact(after), exact(spoilt), rtol=1e-3, atol=1e-3)
    errors = [
        logit_error(tried.simulate(), tried.pixels, exact(spoilt)) for tried in (spoilt, after)
    ]
    assert errors[1] < 0.2 * errors[0]


@pytest.mark.slow
def test_equalising_lets_relu6_cut_off_what_it_did() -> None:
    """One channel reaches 6 and one has hardly a level; both of them lead to the logits."""
    torch.manual_seed(0)
    network = teach(Residual(nn.ReLU6))
    norm, after = network.wide[1], network.alone[0].weight
    with torch.no_grad():
        norm.weight[3] /= 1000
        norm.bias[3] /= 1000
        after[3] *= 1000
        norm.bias[5] += 7
        network.narrow.weight[:, 5] += 0.1
    found = calibrate_network(convert(network, PREPROCESSING), prepared(60, seed=1).pixels, ignore)
    folded = copy.deepcopy(found.floats.folded)
    assert equalise(folded, found.pixels) == 2
    even = with_network(found, folded)
    torch.testing.assert_close(exact(even), exact(found), rtol=1e-3, atol=1e-3)
    errors = [logit_error(tried.simulate(), tried.pixels, exact(found)) for tried in (found, even)]
    assert errors[1] < 0.5 * errors[0]
    before, now = (reached(tried.floats.folded) for tried in (found, even))
    assert before[5] == now[5] == 6.0
    assert 10 * before[3] < now[3] <= 6.0


def reached(folded: fx.GraphModule) -> Tensor:
    """Return the largest value of each of the 16 channels that ReLU6 gives first."""
    largest: list[Tensor] = []

    def seen(name: str, values: Tensor) -> None:
        if name.startswith("hardtanh") and values.shape[1] == 16:
            largest.append(values.amax((0, 2, 3)))

    ((_, images),) = batches(prepared(60, seed=1).pixels, 60)
    watch(for_any_number(folded), images, seen)
    return largest[0]
