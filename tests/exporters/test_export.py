"""From a network to a bundle; the files are opened with `int8_files`, not leansight's readers."""

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter as LiteRt
from int8_files import TYPES, Onnx, Tflite, key, optimised
from numpy.typing import NDArray
from onnx import numpy_helper
from shapes import LABELS, photos
from torch import Tensor, nn

from leansight.exporters import export as export_module
from leansight.exporters.conversion.convert import FloatGraphs, convert
from leansight.exporters.conversion.torch_graph import for_any_number
from leansight.exporters.errors import ConversionError
from leansight.exporters.export import ExportImages, export_network
from leansight.exporters.int8.calibrated_network import quantize
from leansight.exporters.int8.calibration import calibrate
from leansight.exporters.int8.ranges import Range
from leansight.exporters.int8.shared_grids import SharedGrids
from leansight.exporters.int8.tensor_matching import pair_nodes, pair_tensors
from leansight.exporters.options import ExportOptions, ExportRefusedError, Promise
from leansight.exporters.packaging.metadata import describe
from leansight.exporters.tflite.graph import TfliteGraph
from leansight.exporters.verification.compare import compare, run_all
from leansight.exporters.verification.report import ExportReport, FormatReport, Verification
from leansight.runtime.bundle import Bundle, Precision
from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import DecisionPolicy, Task, decide
from leansight.runtime.errors import BundleError
from leansight.runtime.interpreter import Format, load_interpreter
from leansight.runtime.preprocessing import Preprocessing
from leansight.sdk.models.networks import ResNetCustom

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")

Pixels = NDArray[np.uint8]
EPOCHS = 4


@dataclass(frozen=True)
class Images:
    pixels: Pixels
    classes: NDArray[np.int64]


def prepared(preprocessing: Preprocessing, count: int, seed: int) -> Images:
    pictures, classes = photos(count, seed)
    return Images(np.concatenate([preprocessing(p) for p in pictures]), classes)


