from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from int8_files import Tflite
from torch import Tensor, nn
from trained_networks import Converted, Pixels, convert_and_quantize, ignore, to_tensor

from leansight.exporters.conversion.any_number import for_any_number
from leansight.exporters.int8.calibration import calibrate
from leansight.exporters.int8.ranges import Range
from leansight.exporters.int8.tensor_matching import pair_nodes
from leansight.exporters.tflite.graph import TfliteGraph
from leansight.exporters.tflite.shared_grids import SharedGrids
from leansight.runtime.interpreter import load_interpreter
from leansight.runtime.preprocessing import Preprocessing
from leansight.sdk.models.networks import ResNetCustom

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")


def ranges_of(
    converted: Converted, pixels: Pixels, progress: Callable[[int, int], None] = ignore
) -> Mapping[str, Range]:
    floats, graph = converted.floats, TfliteGraph(converted.floats.tflite)
    partners = pair_nodes(floats.folded, graph, pixels)
    return calibrate(
        for_any_number(floats.folded), graph, SharedGrids.of(graph), partners, pixels, progress
    )


@pytest.mark.slow
def test_ranges_are_those_that_torch_sees(plain: Converted) -> None:
    network = plain.network
    assert isinstance(network, ResNetCustom)
    graph = TfliteGraph(plain.floats.tflite)
    told: list[tuple[int, int]] = []
    ranges = ranges_of(plain, plain.calibration, lambda n, of: told.append((n, of)))
    seen: dict[str, Tensor] = {}
    network.stem[2].register_forward_hook(lambda _, __, out: seen.update(stem=out.clone()))
    with torch.inference_mode():
        seen["logits"] = network(to_tensor(plain.calibration))
    tflite = Tflite(plain.floats.tflite)
    (first,) = (o for _, inputs, o in tflite.operators if tflite.graph.inputs[0] in inputs)
    names = {"stem": tflite.tensors[first].name.decode(), "logits": graph.output}
    for what, name in names.items():
        assert ranges[name].low == pytest.approx(min(0.0, seen[what].min().item()), abs=1e-4)
        assert ranges[name].high == pytest.approx(max(0.0, seen[what].max().item()), abs=1e-4)
    assert told == [(n, 60) for n in (16, 32, 48, 60)]


@pytest.mark.slow
def test_ranges_hold_zero_and_every_pixel(converted: Converted) -> None:
    graph = TfliteGraph(converted.floats.tflite)
    ranges = ranges_of(converted, converted.calibration[:2])
    assert set(ranges) == set(graph.activations)
    assert all(r.low <= 0 <= r.high for r in ranges.values())
    assert ranges[graph.input] == Range(low=-1, high=127 / 128)


@pytest.mark.slow
def test_calibration_needs_an_image(plain: Converted) -> None:
    graph = TfliteGraph(plain.floats.tflite)
    with pytest.raises(ValueError, match="at least one image"):
        calibrate(plain.floats.folded, graph, SharedGrids.of(graph), {}, plain.calibration[:0])


class Silent(nn.Module):
    """Nothing passes its last ReLU, on any image."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
        self.head = nn.Linear(8, 4)
        nn.init.constant_(self.body[2].bias, -100.0)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x).relu().mean((2, 3)))
        return logits


@pytest.mark.slow
def test_a_layer_behind_which_nothing_is_seen_runs_in_both_formats() -> None:
    network = Silent().eval()
    made = convert_and_quantize(network, Preprocessing(size=32))
    step = Tflite(made.int8["tflite"])
    scales = [step.scale(result) for kind, _, result in step.operators if kind == "CONV_2D"]
    assert min(float(scale.min()) for scale in scales) > 1e-6
    logits = [
        load_interpreter(model, kind)(made.calibration[:1]) for kind, model in made.int8.items()
    ]
    assert np.array_equal(*logits)
    exact = network.head.bias.detach().numpy()
    np.testing.assert_allclose(logits[0], exact, atol=0.02 * np.ptp(exact))
