import copy
from operator import attrgetter

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from residual_network import exact, numbers, prepared

from leansight.exporters.conversion.any_number import for_any_number
from leansight.exporters.conversion.inference import predict
from leansight.exporters.int8.calibrated_network import CalibratedNetwork
from leansight.exporters.int8.fake_quantization import Grid, round_weights
from leansight.exporters.int8.ranges import Range
from leansight.runtime.interpreter import load_interpreter

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")


learnable_rounding = attrgetter("_fake_quantize_learnable_per_tensor_affine")(torch)


@given(numbers, st.floats(-20, 0), st.floats(0.01, 20))
def test_a_grid_rounds_as_torch_does(values: list[float], low: float, high: float) -> None:
    x, scale = torch.tensor(values), (high - low) / 255
    expected = torch.fake_quantize_per_tensor_affine(x, scale, round(-low / scale), 0, 255)
    # Where a value lies in the middle of two levels either is right.
    torch.testing.assert_close(Grid(Range(low=low, high=high))(x), expected, atol=scale, rtol=1e-4)
    inside = (x / scale - (x / scale).round()).abs() < 0.49
    torch.testing.assert_close(
        Grid(Range(low=low, high=high))(x)[inside], expected[inside], atol=1e-4, rtol=1e-4
    )


def test_weights_are_rounded_channel_by_channel_as_torch_does() -> None:
    weights = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    weights[2] = 0
    scale = weights.abs().amax((1, 2, 3)).clamp(min=1e-20) / 127
    zero = torch.zeros(5, dtype=torch.int32)
    expected = torch.fake_quantize_per_channel_affine(weights, scale, zero, 0, -127, 127)
    torch.testing.assert_close(round_weights(weights), expected)


def test_rounding_lets_the_gradient_through_and_teaches_the_bounds() -> None:
    grid = Grid(Range(low=0, high=1))
    x = torch.tensor([0.3, 0.8, 3.0], requires_grad=True)
    torch.autograd.backward(((grid(x) - x.detach()) ** 2).sum())
    assert x.grad is not None
    assert x.grad[2] == 0  # beyond the bound
    assert grid.width.grad is not None
    assert grid.width.grad < 0  # the upper bound should be higher


@given(numbers, st.floats(-20, 0), st.floats(0.01, 20))
def test_gradients_are_those_of_torchs_learnable_rounding(
    values: list[float], low: float, high: float
) -> None:
    grid = Grid(Range(low=low, high=high))
    scale = ((high - low) / 255 * torch.ones(1)).requires_grad_()
    zero = torch.tensor([255.0 * grid.zero.item()]).round().requires_grad_()
    steps = torch.tensor(values) / scale.detach()
    kept = (steps - steps.round()).abs() < 0.49  # in the middle either level is right
    x = torch.tensor(values)[kept]
    assume(len(x))  # of nothing torch gives the scale for its gradient
    weights = torch.linspace(-1, 2, len(x))
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    torch.autograd.backward((grid(ours) * weights).sum())
    rounded = learnable_rounding(theirs, scale, zero, 0, 255, 1.0)
    torch.autograd.backward((rounded * weights).sum())
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert grid.width.grad is not None
    assert scale.grad is not None
    torch.testing.assert_close(255 * grid.width.grad, scale.grad[0], atol=0.05, rtol=1e-3)
    if 0 < grid.zero.item() < 1:
        assert grid.zero.grad is not None
        assert zero.grad is not None
        torch.testing.assert_close(grid.zero.grad / 255, zero.grad[0], atol=1e-3, rtol=1e-3)


def test_a_grid_keeps_one_tensor_of_the_activations_size_for_the_gradient() -> None:
    kept: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    x = torch.rand(4, 16, 16, 16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        Grid(Range(low=0, high=1))(x)
    assert sum(kept) < 1.1 * x.numel()


@pytest.mark.slow
def test_the_simulation_computes_what_the_file_computes(found: CalibratedNetwork) -> None:
    images = prepared(60, seed=2).pixels
    interpreter = load_interpreter(found.write()["tflite"], "tflite")
    file = np.stack([interpreter(image[None]) for image in images])
    simulated = predict(found.simulate(), images)
    bounds = found.ranges[found.graph.output]
    step = (bounds.high - bounds.low) / 255
    assert np.abs(simulated - file).max() <= 3 * step
    assert np.abs(simulated - file).mean() <= step
    rounding = np.abs(predict(for_any_number(found.floats.folded), images) - file).mean()
    assert np.abs(simulated - file).mean() < rounding


@pytest.mark.slow
def test_the_simulation_leaves_the_network_as_it_is(found: CalibratedNetwork) -> None:
    before, simulation = exact(found), found.simulate()
    with torch.no_grad():
        for parameter in simulation.parameters():
            parameter.add_(1)
    torch.testing.assert_close(exact(found), before, rtol=0, atol=0)
    folded = copy.deepcopy(found.floats.folded)
    simulation.write_weights(folded)
    changed = torch.from_numpy(predict(for_any_number(folded), found.pixels))
    assert (changed - before).abs().max() > 0.1