def to_tensor(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().sub(128).div(128)


class Mixed(nn.Module):
    """Colour, stride 2, depthwise and grouped convolutions, ReLU6, a concatenation."""

    def __init__(self) -> None:
        super().__init__()

        def layer(before: int, after: int, kernel: int, **options: int) -> nn.Sequential:
            convolution = nn.Conv2d(
                before, after, kernel, padding=kernel // 2, bias=False, **options
            )
            return nn.Sequential(convolution, nn.BatchNorm2d(after))

        self.stem = nn.Sequential(layer(3, 16, 3, stride=2), nn.ReLU6())
        self.depthwise = nn.Sequential(layer(16, 16, 3, groups=16), nn.ReLU6())
        self.grouped = nn.Sequential(layer(16, 16, 3, groups=4, stride=2), nn.ReLU())
        self.side = layer(16, 8, 1, stride=2)
        self.mix = nn.Sequential(layer(24, 12, 1), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(12, len(LABELS))

    def features(self, x: Tensor) -> Tensor:
        x = self.depthwise(self.stem(x))
        return self.pool(self.mix(torch.cat([self.grouped(x), self.side(x)], 1))).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def teach(network: nn.Module, images: Images) -> nn.Module:
    """Train for a moment: batch norms get something to fold, and decisions mean something."""
    pixels, classes = to_tensor(images.pixels), torch.from_numpy(images.classes)
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for batch in torch.arange(len(classes)).repeat(EPOCHS).split(30):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(pixels[batch]), classes[batch]).backward()
        optimiser.step()
    return network.eval()


@dataclass(frozen=True)
class Converted:
    network: nn.Module
    preprocessing: Preprocessing
    floats: FloatGraphs
    int8: Mapping[Format, bytes]
    calibration: Pixels


def ignore(*_: object) -> None:
    pass


def convert_and_quantize(network: nn.Module, preprocessing: Preprocessing) -> Converted:
    calibration = prepared(preprocessing, 60, seed=1).pixels
    floats = convert(network, preprocessing)
    int8 = quantize(floats, calibration, ignore)
    return Converted(network, preprocessing, floats, int8, calibration)


@pytest.fixture(scope="module")
def plain() -> Converted:
    """leansight's own small network: gray, residual."""
    torch.manual_seed(0)
    preprocessing = Preprocessing(size=32, colour="gray")
    network = ResNetCustom(classes=3, channels=1, width=8, blocks=(1, 1, 1))
    teach(network, prepared(preprocessing, 300, seed=0))
    return convert_and_quantize(network, preprocessing)


@pytest.fixture(scope="module")
def mixed() -> Converted:
    torch.manual_seed(0)
    network = Mixed()
    preprocessing = Preprocessing(size=32)
    teach(network, prepared(preprocessing, 300, seed=0))
    return convert_and_quantize(network, preprocessing)


@pytest.fixture(scope="module", params=["plain", "mixed"])
def converted(request: pytest.FixtureRequest) -> Converted:
    value = request.getfixturevalue(request.param)
    assert isinstance(value, Converted)
    return value


# The int8 files


@pytest.mark.slow
def test_every_integer_and_scale_of_every_layer_is_the_same(converted: Converted) -> None:
    tflite = {key(layer): layer for layer in Tflite(converted.int8["tflite"]).layers()}
    onnx_layers = Onnx(converted.int8["onnx"]).layers()
    expected = [m for m in converted.network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(tflite) == len(onnx_layers) == len(expected)
    same = 0
    for ours in onnx_layers:
        theirs = tflite[key(ours)]
        assert ours.weights.dtype == np.int8
        assert ours.bias.dtype == np.int32
        assert ours.scale.shape == (len(ours.weights),)
        assert ours.output == theirs.output
        for name in ("weights", "scale", "bias", "bias_scale"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        same += ours.weights.size
    assert same == sum(module.weight.numel() for module in expected)


@pytest.mark.slow
def test_weights_are_the_folded_ones_rounded_per_channel(plain: Converted) -> None:
    network = plain.network
    assert isinstance(network, ResNetCustom)
    convolution, norm = network.stem[0], network.stem[1]
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    folded = (convolution.weight * factor[:, None, None, None]).detach().numpy()
    shift = (norm.bias - norm.running_mean * factor).detach().numpy()
    (stem,) = [x for x in Onnx(plain.int8["onnx"]).layers() if x.weights.shape == (8, 1, 3, 3)]
    np.testing.assert_allclose(stem.scale, np.abs(folded).max((1, 2, 3)) / 127, rtol=1e-5)
    np.testing.assert_array_equal(stem.weights, np.rint(folded / stem.scale[:, None, None, None]))
    np.testing.assert_allclose(stem.bias_scale, stem.scale / 128, rtol=1e-6)
    np.testing.assert_allclose(stem.bias, shift / stem.bias_scale, atol=0.51)


@pytest.mark.slow
def test_activations_lie_on_the_same_grids(converted: Converted) -> None:
    tflite, onnx_file = Tflite(converted.int8["tflite"]), Onnx(converted.int8["onnx"])
    theirs = {tflite.grid(output) for kind, _, output in tflite.operators if kind != "PAD"}
    quantizers = [n for n in onnx_file.nodes if n.op_type == "QuantizeLinear"]
    ours = {(scale, zero - 128) for scale, zero in map(onnx_file.grid, quantizers)}
    assert ours == theirs
    for node in quantizers:
        (after,) = (n for n in onnx_file.nodes if node.output[0] in n.input)
        if after.op_type == "Clip":  # an activation on integers, on the same grid
            (after,) = (n for n in onnx_file.nodes if after.output[0] in n.input)
        assert after.op_type == "DequantizeLinear"
        assert onnx_file.grid(after) == onnx_file.grid(node)


@pytest.mark.slow
def test_the_tflite_file_is_integers_from_end_to_end(converted: Converted) -> None:
    tflite = Tflite(converted.int8["tflite"])
    assert "FLOAT32" not in {TYPES[t.type] for t in tflite.tensors}
    kinds = {kind for kind, _, _ in tflite.operators}
    assert not kinds & {"QUANTIZE", "DEQUANTIZE", "TRANSPOSE"}
    (start,), (end,) = tflite.graph.inputs, tflite.graph.outputs
    assert {TYPES[tflite.tensors[i].type] for i in (start, end)} == {"INT8"}
    assert list(tflite.tensors[start].shape) == list(converted.preprocessing.shape)
    assert tflite.grid(start) == (1 / 128, 0)


@pytest.mark.slow
def test_the_onnx_file_takes_pixels_as_they_are(converted: Converted) -> None:
    onnx_file = Onnx(converted.int8["onnx"])
    (image,) = onnx_file.model.graph.input
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    channels = converted.preprocessing.channels
    assert [d.dim_value for d in image.type.tensor_type.shape.dim] == [1, channels, 32, 32]
    (first,) = (n for n in onnx_file.nodes if image.name in n.input)
    assert first.op_type == "DequantizeLinear"
    assert onnx_file.grid(first) == (1 / 128, 128)
    assert {d.domain for d in onnx_file.model.opset_import} <= {"", "ai.onnx"}


@pytest.mark.slow
def test_no_file_tells_the_paths_of_the_machine_that_made_it(plain: Converted) -> None:
    for files in (plain.int8, plain.floats.files):
        for file in files.values():
            assert b"site-packages" not in file
            assert str(Path(__file__).parents[2]).encode() not in file


@pytest.mark.slow
def test_onnx_runtime_runs_its_convolutions_on_integers(
    converted: Converted, tmp_path: Path
) -> None:
    kinds = Counter(n.op_type for n in optimised(converted.int8["onnx"], tmp_path).node)
    convolutions = sum(isinstance(m, nn.Conv2d) for m in converted.network.modules())
    assert kinds["QLinearConv"] + kinds["QConv"] + kinds["ConvInteger"] == convolutions
    assert kinds["Conv"] + kinds["FusedConv"] == 0


@pytest.mark.slow
def test_onnx_runtime_computes_nothing_in_float(converted: Converted, tmp_path: Path) -> None:
    graph = optimised(converted.int8["onnx"], tmp_path)
    integer = {"QLinearConv", "QLinearAdd", "QLinearConcat", "QLinearGlobalAveragePool", "QGemm"}
    moving = {"Reshape", "Transpose", "Clip"}  # the last on integers: nothing is dequantized
    assert {node.op_type for node in graph.node} <= integer | moving | {"DequantizeLinear"}
    (last,) = [node for node in graph.node if node.op_type == "DequantizeLinear"]
    assert list(last.output) == [graph.output[0].name]


@pytest.mark.slow
def test_what_is_added_counts_in_steps_of_one_size(plain: Converted) -> None:
    tflite = Tflite(plain.int8["tflite"])
    sums = [(*inputs, output) for kind, inputs, output in tflite.operators if kind == "ADD"]
    assert sums
    for tensors in sums:
        scales = {tflite.grid(tensor)[0] for tensor in tensors}
        assert max(scales) == pytest.approx(min(scales), rel=1e-6)


@pytest.mark.slow
def test_a_mean_is_divided_by_an_odd_number(plain: Converted) -> None:
    tflite = Tflite(plain.int8["tflite"])
    ((inputs, output),) = [(i, o) for kind, i, o in tflite.operators if kind == "MEAN"]
    before, after = (np.prod(tflite.tensors[index].shape) for index in (inputs[0], output))
    averaged = before / after
    divisor = averaged * tflite.grid(output)[0] / tflite.grid(inputs[0])[0]
    assert divisor == pytest.approx(round(divisor), rel=1e-6)
    assert round(divisor) % 2 == 1


@pytest.mark.slow
def test_a_concatenation_gives_its_parts_one_grid(mixed: Converted) -> None:
    tflite, onnx_file = Tflite(mixed.int8["tflite"]), Onnx(mixed.int8["onnx"])
    ((inputs, output),) = [(i, o) for kind, i, o in tflite.operators if kind == "CONCATENATION"]
    grids = {tflite.grid(tensor) for tensor in (*inputs, output)}
    assert len(grids) == 1
    (scale, zero) = grids.pop()
    assert zero > -128  # one of the parts is negative, so its Relu cannot be dropped
    # Here ReLU cuts off at the grid's zero, with integers.
    (cut,) = (n for n in onnx_file.nodes if n.op_type == "Clip")
    assert onnx_file.constants[cut.input[1]].tolist() == zero + 128
    (concat,) = (n for n in onnx_file.nodes if n.op_type == "Concat")
    sources = [onnx_file.producers[name] for name in concat.input]
    sources.append(onnx_file.quantizer(concat.output[0]))
    assert {onnx_file.grid(node) for node in sources} == {(scale, zero + 128)}


@pytest.mark.slow
def test_both_formats_say_the_same_and_nearly_what_torch_says(converted: Converted) -> None:
    images = prepared(converted.preprocessing, 50, seed=2)
    tflite, onnx_logits = (
        np.stack([load_interpreter(file, kind)(p[None]) for p in images.pixels])
        for kind, file in converted.int8.items()
    )
    with torch.inference_mode():
        exact = converted.network(to_tensor(images.pixels)).numpy()
    np.testing.assert_array_equal(tflite, onnx_logits)  # bit for bit
    spread = exact.max() - exact.min()
    assert np.abs(tflite - exact).max() < 0.06 * spread
    assert (exact.argmax(1) == images.classes).mean() > 0.9  # else the next line says little
    assert (tflite.argmax(1) == exact.argmax(1)).mean() >= 0.98


# The float files


@pytest.mark.slow
def test_float_graphs_compute_what_torch_computes(converted: Converted) -> None:
    pixels = prepared(converted.preprocessing, 10, seed=3).pixels
    with torch.inference_mode():
        exact = converted.network(to_tensor(pixels)).numpy()
    session = ort.InferenceSession(converted.floats.onnx, providers=["CPUExecutionProvider"])
    litert = LiteRt(model_content=converted.floats.tflite)
    litert.allocate_tensors()
    for image, logits in zip(pixels, exact, strict=True):
        (from_onnx,) = session.run(None, {"image": to_tensor(image[None]).numpy()})
        litert.set_tensor(
            litert.get_input_details()[0]["index"], ((image[None] - 128.0) / 128).astype(np.float32)
        )
        litert.invoke()
        from_tflite = litert.get_tensor(litert.get_output_details()[0]["index"])
        np.testing.assert_allclose(from_onnx[0], logits, atol=1e-4)
        np.testing.assert_allclose(from_tflite[0], logits, atol=1e-4)


@pytest.mark.slow
def test_both_float_files_hold_the_same_bits(converted: Converted) -> None:
    onnx_weights = {
        numpy_helper.to_array(i).tobytes()
        for i in onnx.load_from_string(converted.floats.onnx).graph.initializer
        if len(i.dims) == 2
    }
    tflite = Tflite(converted.floats.tflite)
    (head,) = (i[1] for kind, i, _ in tflite.operators if kind == "FULLY_CONNECTED")
    assert tflite.values(head, np.float32).tobytes() in onnx_weights


@pytest.mark.slow
def test_int8_is_smaller(plain: Converted) -> None:
    assert len(plain.int8["tflite"]) < len(plain.floats.tflite)
    assert len(plain.int8["onnx"]) < len(plain.floats.onnx)


# Calibration


def ranges_of(
    converted: Converted, pixels: Pixels, progress: Callable[[int, int], None] = ignore
) -> Mapping[str, Range]:
    floats, graph = converted.floats, TfliteGraph(converted.floats.tflite)
    partners = pair_nodes(floats.folded, graph, pixels)
    free, grids = for_any_number(floats.folded), SharedGrids.of(graph)
    return calibrate(free, graph, grids, partners, pixels, progress)


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
    grids = SharedGrids.of(graph)
    with pytest.raises(ValueError, match="at least one image"):
        calibrate(plain.floats.folded, graph, grids, {}, plain.calibration[:0])


# Pairing


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


# Verification, by hand


def hand_made(policy: DecisionPolicy) -> ExportReport:
    classes = np.array([0, 0, 1, 1, 2], np.int64)
    low, sure = 0.0, 5.0  # softmax of (5, 0, 0) is 0.987, of (0.1, 0, 0) 0.356
    torch_logits = np.array(
        [[sure, 0, 0], [sure, 0, 0], [0, sure, 0], [0, sure, 0], [0, low + 0.1, 0]], np.float32
    )
    tflite = torch_logits.copy()
    tflite[3] = (sure, 0, 0)  # class 1 lost
    onnx_logits = tflite.copy()
    onnx_logits[4] = (0, 0, sure)  # class 2 won, and sure of it
    return compare(
        {"torch float32": torch_logits, "tflite int8": tflite, "onnx int8": onnx_logits},
        {"tflite int8": 10, "onnx int8": 20},
        Images(np.zeros((5, 1, 1, 1), np.uint8), classes),
        labels=LABELS,
        policy=policy,
        shipped=("tflite int8", "onnx int8"),
    )


def test_formats_are_compared_with_torch_class_by_class() -> None:
    report = hand_made(DecisionPolicy(threshold=0.5))
    reference, tflite, onnx_report = report.formats
    assert [f.name for f in report.formats] == ["torch float32", "tflite int8", "onnx int8"]
    assert [f.size_bytes for f in report.formats] == [0, 10, 20]
    assert [f.accuracy for f in report.formats] == [0.8, 0.6, 0.8]
    assert [f.coverage for f in report.formats] == [0.8, 0.8, 1.0]
    assert [f.agreement for f in report.formats] == [1.0, 0.8, 0.6]
    assert (tflite.worst_class, tflite.worst_class_drop) == ("cross", 0.5)
    assert (onnx_report.worst_class, onnx_report.worst_class_drop) == ("cross", 0.5)
    assert tflite.worst_class_lost == 1
    assert reference.worst_class_drop == 0
    assert reference.largest_difference == 0
    exponential = np.exp(5.0)
    expected = (exponential - 1) / (exponential + 2)
    assert tflite.largest_difference == pytest.approx(expected)
    # Of image 4 two probabilities of three changed places.
    assert tflite.mean_difference == pytest.approx(2 * expected / 15)
    assert report.agreement == 0.8  # the two that are shipped, with each other
    assert report.identical == 0.8
    assert report.images == 5


def test_the_policy_decides_what_agrees() -> None:
    # With no threshold torch's weak guess on the last image is a decision too.
    report = hand_made(DecisionPolicy(threshold=0))
    assert [f.coverage for f in report.formats] == [1, 1, 1]
    assert [f.agreement for f in report.formats] == [1.0, 0.8, 0.6]
    cautious = hand_made(DecisionPolicy(threshold=0.99))
    assert [f.coverage for f in cautious.formats] == [0, 0, 0]
    assert cautious.agreement == 1
    hot = hand_made(DecisionPolicy(threshold=0.5, temperature=50))
    assert [f.coverage for f in hot.formats] == [0, 0, 0]


def test_decisions_are_the_runtimes() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 3)).astype(np.float32)
    policy = DecisionPolicy(threshold=0.6, temperature=0.7)
    images = Images(np.zeros((200, 1, 1, 1), np.uint8), np.zeros(200, np.int64))
    report = compare(
        {"torch float32": logits},
        {},
        images,
        labels=LABELS,
        policy=policy,
        shipped=("torch float32",),
    )
    said = [decide(row, LABELS, policy).label for row in logits]
    assert report.formats[0].coverage == np.mean([label is not None for label in said])


def hand_made_labels(threshold: float, temperature: float = 1.0) -> ExportReport:
    """Compare two files with torch on two images of three labels each."""
    yes, maybe, no = np.log([9, 1.5, 1 / 9])  # sigmoid: 0.9, 0.6, 0.1
    torch_logits = np.array([[yes, no, no], [no, maybe, yes]], np.float32)
    tflite = np.array([[yes, no, no], [no, no, yes]], np.float32)  # one label lost
    onnx_logits = np.array([[yes, maybe, no], [no, no, yes]], np.float32)  # and one too many
    return compare(
        {"torch float32": torch_logits, "tflite int8": tflite, "onnx int8": onnx_logits},
        {"tflite int8": 10, "onnx int8": 20},
        Images(np.zeros((2, 1, 1, 1), np.uint8), np.array([[1, 0, 0], [0, 1, 0]], np.int64)),
        labels=LABELS,
        policy=DecisionPolicy(threshold=threshold, temperature=temperature),
        shipped=("tflite int8", "onnx int8"),
        task="multilabel",
    )


def test_many_labels_are_compared_label_by_label() -> None:
    report = hand_made_labels(threshold=0.5)
    reference, tflite, onnx_report = report.formats
    # Of six labels torch has one wrong (the last), TFLite two, ONNX three.
    assert [f.accuracy for f in report.formats] == pytest.approx([5 / 6, 4 / 6, 3 / 6])
    assert [f.agreement for f in report.formats] == pytest.approx([1, 5 / 6, 4 / 6])
    assert [f.coverage for f in report.formats] == [1, 1, 1]
    # "cross" is the second label: right twice in torch, once in TFLite, never in ONNX.
    assert (tflite.worst_class, tflite.worst_class_drop) == ("cross", 0.5)
    assert (onnx_report.worst_class, onnx_report.worst_class_drop) == ("cross", 1)
    assert (reference.worst_class_drop, reference.largest_difference) == (0, 0)
    assert tflite.largest_difference == pytest.approx(0.6 - 0.1)
    assert report.agreement == pytest.approx(5 / 6)
    assert report.images == 2


def test_the_threshold_decides_which_labels_agree_and_which_are_undecided() -> None:
    # At 0.8 a probability of 0.6 gives no label any more, and leaves its image undecided.
    report = hand_made_labels(threshold=0.8)
    assert [f.agreement for f in report.formats] == [1, 1, 1]
    assert [f.coverage for f in report.formats] == [0.5, 1, 0.5]
    # Accuracy is not the threshold's business, nor the temperature's.
    assert [f.accuracy for f in report.formats] == pytest.approx([5 / 6, 4 / 6, 3 / 6])
    hot = hand_made_labels(threshold=0.8, temperature=50)
    assert [f.coverage for f in hot.formats] == [0, 0, 0]
    assert [f.accuracy for f in hot.formats] == pytest.approx([5 / 6, 4 / 6, 3 / 6])


def test_labels_that_the_formats_give_differently_are_refused() -> None:
    def refusal(threshold: float, max_drop: float) -> str | None:
        return hand_made_labels(threshold).refusal(Promise(max_drop=max_drop, max_class_drop=100))

    assert "decide differently on 16.67% of the labels of all images" in str(refusal(0.5, 100))
    assert str(refusal(0.8, 1)).startswith("tflite int8 lost 16.67 points of accuracy")
    assert refusal(0.8, 34) is None


def test_decisions_on_many_labels_are_the_runtimes() -> None:
    logits = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    policy = DecisionPolicy(threshold=0.8, temperature=0.7)
    said = [decide(row, LABELS, policy, task="multilabel") for row in logits]
    report = compare(
        {"torch float32": logits},
        {},
        Images(np.zeros((200, 1, 1, 1), np.uint8), np.zeros((200, 3), np.int64)),
        labels=LABELS,
        policy=policy,
        shipped=("torch float32",),
        task="multilabel",
    )
    assert report.formats[0].coverage == np.mean([p.status == "sure" for p in said])


@pytest.mark.parametrize(
    ("task", "shape"), [("classification", (4, 3)), ("multilabel", (4,)), ("multilabel", (4, 2))]
)
def test_classes_of_another_task_are_refused(task: Task, shape: tuple[int, ...]) -> None:
    given = Images(np.zeros((4, 1, 1, 1), np.uint8), np.zeros(shape, np.int64))
    with pytest.raises(ValueError, match=f"classes for {task} have shape"):
        compare({}, {}, given, labels=LABELS, policy=DecisionPolicy(), shipped=(), task=task)


def test_comparing_needs_an_image() -> None:
    nothing = Images(np.zeros((0, 1, 1, 1), np.uint8), np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="at least one image"):
        compare({}, {}, nothing, labels=LABELS, policy=DecisionPolicy(), shipped=())


def test_reports_are_plain_json() -> None:
    values = hand_made(DecisionPolicy(threshold=0.5)).to_dict()
    assert json.loads(json.dumps(values)) == values
    assert values["agreement"] == 0.8
    assert values["formats"][1]["worst_class"] == "cross"


def a_report(*, torch_accuracy: float, accuracy: float, agreement: float) -> ExportReport:
    def report(name: str, value: float) -> FormatReport:
        return FormatReport(
            name=name,
            size_bytes=1,
            accuracy=value,
            coverage=1,
            agreement=1,
            largest_difference=0,
            mean_difference=0,
            worst_class="bars",
            worst_class_drop=0,
            worst_class_lost=0,
        )

    return ExportReport(
        images=1000,
        formats=(
            report("torch float32", torch_accuracy),
            report("tflite float32", 0.0),  # not shipped: of no consequence
            report("tflite int8", torch_accuracy),
            report("onnx int8", accuracy),
        ),
        shipped=("tflite int8", "onnx int8"),
        agreement=agreement,
        identical=agreement,
    )


@pytest.mark.parametrize(
    ("accuracy", "agreement", "max_drop"),
    [(0.96, 1, 1), (0.97, 0.995, 0), (0.99, 1, 0), (0.9, 1, 7), (0.967, 1, 0.3)],
)
def test_a_promise_that_is_kept_to_the_point(
    accuracy: float, agreement: float, max_drop: float
) -> None:
    report = a_report(torch_accuracy=0.97, accuracy=accuracy, agreement=agreement)
    assert report.refusal(Promise(max_drop=max_drop, max_class_drop=0)) is None


@pytest.mark.parametrize(
    ("accuracy", "agreement", "max_drop", "message"),
    [
        (
            0.959,
            1,
            1,
            r"^onnx int8 lost 1\.10 points .*97\.00% to 95\.90%.*max_drop allows \(1\)$",
        ),
        (0.969, 1, 0, r"onnx int8 lost 0\.10 points"),
        (0.97, 0.994, 1, r"^tflite int8 and onnx int8 decide differently on 0\.60% .*0\.5%"),
    ],
)
def test_a_promise_that_is_broken(
    accuracy: float, agreement: float, max_drop: float, message: str
) -> None:
    report = a_report(torch_accuracy=0.97, accuracy=accuracy, agreement=agreement)
    refusal = report.refusal(Promise(max_drop=max_drop, max_class_drop=100))
    assert refusal
    assert re.search(message, refusal)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"coverage": 0.985},
            r"^onnx int8 lost 1\.50 points of coverage .*max_drop allows \(1\)$",
        ),
        ({"coverage": 0.99}, None),
        (
            {"worst_class_drop": 0.06, "worst_class_lost": 3},
            r"^onnx int8 lost 6\.00 points of the accuracy of bars, .*--max-class-drop 5$",
        ),
        ({"worst_class_drop": 0.05, "worst_class_lost": 3}, None),
        ({"worst_class_drop": 0.5, "worst_class_lost": 1}, None),  # one image of two
    ],
)
def test_what_is_kept_and_the_worst_class_are_promised_as_well(
    changes: dict[str, float], message: str | None
) -> None:
    report = a_report(torch_accuracy=0.97, accuracy=0.97, agreement=1)
    *others, last = report.formats
    changed = replace(report, formats=(*others, replace(last, **changes)))
    refusal = changed.refusal(Promise(max_drop=1, max_class_drop=5))
    assert (refusal and message and re.search(message, refusal)) or refusal is message is None


