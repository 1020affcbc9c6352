"""Networks from elsewhere: what is read gives what ONNX Runtime gives on the original file."""

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import shapes
import timm
import torch
import torchvision
from int8_files import TYPES, Onnx, Tflite
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from leansight.exporters.conversion.inference import predict
from leansight.exporters.errors import ConversionError
from leansight.exporters.export import ExportImages, export_network
from leansight.exporters.importers.keras import convert_keras
from leansight.exporters.importers.normalisation import Normalisation, normalised
from leansight.exporters.importers.onnx_reader import OnnxClassifier, largest_difference, read_onnx
from leansight.exporters.options import ExportOptions, Promise
from leansight.runtime.bundle import Bundle
from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import DecisionPolicy, softmax
from leansight.runtime.errors import BundleError, DataError
from leansight.runtime.preprocessing import Preprocessing
from leansight.sdk.commands import cli
from leansight.sdk.data.images import ImageSet
from leansight.sdk.deployment.imported_network import read_labels

MAIN = "from leansight.sdk.commands.cli import main; main()"
IMAGENET = Normalisation(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
Floats = NDArray[np.float32]


def runtime(file: Path, images: Floats) -> Floats:
    """Return what ONNX Runtime gives for each image, as the file wants them."""
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[None]})[0] for image in images])


def pictures(count: int, size: int, channels: int = 3) -> Floats:
    """Return noise, channels first."""
    return np.random.default_rng(0).normal(size=(count, channels, size, size)).astype(np.float32)


def given(classifier: OnnxClassifier, images: Floats) -> Floats:
    with torch.inference_mode():
        return classifier.network(torch.from_numpy(images)).numpy()


# Networks of torchvision and timm

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "densenet121": lambda: torchvision.models.densenet121(num_classes=5),
    "efficientnet_b0": lambda: torchvision.models.efficientnet_b0(num_classes=5),
    "mobilenet_v3_small": lambda: torchvision.models.mobilenet_v3_small(num_classes=5),
    "resnet18": lambda: torchvision.models.resnet18(num_classes=5),
    "shufflenet_v2": lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=5),
    "squeezenet": lambda: torchvision.models.squeezenet1_1(num_classes=5),
    "timm mobilenetv1_100": lambda: timm.create_model("mobilenetv1_100", num_classes=5),
}


