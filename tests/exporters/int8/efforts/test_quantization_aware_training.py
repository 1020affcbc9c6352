from dataclasses import replace

import pytest
import torch
from residual_network import exact, prepared

from leansight.exporters.int8.calibrated_network import CalibratedNetwork
from leansight.exporters.int8.efforts import quantization_aware_training as qat
from leansight.exporters.int8.efforts.quantization_aware_training import fine_tune
from leansight.exporters.int8.fake_quantization import logit_error
from leansight.exporters.int8.ranges import Range

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")


@pytest.mark.slow
def test_a_batch_is_learnt_from_in_parts_as_it_would_be_whole(
    found: CalibratedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = prepared(qat.BATCH, seed=5).pixels
    gradients = {}
    for part in (8, qat.BATCH):
        monkeypatch.setattr(qat, "PART", part)
        simulation, sizes = found.simulate(), set[int]()
        simulation.register_forward_pre_hook(lambda _, args, s=sizes: s.add(len(args[0])))
        fine_tune(simulation, found.exact, images, epochs=1)  # one step
        assert max(sizes) == part
        gradients[part] = [p.grad for p in simulation.parameters() if p.grad is not None]
    assert gradients[8]
    for parts, whole in zip(gradients[8], gradients[qat.BATCH], strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-5 * float(whole.abs().max()))


@pytest.mark.slow
def test_training_under_rounding_learns_to_be_the_float_network(found: CalibratedNetwork) -> None:
    narrow = {n: Range(low=0.85 * r.low, high=0.85 * r.high) for n, r in found.ranges.items()}
    simulation, wanted = replace(found, ranges=narrow).simulate(), exact(found)
    before = logit_error(simulation, found.pixels, wanted)
    fine_tune(simulation, found.exact, prepared(240, seed=5).pixels, epochs=40)
    assert logit_error(simulation, found.pixels, wanted) < 0.5 * before
    assert all(r.low <= 0 <= r.high for r in simulation.ranges.values())