def test_every_image_is_run_once_and_told() -> None:
    class Brightness:
        input_shape = (1, 2, 2, 1)

        def __call__(self, batch: Pixels) -> NDArray[np.float32]:
            assert batch.shape == self.input_shape
            return batch.reshape(-1)[:2].astype(np.float32)

    pixels = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1)
    told: list[tuple[int, int]] = []
    logits = run_all(Brightness(), pixels, lambda n, of: told.append((n, of)))
    np.testing.assert_array_equal(logits, [[0, 1], [4, 5], [8, 9]])
    assert told == [(1, 3), (2, 3), (3, 3)]


# The whole export


@pytest.fixture
def no_conversion(plain: Converted, monkeypatch: pytest.MonkeyPatch) -> Converted:
    """Exports of `plain` that do not wait for the conversion again."""
    monkeypatch.setattr(export_module, "convert", lambda *_: plain.floats)
    return plain


def draft(path: Path, precision: Precision = "int8") -> Bundle:
    return Bundle(
        path=path,
        name="shapes",
        labels=LABELS,
        preprocessing=Preprocessing(size=32, colour="gray"),
        decision=DecisionPolicy(threshold=0.6),
        precision=precision,
        provenance={"images": {"train": 90}},
    )


def images(plain: Converted) -> ExportImages:
    return ExportImages(
        calibration=plain.calibration,
        validation=prepared(plain.preprocessing, 60, seed=4),
        golden=photos(3, seed=5)[0],
    )