def unsettled(network: nn.Module) -> nn.Module:
    """Give batch norms something to do, and logits a spread."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.8, 1.6)
            nn.init.uniform_(module.bias, -0.3, 0.3)
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.3, 1.2)
    return network.eval()


def write(network: nn.Module, file: Path, *, size: int, way: str) -> Path:
    """Export as most do: with the older exporter for any number, or the newer one for one."""
    example = (torch.zeros(1, 3, size, size),)
    names: dict[str, Any] = {"input_names": ["image"], "output_names": ["scores"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if way == "newer":
            names |= {"external_data": False, "verbose": False}
            torch.onnx.export(network, example, str(file), dynamo=True, **names)
        else:
            names["dynamic_axes"] = {"image": {0: "n", 2: "h", 3: "w"}}
            torch.onnx.export(network, example, str(file), dynamo=False, **names)
    return file


def require_equal(file: Path, size: int, asked: int | None) -> OnnxClassifier:
    classifier = read_onnx(file, size=asked, channels=3)
    images = pictures(5, size)
    exact = runtime(file, images)
    assert np.ptp(exact) > 1e-4  # else all would be equal
    np.testing.assert_allclose(given(classifier, images), exact, atol=2e-5 * np.abs(exact).max())
    assert (classifier.size, classifier.outputs, classifier.end) == (size, 5, "logits")
    return classifier


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_what_its_file_gives(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = unsettled(NETWORKS[name]())
    file = write(network, tmp_path / "network.onnx", size=64, way="older")
    classifier = require_equal(file, 64, asked=64)
    assert not classifier.channels_last


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2"])
def test_a_file_of_the_newer_exporter_says_its_size(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = unsettled(NETWORKS[name]())
    require_equal(write(network, tmp_path / "n.onnx", size=64, way="newer"), 64, asked=None)


# Files written by hand


class File:
    """An ONNX file in the making: nodes, and constants by their numbers."""

    def __init__(self, shape: Sequence[int | str] = (1, 3, 8, 8), opset: int = 17) -> None:
        self.shape, self.opset = shape, opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.last = "image"

    def constant(self, values: object, dtype: type = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def then(self, kind: str, *inputs: str, **attributes: Any) -> "File":  # noqa: ANN401 -- ONNX's
        """Add a node that takes the result of the last one first."""
        return self.node(kind, self.last, *inputs, **attributes)

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> "File":  # noqa: ANN401
        names = [f"t{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(
            helper.make_node(
                kind, inputs, names, name=f"the_{kind}_{len(self.nodes)}", **attributes
            )
        )
        self.last = names[0]
        return self

    def classes(self, features: int, count: int = 4) -> "File":
        """End in a mean over the picture and a dense layer."""
        weights = np.random.default_rng(1).normal(size=(features, count))
        self.then("GlobalAveragePool").then("Flatten")
        return self.then("Gemm", self.constant(weights), self.constant(np.arange(count)))

    def save(self, folder: Path, outputs: Sequence[str] = ()) -> Path:
        graph = helper.make_graph(
            self.nodes,
            "by hand",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, self.shape)],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
                for name in outputs or [self.last]
            ],
            self.constants,
        )
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("ai.other", 1)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "f.onnx")
        return folder / "f.onnx"


def numbers(*shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(2).normal(size=shape)


def both_halves(file: File) -> File:
    file.then("Split", file.constant([1, 2], np.int64), outputs=2, axis=1)
    return file.node("Concat", "t0_1", "t0_0", axis=1)


def gated(file: File) -> File:
    file.then("Sigmoid").then("GlobalAveragePool")
    return file.node("Mul", "image", file.last)


OPERATORS: dict[str, tuple[Callable[[File], File], int]] = {
    "padded unequally": (
        lambda f: f.then("Conv", f.constant(numbers(5, 3, 3, 3)), pads=[0, 1, 2, 1]),
        5,
    ),
    "same, even": (
        lambda f: f.then(
            "Conv",
            f.constant(numbers(6, 1, 3, 3)),
            f.constant(numbers(6)),
            auto_pad="SAME_UPPER",
            strides=[2, 2],
            group=3,
        ),
        6,
    ),
    "same, lower": (
        lambda f: f.then("MaxPool", auto_pad="SAME_LOWER", kernel_shape=[3, 3], strides=[2, 2]),
        3,
    ),
    "dilated": (
        lambda f: f.then("Conv", f.constant(numbers(4, 3, 3, 3)), dilations=[2, 1], pads=[1] * 4),
        4,
    ),
    "maximum of negatives": (
        lambda f: f.then("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[0, 0, 1, 1]),
        3,
    ),
    "maximum after ReLU": (
        lambda f: f.then("Relu").then("MaxPool", kernel_shape=[3, 3], pads=[0, 1, 1, 0]),
        3,
    ),
    "maximum rounded up": (
        lambda f: f.then("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        3,
    ),
    "mean without padding": (
        lambda f: f.then("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        3,
    ),
    "mean with padding": (
        lambda f: f.then(
            "AveragePool", kernel_shape=[3, 3], pads=[0, 0, 1, 1], count_include_pad=1
        ),
        3,
    ),
    "one maximum": (lambda f: f.then("GlobalMaxPool"), 3),
    "batch norm": (
        lambda f: f.then(
            "BatchNormalization",
            *(f.constant(v) for v in (numbers(3), numbers(3), numbers(3), [0.5, 1, 2])),
            epsilon=1e-3,
        ),
        3,
    ),
    "batch norm of channels last": (
        lambda f: (
            f.then("Transpose", perm=[0, 2, 3, 1])
            .then("Mul", f.constant(numbers(3)))
            .then("Sub", f.constant(numbers(1, 1, 1, 3)))
            .then("Sigmoid")
            .then("Transpose", perm=[0, 3, 1, 2])
        ),
        3,
    ),
    "a number before and after": (
        lambda f: (
            f.node("Sub", f.constant(1), f.last)
            .then("Div", f.constant(0.5))
            .then("Tanh")
            .node("Sub", f.constant([2]), "t2_0")
            .then("Mul", f.constant(3))
        ),
        3,
    ),
    "one for each pixel": (lambda f: f.then("Add", f.constant(numbers(8, 8))), 3),
    "clipped": (lambda f: f.then("Clip", f.constant(-0.2), f.constant(0.7)), 3),
    "clipped below": (lambda f: f.then("Clip", f.constant(-0.2)), 3),
    "hard sigmoid": (lambda f: f.then("HardSigmoid", alpha=0.2, beta=0.4), 3),
    "hard sigmoid of torch": (lambda f: f.then("HardSigmoid", alpha=1 / 6, beta=0.5), 3),
    "hard swish": (lambda f: f.then("HardSwish"), 3),
    "hard swish as Keras writes it": (
        lambda f: (
            f.then("Add", f.constant(3))
            .then("Clip", f.constant(0), f.constant(6))
            .then("Mul", f.constant(1 / 6))
            .node("Mul", "image", "t2_0")
        ),
        3,
    ),
    "leaky": (lambda f: f.then("LeakyRelu", alpha=0.3), 3),
    "elu": (lambda f: f.then("Elu", alpha=0.5), 3),
    "prelu": (lambda f: f.then("PRelu", f.constant(numbers(3, 1, 1))), 3),
    "gate": (gated, 3),
    "halves": (both_halves, 3),
    "slice": (
        lambda f: f.then(
            "Slice",
            f.constant([1, -5], np.int64),
            f.constant([3, 99], np.int64),
            f.constant([1, 2], np.int64),
        ),
        2,
    ),
    "padding": (
        lambda f: f.then("Pad", f.constant([0, 1, 2, 0, 0, 0, 0, 3], np.int64), f.constant(0.5)),
        4,
    ),
    "mean over height": (
        lambda f: (
            f.then("Transpose", perm=[0, 2, 3, 1])
            .then("ReduceMean", axes=[1], keepdims=0)
            .then("Unsqueeze", f.constant([1], np.int64))
            .then("Transpose", perm=[0, 3, 1, 2])
        ),
        3,
    ),
    "shuffled channels": (
        lambda f: (
            f.then("Conv", f.constant(numbers(6, 3, 1, 1)))
            .then("Reshape", f.constant([0, 2, 3, 8, -1], np.int64))
            .then("Transpose", perm=[0, 2, 1, 3, 4])
            .then("Reshape", f.constant([1, 6, 8, 8], np.int64))
        ),
        6,
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_gives_what_onnx_runtime_gives(name: str, tmp_path: Path) -> None:
    build, features = OPERATORS[name]
    file = build(File()).classes(features).save(tmp_path)
    classifier = read_onnx(file, size=None, channels=3)
    images = pictures(3, 8)
    exact = runtime(file, images)
    np.testing.assert_allclose(given(classifier, images), exact, atol=1e-5, rtol=1e-5)


def channels_last(opset: int = 17) -> File:
    """Scale pixels, and flatten a picture, as Keras does."""
    file = File((1, 8, 8, 3), opset)
    file.then("Mul", file.constant(1 / 127.5)).then("Sub", file.constant([[[[1, 0.9, 1.1]]]]))
    file.then("Transpose", perm=[0, 3, 1, 2])
    file.then("Conv", file.constant(numbers(6, 3, 3, 3)), strides=[2, 2], pads=[0, 0, 1, 1])
    file.then("Transpose", perm=[0, 2, 3, 1]).then("Relu")
    file.then("Reshape", file.constant([-1, 96], np.int64))
    return file.then("MatMul", file.constant(numbers(96, 4))).then("Softmax", axis=-1)


def test_channels_last_are_found_and_a_softmax_is_left_out(tmp_path: Path) -> None:
    file = channels_last().save(tmp_path)
    classifier = read_onnx(file, size=None, channels=3)
    assert (classifier.channels_last, classifier.end, classifier.outputs) == (True, "softmax", 4)
    images = pictures(3, 8) * 60 + 128
    exact = runtime(file, np.ascontiguousarray(images.transpose(0, 2, 3, 1)))
    np.testing.assert_allclose(softmax(given(classifier, images)), exact, atol=1e-5)
    # Only flattening needs an order of axes, and it is the file's.
    targets = [node.target for node in classifier.network.graph.nodes]
    assert targets.count(torch.permute) == 1


@pytest.mark.parametrize("dense", [True, False])
def test_one_sigmoid_becomes_two_classes(tmp_path: Path, *, dense: bool) -> None:
    network = File()
    if dense:
        network.classes(3, 1)
    else:
        network.then("Conv", network.constant(numbers(1, 3, 3, 3))).then("GlobalAveragePool")
        network.then("Flatten")
    file = network.then("Sigmoid").save(tmp_path)
    classifier = read_onnx(file, size=8, channels=3)
    assert (classifier.outputs, classifier.logits(), classifier.end) == (1, 2, "sigmoid")
    images = pictures(4, 8)
    exact = runtime(file, images)[:, 0]
    np.testing.assert_allclose(softmax(given(classifier, images))[:, 1], exact, atol=1e-6)


def test_another_number_is_a_difference(tmp_path: Path) -> None:
    classifier = read_onnx(File().classes(3).then("Softmax").save(tmp_path), size=8, channels=3)
    images = pictures(4, 8)
    logits = given(classifier, images)
    outputs = classifier.run(images.transpose(0, 2, 3, 1))
    assert largest_difference(classifier, logits, outputs) < 1e-6
    logits[2, 1] += 0.5
    assert largest_difference(classifier, logits, outputs) > 0.01


# What is refused


REFUSED: dict[str, tuple[Callable[[], File], str]] = {
    "unknown operator": (
        lambda: File().then("LRN", size=3).classes(3),
        r"has the operator LRN \(the_LRN_0\), which leansight does not read. It reads Add, Av",
    ),
    "softmax in the middle": (
        lambda: File().then("Softmax", axis=1).classes(3),
        "has the operator Softmax",
    ),
    "eight at once": (lambda: File((8, 3, 8, 8)).classes(3), r"takes 8 images at once \(8×3×8×8\)"),
    "no size": (
        lambda: File(("n", 3, "h", "w")).classes(3),
        r"takes \?×3×\?×\?: say how large its images are$",
    ),
    "not square": (lambda: File((1, 3, 8, 9)).classes(3), "takes 1×3×8×9: say how large"),
    "gray": (
        lambda: File((1, 1, 8, 8)).classes(1),
        "1×1×8×8, which has no axis of 3 channels: choose",
    ),
    "a vector": (lambda: File((1, 3)).then("Relu"), "takes float with 2 axes .image., not images"),
    "a picture out": (
        lambda: File().then("Relu"),
        "gives 1×3×8×8 numbers for an image, not one a class",
    ),
    "weights of the image": (
        lambda: File().then("GlobalAveragePool").node("Conv", "image", "t0_0").classes(1),
        "Conv the_Conv_1: weights and sizes that depend on the image are not read",
    ),
    "quantized": (
        lambda: (
            (f := File())
            .then("QuantizeLinear", f.constant(0.1))
            .then("DequantizeLinear", f.constant(0.1))
            .classes(3)
        ),
        "is quantized already .DequantizeLinear.: give the float network",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_not_read_is_named_with_the_reason(name: str, tmp_path: Path) -> None:
    build, message = REFUSED[name]
    file = build().save(tmp_path)
    with pytest.raises(ConversionError, match=message):
        read_onnx(file, size=None, channels=3)


def test_another_size_than_the_file_has_is_refused(tmp_path: Path) -> None:
    file = File().classes(3).save(tmp_path)
    with pytest.raises(ConversionError, match="takes 1×3×8×8, not images of 16×16 pixels"):
        read_onnx(file, size=16, channels=3)


def test_two_inputs_or_outputs_are_refused_by_name(tmp_path: Path) -> None:
    file = File().classes(3)
    path = file.save(tmp_path, outputs=["t1_0", file.last])
    with pytest.raises(ConversionError, match=r"has 2 outputs \(t1_0, t2_0\), not one"):
        read_onnx(path, size=8, channels=3)
    model = onnx.load(path)
    model.graph.output.pop(0)
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))
    onnx.save(model, path)
    with pytest.raises(ConversionError, match=r"has 2 inputs \(image, mask\), not one"):
        read_onnx(path, size=8, channels=3)


def test_what_is_no_onnx_file_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "f.onnx").write_bytes(b"PK\x03\x04 not a model")
    with pytest.raises(BundleError, match=r"f.onnx is not an ONNX file: [^\n]*$"):
        read_onnx(tmp_path / "f.onnx", size=8, channels=3)


# Normalisation


class Seen(nn.Module):
    """Gives its input."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def seen(normalisation: Normalisation, pixel: tuple[int, int, int]) -> list[float]:
    """Return what a network is given of one RGB pixel."""
    network = normalised(Seen(), normalisation, channels=3)
    ours = (torch.tensor(pixel, dtype=torch.float32) - 128) / 128
    with torch.inference_mode():
        return network(ours.reshape(1, 3, 1, 1)).flatten().tolist()


