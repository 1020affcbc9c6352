from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
import pytest
import torch
from int8_files import Tflite
from numpy.typing import NDArray
from onnx import numpy_helper
from residual_network import PREPROCESSING, prepared
from torch import nn
from trained_networks import Converted, ignore

from leansight.exporters.conversion.convert import convert
from leansight.exporters.conversion.inference import predict
from leansight.exporters.errors import ConversionError
from leansight.exporters.int8.calibrated_network import calibrate_network, quantize
from leansight.exporters.int8.tensor_matching import pair_tensors
from leansight.exporters.tflite.graph import Operator, TfliteGraph
from leansight.runtime.interpreter import load_interpreter

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")


@pytest.mark.slow
def test_every_tflite_activation_but_padding_has_a_partner(converted: Converted) -> None:
    graph = TfliteGraph(converted.floats.tflite)
    model = onnx.load_from_string(converted.floats.onnx)
    partners = pair_tensors(model, graph, converted.calibration)
    tflite = Tflite(converted.floats.tflite)
    computed = {tflite.tensors[o].name.decode(): kind for kind, _, o in tflite.operators}
    alone = {name: kind for name, kind in computed.items() if name not in partners.values()}
    assert set(alone.values()) <= {"PAD"}
    assert partners["image"] == graph.input
    assert partners["logits"] == graph.output


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1.01, -1.0])
def test_other_weights_in_one_of_the_formats_are_found_out(plain: Converted, factor: float) -> None:
    model = onnx.load_from_string(plain.floats.onnx)
    weights = next(i for i in model.graph.initializer if len(i.dims) == 4)
    changed = numpy_helper.to_array(weights) * np.float32(factor)
    weights.CopyFrom(numpy_helper.from_array(changed, weights.name))
    floats = replace(plain.floats, onnx=model.SerializeToString())
    with pytest.raises(ConversionError, match="has no partner in TFLite"):
        quantize(floats, plain.calibration[:4], ignore)