@pytest.fixture
def written(no_conversion: Converted, tmp_path: Path) -> tuple[Bundle, dict[str, ExportReport]]:
    test = prepared(no_conversion.preprocessing, 30, seed=6)
    reports = export_network(
        no_conversion.network,
        draft(tmp_path / "new" / "shapes.bundle"),
        replace(images(no_conversion), test=test),
        ExportOptions(promise=Promise(max_drop=2)),
        progress=ignore,
    )
    return Bundle.load(tmp_path / "new" / "shapes.bundle"), reports


Written = tuple[Bundle, dict[str, ExportReport]]


@pytest.mark.slow
def test_a_written_bundle_is_whole(written: Written) -> None:
    bundle, reports = written
    names = {"bundle.json", "model.tflite", "model.onnx", "golden.npz", "README.md"}
    assert {p.name for p in bundle.path.iterdir()} == names
    assert [p.name for p in bundle.path.parent.iterdir()] == ["shapes.bundle"]
    assert set(bundle.files) == names - {"bundle.json"}
    assert bundle.metrics == {what: report.to_dict() for what, report in reports.items()}
    assert {what: report.images for what, report in reports.items()} == {
        "validation": 60,
        "test": 30,
    }
    assert reports["validation"].shipped == ("tflite int8", "onnx int8")
    assert [f.name for f in reports["validation"].formats] == [
        *("torch float32", "tflite int8", "onnx int8"),
    ]
    assert bundle.provenance == {"images": {"train": 90}}