def test_pixels_are_normalised_as_the_network_wants_them() -> None:
    by_hand = [(200 - 123.675) / 58.395, (0 - 116.28) / 57.12, (255 - 103.53) / 57.375]
    assert seen(IMAGENET, (200, 0, 255)) == pytest.approx(by_hand, abs=1e-6)
    assert seen(Normalisation(mean=(0,), std=(255,)), (0, 51, 255)) == pytest.approx([0, 0.2, 1])
    caffe = Normalisation(mean=(103.939, 116.779, 123.68), std=(1,), bgr=True)
    assert seen(caffe, (10, 20, 30)) == pytest.approx([-73.939, -96.779, -113.68], abs=1e-4)


def test_a_network_that_wants_what_ours_want_stays_as_it_is() -> None:
    network = Seen()
    assert normalised(network, Normalisation(mean=(128,), std=(128,)), channels=3) is network


def test_a_normalisation_of_other_units_is_refused() -> None:
    with pytest.raises(ValueError, match=r"multiply both by 255 \(std 58.395,57.12,57.375\)"):
        Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    with pytest.raises(ValueError, match="finite numbers"):
        Normalisation(mean=(float("nan"),), std=(255,))
    with pytest.raises(ValueError, match="mean is one number or 3, not 2"):
        normalised(Seen(), Normalisation(mean=(1, 2), std=(255,)), channels=3)


