"""Networks of any shape from elsewhere become bundles; what is changed of them is told."""

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import shapes
import torch
from click.testing import Result
from command_line import invoke, refusal
from onnx import TensorProto
from onnx_files import File
from torch import Tensor, nn

from leansight.runtime.bundle import Bundle
from leansight.runtime.classifier import Classifier
from leansight.runtime.preprocessing import Preprocessing
from leansight.sdk.deployment.imported_network import file_digest

PREPARE = Preprocessing(size=(24, 40), fit="letterbox")
BATCH = 4


class TwoOutputs(nn.Module):
    """In float16, for some images at once: the class, and features."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.Conv2d(8, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.ReLU()),
        )
        self.head = nn.Linear(24 * 6 * 10, 3)

    def scores(self, x: Tensor) -> Tensor:
        features: Tensor = self.body(x).reshape(x.shape[0], -1)
        return torch.softmax(self.head(features), 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.scores(x).argmax(1), self.body(x).mean((2, 3))


@pytest.fixture(scope="module")
def network() -> TwoOutputs:
    """It has learnt the shapes between bars, from pixels of 0 to 1."""
    network = TwoOutputs()
    photos, classes = shapes.photos(240, seed=5)
    pixels = torch.from_numpy(np.concatenate([PREPARE(photo) for photo in photos]))
    images, targets = pixels.permute(0, 3, 1, 2) / 255, torch.from_numpy(classes)
    optimiser = torch.optim.Adam(network.parameters(), 0.003)
    for batch in torch.arange(240).repeat(8).split(30):
        optimiser.zero_grad()
        nn.functional.nll_loss(network.scores(images[batch]).log(), targets[batch]).backward()
        optimiser.step()
    return network.eval()


@pytest.fixture(scope="module")
def model(network: TwoOutputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As an ONNX file with its weights beside it."""
    file = tmp_path_factory.mktemp("model") / "wide.onnx"
    half = TwoOutputs().eval()
    half.load_state_dict(network.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            half.half(),
            (torch.zeros(BATCH, 3, 24, 40).half(),),
            str(file),
            dynamo=False,
            input_names=["image"],
            output_names=["class", "features"],
        )
    place = {"location": "wide.weights", "size_threshold": 0}
    onnx.save(onnx.load(file), file, save_as_external_data=True, **place)
    return file


def options(data: Path, out: Path) -> list[str]:
    (out.parent / "labels.txt").write_text("\n".join(shapes.LABELS))
    return [
        *("--data", str(data), "--labels", str(out.parent / "labels.txt"), "--out", str(out)),
        *("--colour", "rgb", "--mean", "0", "--std", "255", "--fit", "letterbox"),
    ]


@pytest.fixture(scope="module")
def exported(
    model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, Result]:
    """From another folder than the file's."""
    out = tmp_path_factory.mktemp("bundle") / "wide.bundle"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(model.parent.parent)
        file = model.relative_to(model.parent.parent)
        limits = ("--max-drop", 10, "--max-class-drop", 40)
        result = invoke("export", file, *options(data, out), "--output", "class", *limits)
    assert result.exit_code == 0, result.output
    return Bundle.load(out), result


@pytest.mark.slow
def test_what_was_changed_of_the_file_is_told_and_stays(exported: tuple[Bundle, Result]) -> None:
    bundle, _ = exported
    origin = bundle.provenance["origin"]
    assert [note.split("(")[0].strip() for note in origin["notes"]] == [
        "ends in ArgMax",
        "computes in float16, and is read as float32",
        f"takes {BATCH} images at once, and is read for one",
        "ends in a softmax, which is left out: it follows in the decision",
    ]
    assert origin["ends_in"] == "softmax"
    assert origin["difference"] < 0.01
    assert bundle.preprocessing == PREPARE


@pytest.mark.slow
def test_the_bundle_says_what_the_network_says(
    exported: tuple[Bundle, Result], network: TwoOutputs
) -> None:
    bundle, _ = exported
    photos, classes = shapes.photos(60, seed=11)
    pixels = torch.from_numpy(np.concatenate([PREPARE(photo) for photo in photos]))
    with torch.inference_mode():
        exact = network.scores(pixels.permute(0, 3, 1, 2) / 255).numpy()
    assert (exact.argmax(1) == classes).mean() > 0.9
    for kind in bundle.formats:
        classifier = Classifier.load(bundle.path, model_format=kind)
        found = [dict(classifier(photo).top) for photo in photos]
        scores = np.array([[each[label] for label in shapes.LABELS] for each in found])
        assert (scores.argmax(1) == exact.argmax(1)).mean() > 0.95
        assert np.abs(scores - exact).mean() < 0.03


@pytest.mark.slow
def test_the_digest_is_of_the_weights_as_well(exported: tuple[Bundle, Result], model: Path) -> None:
    bundle, _ = exported
    assert bundle.provenance["origin"]["sha256"] == file_digest(model)
    weights = model.with_name("wide.weights")
    before = weights.read_bytes()
    try:
        weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        assert file_digest(model) != bundle.provenance["origin"]["sha256"]
    finally:
        weights.write_bytes(before)


def test_what_the_file_does_not_say_is_asked_for_with_the_option(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def line(file: Path, *more: str) -> str:
        arguments = ["export", str(file), *options(data, tmp_path / "out"), *more]
        return refusal(arguments, monkeypatch, capsys)

    any_size = File(("n", 3, "h", "w")).classes(3, 3).save(tmp_path)
    assert line(any_size).endswith("such as 224 or 96x128 (height x width) (--size)")
    fixed = File((1, 3, 8, 12)).classes(3, 3).save(tmp_path)
    assert line(fixed, "--size", "12x8").endswith(
        "not images of 12×8 pixels (height × width) (--size)"
    )
    four = File((1, 4, 8, 8)).classes(4, 3).save(tmp_path)
    assert "images of 4 channels: only gray (1) and colour images (3)" in line(four)
    network = File().classes(3, 3)
    two = network.save(tmp_path, outputs=["t1_0", network.last])
    assert line(two).endswith("name the one that gives a number for each class (--output)")
    assert line(two, "--output", "scores").endswith("there is t1_0, t2_0 (--output)")
    scaled = File(kind=TensorProto.UINT8).then("Cast", to=TensorProto.FLOAT).classes(3, 3)
    assert line(scaled.save(tmp_path)).endswith(
        "takes pixels as they are, uint8 from 0 to 255: set mean to 0 and std to 1 (--mean)"
    )


@pytest.mark.parametrize("size", ["96x", "x", "0x8", "8x8x8", "big", "8x900", "-3", "5000"])
def test_what_is_no_size_is_said_before_anything_is_read(size: str, tmp_path: Path) -> None:
    result = invoke("export", tmp_path / "f.onnx", "--out", tmp_path / "out", f"--size={size}")
    assert result.exit_code == 2
    assert "is no size such as 96x128 (height x width)" in " ".join(result.output.split())


def test_a_bundle_of_before_is_read_as_it_was() -> None:
    values = json.loads('{"size": 24, "colour": "gray", "clahe": null, "fit": "letterbox"}')
    old = Preprocessing.from_dict(values)
    assert (old.version, old.height, old.width) == (1, 24, 24)