@pytest.mark.slow
@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
def test_golden_photos_give_the_recorded_pixels_and_logits(
    written: Written, model_format: Format
) -> None:
    bundle, _ = written
    classifier = Classifier.load(bundle.path, model_format=model_format)
    with np.load(io.BytesIO(bundle.read("golden.npz")), allow_pickle=False) as golden:
        shown = [golden[name] for name in sorted(golden.files) if name.startswith("photo")]
        assert len(shown) == 3
        for index, (photo, given) in enumerate(zip(shown, photos(3, seed=5)[0], strict=True)):
            np.testing.assert_array_equal(photo, given)
            pixels = bundle.preprocessing(photo)
            np.testing.assert_array_equal(pixels[0], golden["pixels"][index])
            logits = classifier.interpreter(pixels)
            np.testing.assert_array_equal(logits, golden[f"logits_{model_format}"][index])
            assert classifier(photo) == decide(logits, LABELS, bundle.decision)


@pytest.mark.slow
def test_the_model_card_says_what_was_verified(written: Written) -> None:
    bundle, reports = written
    card = bundle.read("README.md").decode()
    assert card.startswith("# shapes\n")
    assert "bars, cross, disc" in card
    assert "On 60 images" in card
    assert "32×32\ngray (stretch, no CLAHE)" in card
    assert "probability of 0.6" in card
    for report in reports["validation"].formats[1:]:
        size = (bundle.path / f"model.{report.name.split()[0]}").stat().st_size
        assert "float32" in report.name or report.size_bytes == size
        row = f"| {report.name} | {report.size_bytes / 1000:,.0f} KB | {report.accuracy:.2%} | "
        assert row in card
    assert f"decide alike on {reports['validation'].agreement:.2%} of the images" in card