# Labels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n\nb\n", "line 2 is empty"),
        ("a\nb\na\n", "line 3 is a again"),
        ("a\n", "has 1 labels: two or more"),
    ],
)
def test_labels_that_cannot_be_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_labels(tmp_path / "labels.txt")


def test_a_missing_file_of_labels_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--labels .*none.txt is no file: the labels"):
        read_labels(tmp_path / "none.txt")


def test_labels_are_read_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes("\ufeffzebra\r\nçay bahçesi\r\n\r\n".encode())
    assert read_labels(tmp_path / "labels.txt") == ("zebra", "çay bahçesi")


# The command


def leansight(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, in a process of its own."""
    command = [sys.executable, "-c", MAIN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)


# Not in the order of the alphabet: nobody sorts the outputs of a network for us.
LABELS = ("disc", "bars", "cross")


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A small network that has learnt shapes by a normalisation of its own."""
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6()),
        *(nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 3)),
    )
    photos, classes = shapes.photos(300, seed=5)
    prepare = Preprocessing(size=32)
    pixels = IMAGENET(np.concatenate([prepare(photo) for photo in photos]))
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    targets = torch.tensor([LABELS.index(shapes.LABELS[c]) for c in classes])
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for batch in torch.arange(300).repeat(8).split(30):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(images[batch]), targets[batch]).backward()
        optimiser.step()
    return network.eval()


