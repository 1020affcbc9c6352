"""The int8 network in torch, what makes it better, and the files that come of it."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from int8_files import TYPES, Tflite
from numpy.typing import NDArray
from shapes import LABELS, photos
from torch import Tensor, fx, nn
from torch.nn import functional

from leansight.exporters.conversion.convert import convert, convert_folded
from leansight.exporters.conversion.inference import batches, predict
from leansight.exporters.conversion.torch_graph import for_any_number, watch
from leansight.exporters.export import ExportImages, export_network
from leansight.exporters.int8.bias_correction import correct_biases
from leansight.exporters.int8.calibrated_network import CalibratedNetwork, calibrate_network
from leansight.exporters.int8.effort import attempts
from leansight.exporters.int8.equalisation import equalise
from leansight.exporters.int8.fake_quantization import Grid, logit_error, round_weights
from leansight.exporters.int8.quantization_aware_training import fine_tune
from leansight.exporters.int8.range_search import choose_ranges
from leansight.exporters.int8.ranges import Histogram, Range
from leansight.exporters.options import EFFORTS, ExportOptions, ExportRefusedError, Promise
from leansight.runtime.bundle import Bundle
from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.interpreter import Format, load_interpreter
from leansight.runtime.preprocessing import Preprocessing

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")

PREPROCESSING = Preprocessing(size=24, colour="gray")
TOO_LARGE = 4000.0  # what one channel is multiplied by, which the next layer undoes
numbers = st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=60)


@dataclass(frozen=True)
class Images:
    pixels: NDArray[np.uint8]
    classes: NDArray[np.int64]


def prepared(count: int, seed: int) -> Images:
    pictures, classes = photos(count, seed)
    return Images(np.concatenate([PREPROCESSING(p) for p in pictures]), classes)


def ignore(*_: object) -> None:
    pass


class Residual(nn.Module):
    """Convolutions, one of each channel alone, a shortcut, a maximum."""

    def __init__(self, activation: type[nn.ReLU | nn.ReLU6] = nn.ReLU) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), activation())
        self.wide = nn.Sequential(nn.Conv2d(8, 16, 1), nn.BatchNorm2d(16), activation(inplace=True))
        self.alone = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, groups=16), activation())
        self.narrow = nn.Conv2d(16, 8, 1)
        self.head = nn.Linear(8, len(LABELS))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(self.stem(x), 2)
        x = functional.relu(x + self.narrow(self.alone(self.wide(x))))
        return self.head(x.mean((2, 3)))


def teach(network: nn.Module) -> nn.Module:
    images = prepared(300, seed=0)
    pixels = torch.from_numpy(images.pixels).permute(0, 3, 1, 2).float().sub(128).div(128)
    classes = torch.from_numpy(images.classes)
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for batch in torch.arange(300).repeat(12).split(30):
        optimiser.zero_grad()
        functional.cross_entropy(network(pixels[batch]), classes[batch]).backward()
        optimiser.step()
    return network.eval()


@torch.no_grad()
def spoil(network: Residual) -> None:
    """Let one channel be so large that the others have few levels; in float nothing changes."""
    norm = network.wide[1]
    norm.weight[3] *= TOO_LARGE
    norm.bias[3] *= TOO_LARGE
    network.alone[0].weight[3] /= TOO_LARGE


@pytest.fixture(scope="module")
def network() -> Residual:
    torch.manual_seed(0)
    taught = teach(Residual())
    assert isinstance(taught, Residual)
    return taught


@pytest.fixture(scope="module")
def found(network: Residual) -> CalibratedNetwork:
    """The network, calibrated."""
    return calibrate_network(convert(network, PREPROCESSING), prepared(60, seed=1).pixels, ignore)


@pytest.fixture(scope="module")
def spoilt(network: Residual) -> CalibratedNetwork:
    """The same network with one channel that is too large."""
    other = copy.deepcopy(network)
    spoil(other)
    return calibrate_network(convert(other, PREPROCESSING), prepared(60, seed=1).pixels, ignore)


def exact(found: CalibratedNetwork) -> Tensor:
    return torch.from_numpy(predict(for_any_number(found.floats.folded), found.pixels))


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


# Histograms


def histogram(values: NDArray[np.float32]) -> Histogram:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    counts = np.histogram(values, 2048, (low, high))[0]
    return Histogram(range=Range(low=low, high=high), counts=counts.astype(float))


@given(numbers.filter(lambda n: max(n) - min(n) > 1e-3))
def test_candidates_lie_in_the_full_range_and_hold_zero(values: list[float]) -> None:
    found = histogram(np.array(values, np.float32))
    for candidate in found.candidates():
        assert found.range.low <= candidate.low <= 0 <= candidate.high <= found.range.high
        assert found.squared_error(candidate) < found.squared_error(found.range)


def test_the_squared_error_is_that_of_rounding() -> None:
    values = np.random.default_rng(0).normal(0.5, 2, 20_000).astype(np.float32)
    chosen = Range(low=-3, high=4)
    scale, zero = 7 / 255, round(3 / (7 / 255))
    rounded = torch.fake_quantize_per_tensor_affine(torch.from_numpy(values), scale, zero, 0, 255)
    expected = ((rounded.numpy() - values) ** 2).mean()
    assert histogram(values).squared_error(chosen) == pytest.approx(expected, rel=0.02)


def test_rare_values_are_cut_off_where_that_rounds_the_others_better() -> None:
    values = np.random.default_rng(0).normal(0, 1, 50_000).astype(np.float32)
    found = histogram(np.append(values, np.float32(90)))
    best = found.of_least_error()
    assert best.high < 90
    assert best in found.candidates()
    assert found.squared_error(best) < found.squared_error(found.range)
    tails = found.without_tails(1e-3)
    assert np.mean((values < tails.low) | (values > tails.high)) == pytest.approx(2e-3, abs=2e-3)


# Rounding


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


# The simulation


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


# What makes it better


@pytest.mark.slow
def test_equalising_changes_nothing_in_float_and_much_in_int8(spoilt: CalibratedNetwork) -> None:
    folded = copy.deepcopy(spoilt.floats.folded)
    assert equalise(folded, spoilt.pixels) == 2
    after = calibrate_network(convert_folded(folded, PREPROCESSING), spoilt.pixels, ignore)
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
    even = calibrate_network(convert_folded(folded, PREPROCESSING), found.pixels, ignore)
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


@pytest.mark.slow
def test_chosen_ranges_are_no_worse_than_full_ones(spoilt: CalibratedNetwork) -> None:
    simulation, wanted = spoilt.simulate(), exact(spoilt)
    before = logit_error(simulation, spoilt.pixels, wanted)
    high = Range(low=-5.0, high=5.0)
    histograms = {
        name: Histogram(range=grid.range if grid.range.high > 0 else high, counts=np.ones(2048))
        for name, grid in simulation.grids.items()
    }
    told: list[tuple[int, int]] = []
    left = choose_ranges(
        simulation, histograms, spoilt.pixels, wanted, lambda n, of: told.append((n, of))
    )
    assert left <= before
    assert left == pytest.approx(logit_error(simulation, spoilt.pixels, wanted))
    assert told[-1] == (len(simulation.grids),) * 2


@pytest.mark.slow
def test_training_under_rounding_learns_to_be_the_float_network(found: CalibratedNetwork) -> None:
    narrow = {n: Range(low=0.85 * r.low, high=0.85 * r.high) for n, r in found.ranges.items()}
    simulation, wanted = replace(found, ranges=narrow).simulate(), exact(found)
    before = logit_error(simulation, found.pixels, wanted)
    fine_tune(simulation, found.exact, prepared(240, seed=5).pixels, epochs=40)
    assert logit_error(simulation, found.pixels, wanted) < 0.5 * before
    assert all(r.low <= 0 <= r.high for r in simulation.ranges.values())


# Files


@pytest.mark.slow
def test_a_network_whose_equal_constants_became_different_is_the_same_network() -> None:
    """The converter shares equal constants, and counts them in the names of what is computed."""
    torch.manual_seed(0)
    hard = (nn.Conv2d(1, 8, 3, 2), nn.Hardswish(), nn.Conv2d(8, 8, 3), nn.Hardswish())
    network = nn.Sequential(*hard, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    found = calibrate_network(convert(network, PREPROCESSING), prepared(60, seed=1).pixels, ignore)
    simulation = found.simulate()
    with torch.no_grad():
        for parameter in simulation.network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    learnt = found.with_weights(simulation, PREPROCESSING, ignore)
    assert learnt.graph.activations != found.graph.activations
    assert [*learnt.ranges] == learnt.graph.activations
    assert [*learnt.ranges.values()] == [*found.ranges.values()]
    pixels, expected = learnt.evaluation_set
    simulated = predict(learnt.simulate(), pixels)
    files = [load_interpreter(file, kind) for kind, file in learnt.write().items()]
    logits = [np.concatenate([file(image[None]) for image in pixels]) for file in files]
    np.testing.assert_array_equal(*(values.reshape(-1, 3) for values in logits))
    step = learnt.ranges[learnt.graph.output].width / 255
    assert np.abs(logits[0].reshape(-1, 3) - simulated).max() < 1.5 * step
    assert np.abs(simulated - expected.numpy()).max() > step  # it has other weights now


@pytest.fixture(scope="module")
def tried(spoilt: CalibratedNetwork) -> dict[str, list[dict[Format, bytes]]]:
    made: dict[str, list[dict[Format, bytes]]] = {}
    training = prepared(120, seed=5).pixels
    for effort, files in attempts(
        spoilt.floats, PREPROCESSING, spoilt.pixels, lambda: training, ExportOptions(), ignore
    ):
        made.setdefault(effort, []).append(dict(files))
    return made


@pytest.mark.slow
def test_every_effort_gives_one_network_in_two_formats(
    tried: dict[str, list[dict[Format, bytes]]], spoilt: CalibratedNetwork
) -> None:
    # Training under rounding is left out where it makes nothing better.
    assert list(tried) in ([*EFFORTS], [e for e in EFFORTS if e != "training"])
    images = prepared(60, seed=2).pixels
    wanted = predict(for_any_number(spoilt.floats.folded), images)
    errors = {}
    for effort, several in tried.items():
        for files in several:
            logits = {
                kind: np.stack([load_interpreter(f, kind)(i[None]) for i in images])
                for kind, f in files.items()
            }
            spread = np.ptp(wanted)
            assert np.abs(logits["tflite"] - logits["onnx"]).max() < 0.03 * spread
            errors[effort] = float(((logits["tflite"] - wanted) ** 2).mean())
    assert errors["ranges"] < 0.3 * errors["calibration"]
    assert errors["float layers"] <= 1.1 * errors.get("training", errors["ranges"])


@pytest.mark.slow
def test_for_a_pi_5_activations_are_signed_and_the_network_is_the_same(
    found: CalibratedNetwork,
) -> None:
    unsigned, signed = found.write(), replace(found, target="pi5").write()
    assert unsigned["tflite"] == signed["tflite"]
    kinds = [activation_types(files["onnx"]) for files in (unsigned, signed)]
    assert kinds == [{"UINT8"}, {"INT8"}]
    images = prepared(60, seed=2).pixels
    logits = [
        np.stack([load_interpreter(files["onnx"], "onnx")(i[None]) for i in images])
        for files in (unsigned, signed)
    ]
    bounds = found.ranges[found.graph.output]
    assert np.abs(logits[0] - logits[1]).max() <= (bounds.high - bounds.low) / 255 + 1e-6


def activation_types(file: bytes) -> set[str]:
    graph = onnx.load_from_string(file).graph
    types = {i.name: onnx.TensorProto.DataType.Name(i.data_type) for i in graph.initializer}
    return {types[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"}


@pytest.mark.slow
def test_only_what_touches_a_sensitive_activation_stays_in_float(
    tried: dict[str, list[dict[Format, bytes]]],
) -> None:
    shares = []
    for files in tried["float layers"]:
        tflite = Tflite(files["tflite"])
        kinds = [kind for kind, _, _ in tflite.operators]
        assert {"QUANTIZE", "DEQUANTIZE"} & set(kinds)
        floats = sum(
            TYPES[tflite.tensors[output].type] == "FLOAT32" for _, _, output in tflite.operators
        )
        shares.append(floats)
    assert shares == sorted(shares)
    assert shares[0] >= 1


@pytest.mark.slow
def test_more_effort_keeps_a_promise_that_plain_calibration_breaks(
    network: Residual, tmp_path: Path
) -> None:
    other = copy.deepcopy(network)
    spoil(other)
    draft = Bundle(
        path=tmp_path / "shapes.bundle",
        name="shapes",
        task="classification",
        labels=LABELS,
        preprocessing=PREPROCESSING,
        decision=DecisionPolicy(threshold=0.5),
        precision="int8",
        provenance={},
    )
    images = ExportImages(calibration=prepared(60, seed=1).pixels, validation=prepared(200, seed=3))
    with pytest.raises(ExportRefusedError, match=r"Tried: calibration\. Nothing was written"):
        export_network(
            other,
            draft,
            images,
            ExportOptions(promise=Promise(max_drop=1), effort="calibration"),
            progress=ignore,
        )
    assert not draft.path.exists()
    report = export_network(
        other, draft, images, ExportOptions(promise=Promise(max_drop=1)), progress=ignore
    )["validation"]
    assert report.effort == "ranges"
    assert list(report.refusals) == ["calibration"]
    assert Bundle.load(draft.path).metrics["validation"]["effort"] == "ranges"