@pytest.mark.slow
def test_a_bundle_for_many_labels(no_conversion: Converted, tmp_path: Path) -> None:
    """The same network, its logits read as one label's each."""
    part = prepared(no_conversion.preprocessing, 60, seed=4)
    given = images(no_conversion)
    validation = Images(part.pixels, np.eye(3, dtype=np.int64)[part.classes])
    many = replace(
        draft(tmp_path / "many.bundle"), task="multilabel", decision=DecisionPolicy(threshold=0.7)
    )
    reports = export_network(
        no_conversion.network,
        many,
        replace(given, validation=validation),
        ExportOptions(promise=Promise(max_drop=5)),
        progress=ignore,
    )
    bundle = Bundle.load(tmp_path / "many.bundle")
    assert (bundle.task, bundle.decision.threshold) == ("multilabel", 0.7)
    logits = np.stack(
        [load_interpreter(bundle.read("model.onnx"), "onnx")(p[None]) for p in part.pixels]
    )
    (report,) = [f for f in reports["validation"].formats if f.name == "onnx int8"]
    assert report.accuracy == pytest.approx(((logits > 0) == validation.classes).mean())
    card = bundle.read("README.md").decode()
    assert "(task: multilabel)" in card
    assert 'at least 0.7; "not sure" if one lies between 0.3 and that' in card
    assert "of the labels of all images" in card
    classifier = Classifier.load(bundle.path)
    photo = given.golden[0]
    expected = decide(
        classifier.interpreter(bundle.preprocessing(photo)),
        LABELS,
        bundle.decision,
        task="multilabel",
    )
    assert classifier(photo) == expected