class ChannelsLast(nn.Module):
    """Takes (N, S, S, C) and gives probabilities."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.network(x.permute(0, 3, 1, 2)), dim=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = shapes.write_data_set(tmp_path_factory.mktemp("data") / "shapes")
    (root.parent / "labels.txt").write_text("\n".join(LABELS) + "\n")
    return root


@pytest.fixture(scope="module")
def model(trained: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As an ONNX file for channels last."""
    file = tmp_path_factory.mktemp("model") / "shapes.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            ChannelsLast(trained), (torch.zeros(1, 32, 32, 3),), str(file), dynamo=False
        )
    return file


def options(data: Path, out: Path) -> list[str]:
    return [
        *("--data", str(data), "--labels", str(data.parent / "labels.txt"), "--out", str(out)),
        *("--colour", "rgb", "--mean", "123.675,116.28,103.53", "--std", "58.395,57.12,57.375"),
    ]


@pytest.fixture(scope="module")
def exported(
    model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, subprocess.CompletedProcess[str]]:
    out = tmp_path_factory.mktemp("bundle") / "shapes.bundle"
    result = leansight("export", model, *options(data, out), "--max-drop", 5)
    assert result.returncode == 0, result.stderr
    return Bundle.load(out), result


Exported = tuple[Bundle, subprocess.CompletedProcess[str]]


