import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from residual_network import exact
from torch import Tensor, fx, nn
from torch.nn import functional

from leansight.exporters.conversion.folding import fold
from leansight.exporters.conversion.inference import predict
from leansight.exporters.conversion.torch_graph import ATEN
from leansight.exporters.int8.calibrated_network import CalibratedNetwork
from leansight.exporters.int8.efforts.bias_correction import correct_biases
from leansight.exporters.int8.efforts.weight_rounding import (
    input_columns,
    measure_covariances,
    round_by_covariance,
    round_by_inputs,
)
from leansight.exporters.int8.fake_quantization import round_weights

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")


def a_generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Tensor, Tensor, tuple[object, ...]]:
    """Draw inputs (N, C, H, W), weights, and what else a convolution is told."""
    small, groups = st.integers(1, 3), draw(st.sampled_from((1, 2, 4)))
    height, width = draw(small), draw(small)
    dilation = [draw(small), draw(small)]
    padding = draw(st.sampled_from(("same", "valid")) | st.lists(small, min_size=2, max_size=2))
    stride = [1, 1] if padding == "same" else [draw(small), draw(small)]
    torch.manual_seed(draw(st.integers(0, 99)))
    inputs = torch.randn(2, 4, draw(st.integers(7, 11)), draw(st.integers(7, 11)))
    weight = torch.randn(8, 4 // groups, height, width)
    return inputs, weight, (stride, padding, dilation, groups)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@settings(max_examples=80, deadline=None)
@given(convolutions())
def test_columns_times_weights_are_what_a_convolution_gives(
    drawn: tuple[Tensor, Tensor, tuple[object, ...]],
) -> None:
    inputs, weight, rest = drawn
    expected = functional.conv2d(inputs, weight, None, *rest)  # type: ignore[arg-type]
    kind = ATEN.conv2d.padding if isinstance(rest[1], str) else ATEN.conv2d.default
    graph = fx.Graph()
    given_by = [graph.placeholder(name) for name in "xw"]
    layer = graph.call_function(kind, (*given_by, None, *rest))
    columns = input_columns(layer, weight, inputs, a_generator())
    found = weight.reshape(len(columns), -1, columns.shape[1]) @ columns
    places = expected.transpose(0, 1).flatten(1)
    torch.testing.assert_close(found.reshape(8, -1).sort().values, places.sort().values)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.sampled_from((1, 3)), st.integers(1, 150))
def test_rounded_weights_are_on_their_steps_and_change_the_results_less(
    seed: int, groups: int, inputs: int
) -> None:
    torch.manual_seed(seed)
    weight = torch.randn(groups * 16, inputs)
    seen = torch.randn(groups, inputs, 8).clip(-2, 3) @ torch.randn(groups, 8, 400)
    seen += 0.1 * torch.randn(groups, inputs, 400) + 1  # alike, and not around zero
    centred = seen - seen.mean(2, keepdim=True)
    rounded = round_by_covariance(weight, centred @ centred.transpose(1, 2) / 400)
    step = weight.abs().amax(1, keepdim=True) / 127
    torch.testing.assert_close(rounded / step, (rounded / step).round(), rtol=0, atol=1e-3)
    largest = weight.abs() == weight.abs().amax(1, keepdim=True)
    torch.testing.assert_close(rounded[largest], weight[largest])
    torch.testing.assert_close(round_weights(rounded), rounded)  # as the files round

    def change(other: Tensor) -> float:
        rows = (other - weight).reshape(groups, 16, inputs)
        return float((rows @ centred).square().mean())

    nearest = change(round_weights(weight))
    assert change(rounded) <= nearest * (0.5 if inputs > 20 else 1.01)


def test_a_silent_input_is_rounded_to_the_nearest() -> None:
    weight = torch.randn(4, 9)
    rounded = round_by_covariance(weight, torch.zeros(1, 9, 9))
    torch.testing.assert_close(rounded, round_weights(weight))
    assert not round_by_covariance(torch.zeros(2, 9), torch.eye(9)[None]).any()


def test_covariances_are_those_of_what_dense_layers_see(found: CalibratedNetwork) -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 3)).eval()
    folded = fold(network, torch.zeros(1, 1, 24, 24))
    (covariance,) = measure_covariances(folded, found.pixels).values()
    means = (torch.from_numpy(found.pixels).float() - 128).div(128).mean((1, 2))[:, 0]
    torch.testing.assert_close(covariance.flatten(), means.var(correction=0)[None])


def test_one_gray_picture_tells_nothing_and_rounds_to_the_nearest(
    found: CalibratedNetwork,
) -> None:
    gray = np.full((1, 24, 24, 1), 131, np.uint8)
    weights = dict(found.floats.folded.named_parameters()) | dict(
        found.floats.folded.named_buffers()
    )
    for name, covariance in measure_covariances(found.floats.folded, gray).items():
        assert torch.isfinite(round_by_covariance(weights[name], covariance)).all()
    worst = torch.diag(torch.tensor([1.0, -2.0]))[None]  # of float32's rounding alone
    torch.testing.assert_close(round_by_covariance(torch.ones(1, 2), worst), torch.ones(1, 2))


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 10))
@settings(max_examples=30, deadline=None)
def test_covariances_do_not_depend_on_the_mean(mean: float, deviation: float) -> None:
    deviation = max(deviation, abs(mean) * 1e-3)
    torch.manual_seed(0)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1), np.uint8)
    head = nn.Conv2d(1, 1, 1)
    nn.init.constant_(head.weight, deviation)
    nn.init.constant_(head.bias, mean)
    network = nn.Sequential(head, nn.Flatten(), nn.Linear(16, 2)).eval()
    folded = fold(network, torch.zeros(1, 1, 4, 4))
    _, covariance = measure_covariances(folded, pixels).values()
    rows = deviation * (pixels.reshape(40, 16).astype(float) - 128) / 128
    expected = torch.from_numpy(np.cov(rows.T, bias=True)).float()[None]
    torch.testing.assert_close(covariance, expected, rtol=0.01, atol=0.01 * deviation**2)


@pytest.mark.slow
def test_weights_rounded_by_inputs_bring_the_logits_nearer(found: CalibratedNetwork) -> None:
    wanted, told = exact(found), []

    def error_of(*, by_inputs: bool) -> float:
        simulation = found.simulate()
        for grid in simulation.grids.values():
            grid.exact = True
        if by_inputs:
            folded = found.floats.folded
            round_by_inputs(simulation, folded, found.pixels, lambda n, of: told.append((n, of)))
        correct_biases(simulation, found.floats.folded, found.pixels)
        given = torch.from_numpy(predict(simulation, found.pixels))
        return float(functional.mse_loss(given, wanted))

    assert error_of(by_inputs=True) < 0.6 * error_of(by_inputs=False)
    assert told[-1] == (5, 5)