@pytest.mark.slow
def test_a_float_bundle(no_conversion: Converted, tmp_path: Path) -> None:
    out = tmp_path / "float.bundle"
    reports = export_network(
        no_conversion.network,
        draft(out, precision="float32"),
        replace(images(no_conversion), golden=[]),
        ExportOptions(promise=Promise(max_drop=0)),
        progress=ignore,
    )
    assert reports["validation"].shipped == ("tflite float32", "onnx float32")
    bundle = Bundle.load(out)
    assert bundle.precision == "float32"
    shipped = {kind: bundle.read(f"model.{kind}") for kind in bundle.formats}
    assert shipped == describe(no_conversion.floats.files, bundle)
    assert set(reports) == {"validation"}
    assert "int8" not in bundle.read("README.md").decode()


@pytest.mark.slow
def test_a_network_that_int8_spoils_is_refused_and_nothing_written(
    no_conversion: Converted, tmp_path: Path
) -> None:
    # Calibrated on plain gray, the grids are too small for what shapes bring about.
    gray = np.full_like(no_conversion.calibration[:1], 128)
    message = (
        r"int8 lost .* points.*max_drop allows \(1\)\. Tried: calibration\. Nothing was written$"
    )
    given, seen = replace(images(no_conversion), calibration=gray), list[Verification]()
    with pytest.raises(ExportRefusedError, match=message):
        export_network(
            no_conversion.network,
            draft(tmp_path / "new" / "shapes.bundle"),
            given,
            ExportOptions(promise=Promise(max_drop=1), effort="calibration"),
            progress=ignore,
            watch=seen.append,
        )
    assert list(tmp_path.iterdir()) == []
    # Of what was tried remains what every format said.
    (tried,) = seen
    assert tried.report.effort == "calibration"
    assert list(tried.logits) == [report.name for report in tried.report.formats]
    right = {n: (v.argmax(1) == given.validation.classes).mean() for n, v in tried.logits.items()}
    assert right == {report.name: report.accuracy for report in tried.report.formats}
    assert right["tflite int8"] < right["torch float32"]