def share_right(bundle: Path, model_format: str, data: Path) -> float:
    result = leansight("classify", bundle, data, "--format", model_format, "--json")
    assert result.returncode == 0, result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(answers) == 72
    return float(np.mean([a["label"] == Path(a["path"]).parent.name for a in answers]))


@pytest.mark.slow
@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
def test_a_network_from_elsewhere_classifies_as_a_bundle(
    exported: Exported, data: Path, model_format: str
) -> None:
    bundle, result = exported
    assert result.stdout.splitlines()[-1] == f"bundle: {bundle.path}"
    assert bundle.labels == LABELS
    assert share_right(bundle.path, model_format, data) > 0.9


@pytest.mark.slow
def test_the_int8_files_need_no_transposition(exported: Exported) -> None:
    bundle, _ = exported
    tflite = Tflite(bundle.read("model.tflite"))
    kinds_of = {
        kind: {TYPES[tflite.tensors[i].type] for i in (*inputs, output)}
        for kind, inputs, output in tflite.operators
    }
    assert "TRANSPOSE" not in kinds_of
    floats = {kind for kind, types in kinds_of.items() if "FLOAT32" in types}
    assert floats <= {"QUANTIZE", "DEQUANTIZE"}  # at the ends
    kinds = [node.op_type for node in Onnx(bundle.read("model.onnx")).nodes]
    assert "Transpose" not in kinds
    assert kinds.count("Conv") == 4  # three, and the normalisation


