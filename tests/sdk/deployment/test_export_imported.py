"""Networks from elsewhere become bundles, and what is missing or does not fit is said."""

import json
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapes
import torch
from command_line import leansight
from int8_files import TYPES, Onnx, Tflite
from onnx_files import File
from torch import Tensor, nn

from leansight.exporters.export import ExportImages, export_network
from leansight.exporters.importers.normalisation import Normalisation, normalised
from leansight.exporters.options import ExportOptions, Promise
from leansight.runtime.bundle import Bundle
from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.preprocessing import Preprocessing
from leansight.runtime.stream.reference import Reference
from leansight.sdk.commands import cli
from leansight.sdk.data.images import ImageSet

IMAGENET = Normalisation(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))


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
    reference = Reference.from_dict(bundle.reference)
    assert set(reference.given) <= set(LABELS)
    assert reference.brightness is not None
    low, high = reference.brightness
    assert 0 < low < high < 255
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
def test_no_temperature_is_fitted_on_images_that_it_may_have_learnt(exported: Exported) -> None:
    bundle, result = exported
    assert bundle.decision.temperature == 1
    assert "temperature 1, not fitted: the network may have learnt these images" in " ".join(
        result.stdout.split()
    )


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
    assert line.endswith("is a network from elsewhere, which needs --data, --labels, --mean, --std")
    line = refusal([str(tmp_path), "--out", str(out), "--mean", "0"])
    assert line.endswith("--mean: a run has its own. Leave it out")
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
    assert "ends in a sigmoid for each label: leave out task=classification (--set)" in line
    softmax_file = str(File().classes(3, 3).then("Softmax").save(tmp_path))
    line = refusal([softmax_file, *options(data, out), "--set", "task=multilabel"])
    assert "tells classes apart: leave out task=multilabel (--set)" in line


@pytest.mark.parametrize(
    ("options_changed", "message", "typed"),
    [
        (("--labels", "{labels}"), "With the labels sorted as text it would be", "(--labels FILE)"),
        (
            ("--mean", "0", "--std", "255"),
            "With the mean and std of ImageNet it would be",
            "(--mean 123.675,116.28,103.53 --std 58.395,57.12,57.375)",
        ),
    ],
)
def test_what_people_get_wrong_is_named_with_what_to_type(
    options_changed: tuple[str, ...],
    message: str,
    typed: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refusal: Refusal,
) -> None:
    # Each class is called by the place of its label in the file that was mixed up.
    numbers = {label: str(number) for label, number in zip(LABELS, (10, 2, 3), strict=True)}
    data = shapes.write_data_set(tmp_path / "shapes", videos=30, seed=8)
    for label, number in numbers.items():
        (data / label).rename(data / number)
    (tmp_path / "labels.txt").write_text("10\n2\n3\n")
    (tmp_path / "mixed.txt").write_text("2\n3\n10\n")
    monkeypatch.setattr("leansight.exporters.export.convert", lambda *_: pytest.fail("converted"))
    out = tmp_path / "out"
    changed = [option.format(labels=tmp_path / "mixed.txt") for option in options_changed]
    line = refusal([str(model), *options(data, out), *changed])
    assert re.search(r"accuracy \d+\.\d% \(.*; chance 33\.3%, always the commonest class \d", line)
    assert message in line
    assert line.endswith(typed)
    assert not out.exists()
