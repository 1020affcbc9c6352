"""Networks from elsewhere: what is read gives what ONNX Runtime gives on the original file."""

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import timm
import torch
import torchvision
from onnx import TensorProto, helper
from onnx_files import File, given, numbers, pictures, require_equal, runtime
from torch import nn

from leansight.exporters.errors import ConversionError
from leansight.exporters.importers import onnx_reader
from leansight.exporters.importers.onnx_reader import largest_difference, read_onnx
from leansight.runtime.decision import softmax
from leansight.runtime.errors import BundleError

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
    names = [node.name for node in classifier.network.graph.nodes]
    assert [name for name in names if "permute" in name] == ["permute"]


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


def test_pixels_may_be_bytes(tmp_path: Path) -> None:
    file = File((1, 8, 8, 3), kind=TensorProto.UINT8)
    file.then("Cast", to=TensorProto.FLOAT).then("Mul", file.constant(1 / 255))
    file.then("Transpose", perm=[0, 3, 1, 2])
    saved = file.then("Conv", file.constant(numbers(6, 3, 3, 3))).classes(6).save(tmp_path)
    classifier = read_onnx(saved, size=None, channels=3)
    assert classifier.takes_bytes
    assert classifier.notes == ("takes pixels as they are, uint8 from 0 to 255",)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8)).astype(np.float32)
    exact = classifier.run(pixels.transpose(0, 2, 3, 1))
    assert np.ptp(exact, axis=0).max() > 0.01
    np.testing.assert_allclose(given(classifier, pixels), exact, atol=1e-5)


def mixing(file: File) -> File:
    """Make channels of the images of a batch."""
    return file.then("Reshape", file.constant([3, 8, 8, 8], np.int64))


REFUSED: dict[str, tuple[Callable[[], File], str]] = {
    "unknown operator": (
        lambda: File().then("Det").classes(3),
        r"has the operator Det \(the_Det_0\), which leansight does not read$",
    ),
    "another SELU": (
        lambda: File().then("Selu", alpha=1.7).classes(3),
        "Selu the_Selu_0: a SELU with other constants than its own is not read",
    ),
    "images that are mixed": (
        lambda: mixing(File((8, 3, 8, 8))).classes(8),
        "Reshape the_Reshape_0 mixes the 8 images that the network takes at once: export it for",
    ),
    "one image of several": (
        lambda: (
            (f := File((8, 3, 8, 8)))
            .classes(3, 5)
            .then("Slice", *(f.constant([n], np.int64) for n in (0, 1, 0)))
        ),
        "gives 1×5 numbers for the 8 images that it takes at once: export it for one",
    ),
    "no size": (
        lambda: File(("n", 3, "h", "w")).classes(3),
        r"takes \?×3×\?×\? \(image\): say how large its images are, such as 224 or 96x128",
    ),
    "half a size": (
        lambda: File((1, 3, 8, "w")).classes(3),
        r"takes 1×3×8×\? \(image\): say how large its images are",
    ),
    "gray": (
        lambda: File((1, 1, 8, 8)).classes(1),
        r"1×1×8×8 \(image\), images of 1 channel, which are gray$",
    ),
    "four channels": (
        lambda: File((1, 4, 8, 8)).classes(4),
        r"1×4×8×8 \(image\), images of 4 channels: only gray \(1\) and colour images \(3\) can",
    ),
    "two channels, last": (
        lambda: File((1, 8, 8, 2)).then("Transpose", perm=[0, 3, 1, 2]).classes(2),
        r"1×8×8×2 \(image\), images of 2 channels: only gray",
    ),
    "any number of channels": (
        lambda: File((1, "c", 8, "w")).classes(3),
        r"1×\?×8×\? \(image\) and does not say how many channels",
    ),
    "no channels": (lambda: File((1, 64, 8, 64)).classes(64), "which has no axis of 3 channels$"),
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
    for size, shown in ((16, "16×16"), ((8, 16), "8×16")):
        message = rf"takes 1×3×8×8 \(image\), not images of {shown} pixels \(height × width\)"
        with pytest.raises(ConversionError, match=message):
            read_onnx(file, size=size, channels=3)


def test_two_inputs_are_refused_by_name(tmp_path: Path) -> None:
    file = File().node("Mul", "image", "mask").classes(3)
    path = file.save(tmp_path)
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))
    onnx.save(model, path)
    with pytest.raises(ConversionError, match=r"has 2 inputs \(image, mask\), not one"):
        read_onnx(path, size=8, channels=3)


def test_what_is_no_onnx_file_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "f.onnx").write_bytes(b"PK\x03\x04 not a model")
    with pytest.raises(BundleError, match=r"f.onnx is not an ONNX file: [^\n]*$"):
        read_onnx(tmp_path / "f.onnx", size=8, channels=3)


def test_a_full_disk_is_not_blamed_on_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    (folder / "simplified.onnx").symlink_to("/dev/full")
    monkeypatch.setattr(onnx_reader, "scratch_folder", lambda: nullcontext(folder))
    file = write(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), tmp_path / "a.onnx", size=8, way="older"
    )
    with pytest.raises(
        ConversionError, match=r"^ONNX Runtime cannot write .*simplified.onnx.*: free some space"
    ):
        read_onnx(file, size=8, channels=3)