@pytest.mark.slow
def test_the_bundle_remembers_the_file_it_came_from(exported: Exported) -> None:
    bundle, _ = exported
    origin = bundle.provenance["origin"]
    assert (origin["file"], origin["ends_in"]) == ("shapes.onnx", "softmax")
    assert origin["mean"] == list(IMAGENET.mean)
    assert origin["difference"] < 1e-4
    assert bundle.provenance["images"] == {"validation": 12, "test": 0, "calibration": 60}
    assert bundle.preprocessing == Preprocessing(size=32)


@pytest.mark.slow
def test_a_torch_network_is_exported_in_python(trained: nn.Module, tmp_path: Path) -> None:
    prepare = Preprocessing(size=32)
    photos, classes = shapes.photos(60, seed=9)
    pixels = np.concatenate([prepare(photo) for photo in photos])
    named = np.array([LABELS.index(shapes.LABELS[c]) for c in classes])
    draft = Bundle(
        path=tmp_path / "torch.bundle",
        name="torch",
        labels=LABELS,
        preprocessing=prepare,
        decision=DecisionPolicy(),
        precision="float32",
    )
    reports = export_network(
        normalised(trained, IMAGENET, channels=3),
        draft,
        ExportImages(
            calibration=pixels[:30],
            validation=ImageSet(pixels=pixels[30:], classes=named[30:]),
            golden=photos[:2],
        ),
        ExportOptions(promise=Promise(max_drop=0)),
        progress=lambda *_: None,
    )
    assert reports["validation"].formats[0].accuracy > 0.9
    classifier = Classifier.load(draft.path)
    with torch.inference_mode():
        exact = trained(torch.from_numpy(IMAGENET(pixels)).permute(0, 3, 1, 2)).argmax(1)
    assert [classifier(photo).label for photo in photos] == [LABELS[i] for i in exact]