@pytest.mark.slow
def test_formats_that_disagree_are_refused(
    no_conversion: Converted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gray = np.full_like(no_conversion.calibration[:1], 128)
    other = quantize(no_conversion.floats, gray, ignore)
    mixture = {"tflite": no_conversion.int8["tflite"], "onnx": other["onnx"]}
    monkeypatch.setattr(export_module, "attempts", lambda *_: iter([("calibration", mixture)]))
    with pytest.raises(ExportRefusedError, match=r"tflite int8 and onnx int8 decide differently"):
        export_network(
            no_conversion.network,
            draft(tmp_path / "shapes.bundle"),
            images(no_conversion),
            ExportOptions(promise=Promise(max_drop=100, max_class_drop=100)),
            progress=ignore,
        )
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object) -> None:
        pytest.fail("the conversion began")

    monkeypatch.setattr(export_module, "convert", work)
    nothing = np.zeros((0, 32, 32, 1), np.uint8)
    given = ExportImages(calibration=nothing, validation=Images(nothing, np.zeros(0, np.int64)))
    (tmp_path / "notes.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(BundleError, match=r"exists already: choose another path"):
            export_network(
                nn.Identity(),
                draft(path),
                given,
                ExportOptions(promise=Promise(max_drop=1)),
                progress=ignore,
            )
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("network", "given"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(32**2, 4)), r"\(2, 4\)"),
        (nn.Conv2d(1, 3, 32), r"\(2, 3, 1, 1\)"),
        (nn.AdaptiveMaxPool2d(3, return_indices=True), r"a <class 'tuple'>"),
    ],
)
def test_a_network_that_gives_no_logits_is_refused_before_any_work(
    network: nn.Module, given: str, tmp_path: Path
) -> None:
    nothing = np.zeros((0, 32, 32, 1), np.uint8)
    shown = ExportImages(calibration=nothing, validation=Images(nothing, np.zeros(0, np.int64)))
    out = draft(tmp_path / "shapes.bundle")
    said = rf"^the network gives {given} for 2 images: with 3 labels logits of \(2, 3\) are"
    with pytest.raises(ConversionError, match=said):
        export_network(
            network, out, shown, ExportOptions(promise=Promise(max_drop=1)), progress=ignore
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_each_step_is_told_to_its_end(no_conversion: Converted, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    tell: Callable[[str, int, int], None] = lambda *step: told.append(step)  # noqa: E731 -- typed
    export_network(
        no_conversion.network,
        draft(tmp_path / "shapes.bundle"),
        images(no_conversion),
        ExportOptions(promise=Promise(max_drop=2)),
        progress=tell,
    )
    last = {name: (done, total) for name, done, total in told}
    assert last == {
        "converting to ONNX and TFLite": (1, 1),
        "calibrating": (60, 60),
        "verifying torch float32": (60, 60),
        "verifying tflite int8": (60, 60),
        "verifying onnx int8": (60, 60),
    }


class SwitchedOff(nn.Module):
    """Channels that training has switched off: nearly no weights, but a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 5, 3, padding=1)
        self.depthwise = nn.Conv2d(5, 5, 3, padding=1, groups=5)
        self.head = nn.Linear(5, len(LABELS))
        for layer, channel in ((self.convolution, 0), (self.depthwise, 2), (self.head, 1)):
            layer.weight.data[channel] = 0
            layer.bias.data[channel] = 0.7
        self.convolution.weight.data[3] *= 1e-12
        self.convolution.bias.data[3] = -0.4
        # Less than the smallest scale that ai-edge-quantizer gives.
        self.convolution.weight.data[4], self.convolution.bias.data[4] = 1e-12, 1.6e-5

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.depthwise(self.convolution(x)).mean(dim=(2, 3)))


def test_the_bias_of_a_channel_without_weights_survives() -> None:
    torch.manual_seed(0)
    preprocessing = Preprocessing(size=16, colour="gray")
    converted = convert_and_quantize(SwitchedOff().eval(), preprocessing)
    images = prepared(preprocessing, 12, seed=2).pixels
    with torch.inference_mode():
        expected = converted.network(to_tensor(images)).numpy()
    assert np.allclose(expected[:, 1], 0.7, atol=1e-6)
    for kind in ("tflite", "onnx"):
        found = run_all(load_interpreter(converted.int8[kind], kind), images, ignore)
        assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