@pytest.mark.slow
def test_a_network_that_is_too_sensitive_for_float32_is_told_so() -> None:
    """Random layers whose results are squashed: each moves the noise of the last one further."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 1), *(nn.Conv2d(8, 8, 1) for _ in range(60))]
    for layer in layers:
        nn.init.normal_(layer.weight, std=2)
    steps = [step for layer in layers for step in (layer, nn.Tanh())]
    network = nn.Sequential(*steps, nn.Conv2d(8, 8, 1), nn.Flatten())
    sensitive = convert(network, replace(PREPROCESSING, size=4))
    pixels = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1), np.uint8)
    with pytest.raises(ConversionError, match=r"is ill-conditioned: float32 alone moves .* by \d"):
        quantize(sensitive, pixels, ignore)


class Theirs:
    """Gives its tensors as a TFLite graph does: each is made of the image."""

    operators: tuple[Operator, ...] = ()

    def __init__(self, **made: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
        self._made = made
        self.activations = ("image", *made)

    def run(self, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        return {"image": image, **{name: make(image) for name, make in self._made.items()}}


def onnx_of(*nodes: tuple[str, str, str]) -> onnx.ModelProto:
    """Return a network of 2×2 pixels of nodes: operator, input, output."""
    made = [onnx.helper.make_node(kind, [given], [name]) for kind, given, name in nodes]
    value = partial(onnx.helper.make_tensor_value_info, elem_type=1, shape=[1, 1, 2, 2])
    graph = onnx.helper.make_graph(made, "twins", [value("image")], [value(nodes[0][2])])
    opset = [onnx.helper.make_opsetid("", 18)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)


PIXELS = np.random.default_rng(0).integers(0, 256, (2, 2, 2, 1), np.uint8)


def test_tensors_that_hold_the_same_numbers_are_paired_in_their_order() -> None:
    """Two that are zero for every image, as closed gates are."""
    model = onnx_of(
        ("Abs", "image", "bright"),
        ("Neg", "bright", "dark"),
        ("Relu", "dark", "first"),
        ("Neg", "first", "second"),
    )
    theirs = Theirs(a=np.abs, b=lambda image: -np.abs(image), c=np.zeros_like, d=np.zeros_like)
    assert pair_tensors(model, theirs, PIXELS) == {
        "image": "image",
        "bright": "a",
        "dark": "b",
        "first": "c",
        "second": "d",
    }


@pytest.mark.parametrize(
    ("noise", "other", "partner"),
    [(4e-3, 0.5, "a"), (4e-3, 0.02, None), (8e-3, 0.5, None), (5e-4, 2e-3, "a")],
)
def test_noise_of_a_deep_network_pairs_what_nothing_else_is_like(
    noise: float, other: float, partner: str | None
) -> None:
    theirs = Theirs(
        a=lambda image: np.abs(image) * (1 + noise), b=lambda image: np.abs(image) * (1 + other)
    )
    partners = pair_tensors(onnx_of(("Abs", "image", "bright")), theirs, PIXELS)
    assert partners.get("bright") == partner


def test_what_computes_is_paired_with_no_copy_of_what_it_takes() -> None:
    """A softmax divided by its sum of 1, turned in between: ConViT."""
    theirs = Theirs(a=np.abs, turned=np.abs, divided=np.abs)
    theirs.operators = (Operator(kind="TRANSPOSE", inputs=("a",), outputs=("turned",)),)
    model = onnx_of(("Abs", "image", "bright"), ("Abs", "bright", "quotient"))
    partners = pair_tensors(model, theirs, PIXELS)
    assert (partners["bright"], partners["quotient"]) == ("a", "divided")


def test_of_equal_copies_the_one_that_is_read_for_the_same_is_the_partner() -> None:
    """Two of a layer norm in MViTv2: one on its grid, one in float. Between, a step without one."""
    theirs = Theirs(
        a=np.abs, first=np.abs, second=np.abs, less=lambda image: -np.sin(np.abs(image))
    )
    theirs.operators = (
        Operator(kind="RESHAPE", inputs=("a",), outputs=("first",)),
        Operator(kind="RESHAPE", inputs=("a",), outputs=("second",)),
        Operator(kind="NEG", inputs=("second",), outputs=("less",)),
    )
    model = onnx_of(
        ("Abs", "image", "x"), ("Identity", "x", "copy"), ("Sin", "copy", "y"), ("Neg", "y", "z")
    )
    partners = pair_tensors(model, theirs, PIXELS)
    assert partners == {"image": "image", "x": "a", "copy": "second", "z": "less"}


def test_a_step_that_tflite_leaves_out_has_the_partner_of_what_it_takes() -> None:
    """The sum along an axis of one, where something before it holds the same numbers: MobileViT."""
    theirs = Theirs(a=np.abs, b=np.abs)
    model = onnx_of(("Abs", "image", "x"), ("Abs", "x", "y"), ("Abs", "y", "sum"))
    assert pair_tensors(model, theirs, PIXELS) == {"image": "image", "x": "a", "y": "b", "sum": "b"}


def test_what_is_nearly_another_tensor_is_not_that_tensor() -> None:
    """TResNet's leaky ReLU: 0.999 x is within the tolerance of x. Here the sine of little."""
    pixels = np.random.default_rng(0).integers(124, 133, (2, 2, 2, 1), np.uint8)
    model = onnx_of(("Abs", "image", "x"), ("Sin", "x", "nearly"))
    assert pair_tensors(model, Theirs(a=np.abs), pixels) == {"image": "image", "x": "a"}


@pytest.mark.parametrize(("ours", "kind"), [("Sigmoid", "LOGISTIC"), ("Tanh", "TANH")])
def test_a_function_that_ends_at_one_is_paired_by_what_it_takes(ours: str, kind: str) -> None:
    """Numbers that agree to a thousandth may be large; what the function gives then does not."""
    theirs = Theirs(large=np.abs, other=np.zeros_like, shut=np.zeros_like, gate=np.cos)
    shut = Operator(kind=kind, inputs=("other",), outputs=("shut",))
    gate = Operator(kind=kind, inputs=("large",), outputs=("gate",))
    model = onnx_of(("Abs", "image", "bright"), (ours, "bright", "open"))
    assert "open" not in pair_tensors(model, theirs, PIXELS)
    theirs.operators = (shut, gate)
    assert pair_tensors(model, theirs, PIXELS)["open"] == "gate"


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