@pytest.fixture
def refusal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[list[str]], str]:
    """Return the one line with which the command ends, in this process."""

    def run(arguments: list[str]) -> str:
        monkeypatch.setattr(sys, "argv", ["leansight", "export", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        written = capsys.readouterr()
        assert (stopped.value.code, written.out) == (1, "")
        return written.err.splitlines()[-1]

    return run


Refusal = Callable[[list[str]], str]


def test_what_a_network_does_not_say_is_asked_for(
    tmp_path: Path, data: Path, refusal: Refusal
) -> None:
    file = str(File().classes(3, 3).save(tmp_path))
    out = tmp_path / "out"
    line = refusal([file, "--out", str(out), "--colour", "rgb"])
    assert line.endswith("does not say of itself --data, --labels, --mean, --std: give them")
    line = refusal([str(tmp_path), "--out", str(out), "--mean", "0"])
    assert line.endswith("--mean: of a run that is known already. Leave it out")
    (tmp_path / "weights.pt").touch()
    line = refusal([str(tmp_path / "weights.pt"), "--out", str(out)])
    assert "of torch weights the network is missing" in line
    line = refusal([str(tmp_path / "gone.onnx"), *options(data, out)])
    assert line.endswith("gone.onnx does not exist")


def test_labels_network_and_images_must_belong_together(
    tmp_path: Path, data: Path, refusal: Refusal
) -> None:
    out = tmp_path / "out"
    four = str(File().classes(3, 4).save(tmp_path))
    line = refusal([four, *options(data, out)])
    assert "gives 4 numbers for an image" in line
    assert "has 3 labels: one for each is expected" in line
    labels = tmp_path / "labels.txt"
    labels.write_text("disc\nbar\nbars\nring\n")
    line = refusal([four, *options(data, out), "--labels", str(labels)])
    assert line.endswith(
        f"{data} has images of cross, which {labels} does not name: it names disc; bar; bars; ring"
    )
    three = str(File().classes(3, 3).save(tmp_path))
    line = refusal([three, *options(data, out), "--mean", "1,2"])
    assert line.endswith("mean is one number or 3, not 2")
    line = refusal([three, *options(data, out), "--std", "0.2"])
    assert "multiply both by 255 (std 51)" in line
    line = refusal([three, *options(data, out), "--set", "model.width=3"])
    assert "of a network that is trained already, data, split, preprocessing" in line
    line = refusal([three, *options(data, out), "--set", "task=both"])
    assert "task must be one of classification, multilabel" in line
    assert not out.exists()


def test_a_sigmoid_for_each_label_is_of_many_labels(
    tmp_path: Path, data: Path, refusal: Refusal
) -> None:
    out = tmp_path / "out"
    sigmoids = str(File().classes(3, 3).then("Sigmoid").save(tmp_path))
    line = refusal([sigmoids, *options(data, out), "--set", "task=classification"])
    assert "ends in a sigmoid for each label: leave out --set task=classification" in line
    softmax_file = str(File().classes(3, 3).then("Softmax").save(tmp_path))
    line = refusal([softmax_file, *options(data, out), "--set", "task=multilabel"])
    assert "tells classes apart: leave out --set task=multilabel" in line


# Keras


def python_with_tensorflow() -> str:
    """Return a Python that has it, or skip: TensorFlow is not among leansight's own packages."""
    named = os.environ.get("LEANSIGHT_KERAS_PYTHON")
    if named is None and importlib.util.find_spec("tensorflow") is None:
        pytest.skip("name a Python with tensorflow and tf2onnx in LEANSIGHT_KERAS_PYTHON")
    return named or sys.executable


MAKE_MODELS = """
import sys
import keras, numpy as np
from keras import layers
keras.utils.set_random_seed(1)
model = keras.Sequential([
    keras.Input((16, 16, 3)), layers.Rescaling(1 / 127.5, offset=-1),
    layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False), layers.BatchNormalization(),
    layers.ReLU(6.0), layers.DepthwiseConv2D(3, padding="same"), layers.MaxPooling2D(),
    layers.Flatten(), layers.Dense(3, activation="softmax"),
])
images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3)).astype(np.float32)
model.compile("adam", "mse")
model.fit(images, np.eye(3)[[0, 1, 2, 0, 1]], epochs=3, verbose=0)
model.save("model.keras")
model.save("model.h5")
model.export("saved", verbose=False)
np.savez("expected.npz", images=images, outputs=model.predict(images, verbose=0))
"""


@pytest.fixture(scope="module")
def keras_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    command = [python_with_tensorflow(), "-c", MAKE_MODELS]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.keras", "model.h5", "saved"])
def test_a_keras_model_gives_what_keras_gives(
    keras_models: Path, name: str, tmp_path: Path
) -> None:
    file = tmp_path / "model.onnx"
    convert_keras(keras_models / name, file, keras_python=Path(python_with_tensorflow()))
    classifier = read_onnx(file, size=None, channels=3)
    assert (classifier.size, classifier.channels_last, classifier.end) == (16, True, "softmax")
    network = normalised(classifier.network, Normalisation(mean=(0,), std=(1,)), channels=3)
    expected = np.load(keras_models / "expected.npz")
    logits = predict(network, expected["images"].astype(np.uint8))
    np.testing.assert_allclose(softmax(logits), expected["outputs"], atol=1e-5)


def test_a_python_without_tensorflow_is_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "model.keras").touch()
    bare = tmp_path / "python"  # -S: without what is installed
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(ConversionError, match=r"and name keras/bin/python$"):
        convert_keras(tmp_path / "model.keras", tmp_path / "model.onnx", keras_python=bare)


def test_what_tensorflow_says_of_a_bad_model_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "model.keras").touch()
    stand_in = tmp_path / "python"
    stand_in.write_text("#!/bin/sh\necho warnings >&2\necho 'ValueError: no layer X' >&2\nexit 1\n")
    stand_in.chmod(0o755)
    with pytest.raises(ConversionError, match=r"cannot convert .*keras: ValueError: no layer X"):
        convert_keras(tmp_path / "model.keras", tmp_path / "model.onnx", keras_python=stand_in)
