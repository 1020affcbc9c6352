import json
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_models
from click.testing import CliRunner
from numpy.typing import NDArray

from leansight.runtime.bundle import Bundle, write_bundle
from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.errors import BundleError
from leansight.runtime.image_files import list_images
from leansight.runtime.images import read_image
from leansight.runtime.interpreter import Format
from leansight.runtime.preprocessing import Preprocessing
from leansight.sdk.commands import classify as cli_classify

FORMATS: list[Format] = ["tflite", "onnx"]
COMMAND = Path(sys.executable).with_name("leansight")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a picture of each label, one of them further down, and a text file."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for label, name in zip(tiny_models.LABELS, ("a.png", "b.PNG", "more/c.bmp"), strict=True):
        assert cv2.imwrite(str(folder / name), tiny_models.stripes(label, size=64))
    (folder / "notes.txt").write_text("not a picture")
    return folder


# From a picture to a prediction


@pytest.mark.parametrize("wanted", [None, *FORMATS])
@pytest.mark.parametrize("label", tiny_models.LABELS)
def test_a_picture_gets_its_label(tiny_bundle: Path, wanted: Format | None, label: str) -> None:
    classifier = Classifier.load(tiny_bundle, model_format=wanted)
    picture = tiny_models.stripes(label, size=64)
    for image in (picture, cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)):
        prediction = classifier(image)
        assert (prediction.label, prediction.status) == (label, "sure")
        assert prediction.score > 0.5
        assert prediction.top[0] == (label, prediction.score)
        assert sum(score for _, score in prediction.top) == pytest.approx(1)


def test_both_formats_decide_equally(tiny_bundle: Path) -> None:
    tflite, onnx = (Classifier.load(str(tiny_bundle), model_format=f) for f in FORMATS)
    noise = np.random.default_rng(0)
    for shape in [(8, 8), (30, 50, 3), (480, 640, 3)]:
        image = noise.integers(0, 256, shape, np.uint8)
        one, other = tflite(image), onnx(image)
        assert (one.label, one.status) == (other.label, other.status)
        assert dict(one.top) == pytest.approx(dict(other.top), abs=1e-4)


def test_a_threshold_replaces_the_bundles_own(tiny_bundle: Path) -> None:
    grey = np.full((8, 8), 128, np.uint8)  # by hand: logits 4, 0, 0
    score = np.exp(4) / (np.exp(4) + 2)
    for threshold, label in ((None, "plain"), (0, "plain"), (0.97, None), (1, None)):
        prediction = Classifier.load(tiny_bundle, threshold=threshold)(grey)
        assert prediction.label == label
        assert prediction.score == pytest.approx(score, abs=1e-5)
    assert Classifier.load(tiny_bundle, threshold=0.9).policy.temperature == 1


def test_the_bundles_temperature_is_used(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(tiny_bundle)
    calm = replace(
        bundle, path=tmp_path / "calm", decision=DecisionPolicy(threshold=0.5, temperature=4)
    )
    write_bundle(calm, {"model.onnx": bundle.read("model.onnx")})
    prediction = Classifier.load(calm.path)(np.full((8, 8), 128, np.uint8))
    assert prediction.score == pytest.approx(np.e / (np.e + 2), abs=1e-5)


@dataclass
class FakeInterpreter:
    """Gives the same logits for every batch, and keeps the last one."""

    logits: NDArray[np.float32]
    input_shape: tuple[int, int, int, int] = (1, 4, 4, 3)
    batch: NDArray[np.uint8] | None = None

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.batch = batch
        return self.logits

    def close(self) -> None:
        """There is nothing to give back."""


def test_any_interpreter_serves_and_sees_the_preprocessed_batch() -> None:
    interpreter = FakeInterpreter(np.array([0, 5], np.float32))
    preprocessing = Preprocessing(size=4)
    classifier = Classifier(
        preprocessing=preprocessing,
        interpreter=interpreter,
        labels=("no", "yes"),
        policy=DecisionPolicy(),
    )
    image = np.random.default_rng(0).integers(0, 256, (20, 9, 3), np.uint8)
    assert classifier(image).label == "yes"
    assert np.array_equal(interpreter.batch, preprocessing(image))


@pytest.fixture
def tagging_bundle(tiny_bundle: Path) -> Path:
    """The tiny bundle for many labels an image; by hand, each photo has one logit of 4 or more."""
    bundle = Bundle.load(tiny_bundle)
    path = tiny_bundle.with_name("tags.bundle")
    write_bundle(
        replace(bundle, path=path, task="multilabel", decision=DecisionPolicy(threshold=0.5)),
        {name: bundle.read(name) for name in bundle.files},
    )
    return path


@pytest.mark.parametrize("wanted", FORMATS)
def test_a_picture_gets_all_its_labels(tagging_bundle: Path, wanted: Format) -> None:
    grey = np.full((8, 8), 128, np.uint8)  # by hand: logits 4, 0, 0; sigmoid(0) is 0.5
    prediction = Classifier.load(tagging_bundle, model_format=wanted)(grey)
    assert prediction.labels == tiny_models.LABELS
    assert (prediction.label, prediction.status) == ("plain", "sure")
    assert prediction.score == pytest.approx(1 / (1 + np.exp(-4)), abs=1e-5)
    strict = Classifier.load(tagging_bundle, model_format=wanted, threshold=0.9)(grey)
    assert (strict.labels, strict.status) == (("plain",), "not sure")  # of the other two


def test_to_warm_up_is_to_run_what_an_image_runs() -> None:
    interpreter = FakeInterpreter(np.array([0, 5], np.float32))
    Classifier(
        preprocessing=Preprocessing(size=4),
        interpreter=interpreter,
        labels=("no", "yes"),
        policy=DecisionPolicy(),
    ).warm_up()
    assert interpreter.batch is not None


# What is refused


@pytest.mark.parametrize(
    "preprocessing",
    [Preprocessing(size=16, colour="gray"), Preprocessing(size=8, colour="rgb")],
)
@pytest.mark.parametrize("wanted", FORMATS)
def test_a_model_for_another_preprocessing_is_refused(
    tiny_bundle: Path, tmp_path: Path, preprocessing: Preprocessing, wanted: Format
) -> None:
    bundle = Bundle.load(tiny_bundle)
    other = replace(bundle, path=tmp_path / "other", preprocessing=preprocessing)
    write_bundle(other, {name: bundle.read(name) for name in bundle.files})
    with pytest.raises(BundleError, match=r"the model takes \(1, 8, 8, 1\), but .* not belong"):
        Classifier.load(other.path, model_format=wanted)


def test_a_format_that_the_bundle_lacks_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(tiny_bundle)
    write_bundle(replace(bundle, path=tmp_path / "one"), {"model.onnx": bundle.read("model.onnx")})
    assert Classifier.load(tmp_path / "one").labels == tiny_models.LABELS
    with pytest.raises(BundleError, match="has no tflite: it holds onnx"):
        Classifier.load(tmp_path / "one", model_format="tflite")


def test_a_model_that_cannot_run_is_named_with_its_bundle(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = replace(Bundle.load(tiny_bundle), path=tmp_path / "text")
    write_bundle(bundle, {"model.tflite": b"this is no model, but its record is right"})
    with pytest.raises(BundleError, match=r"^model.tflite of .*text is not run: it does not begin"):
        Classifier.load(bundle.path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"threshold": 1.5}, "threshold must be from 0 to 1, not 1.5"),
        ({"threshold": -1}, "threshold must be from 0 to 1, not -1"),
        ({"threads": 0}, "threads must be 1 or more, not 0"),
    ],
)
def test_options_out_of_range_are_refused(
    tiny_bundle: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Classifier.load(tiny_bundle, **values)


# Image files


def test_a_photo_is_turned_as_its_exif_data_says(tmp_path: Path) -> None:
    upright = np.zeros((40, 80, 3), np.uint8)
    upright[:, :40] = (0, 0, 255)  # red on the left
    ok, jpeg = cv2.imencode(".jpg", np.rot90(upright))  # as of a camera held on its side
    assert ok
    # One entry of a TIFF directory: orientation (0x0112), a short, "turn it clockwise" (6).
    directory = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"Exif\0\0" + directory
    data = jpeg.tobytes()
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    (tmp_path / "turned.jpg").write_bytes(data[:2] + segment + data[2:])
    image = read_image(tmp_path / "turned.jpg")
    assert image.shape == (40, 80, 3)
    assert np.abs(image.astype(int) - upright)[:, [0, 20, 60, 79]].max() < 10


def test_a_gray_file_is_read_as_three_channels(photos: Path) -> None:
    image = read_image(photos / "b.PNG")
    assert np.array_equal(image, np.stack([tiny_models.stripes("upright", size=64)] * 3, axis=-1))


def test_a_folder_gives_its_images_at_any_depth_in_order(photos: Path) -> None:
    names = [str(path.relative_to(photos)) for path in list_images([photos])]
    assert names == ["a.png", "b.PNG", "more/c.bmp"]
    assert list_images([photos / "notes.txt"]) == [photos / "notes.txt"]


# The command


def classify(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [COMMAND, "classify", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines on stderr without LiteRT's greeting, which cannot be switched off."""
    return [line for line in done.stderr.splitlines() if not line.startswith("INFO: Created")]


def test_the_command_says_labels_of_files_and_folders(tiny_bundle: Path, photos: Path) -> None:
    done = classify(tiny_bundle, photos / "b.PNG", photos)
    assert (done.returncode, complaints(done)) == (0, [])
    names = ["b.PNG", "a.png", "b.PNG", "more/c.bmp"]
    labels = ["upright", "plain", "upright", "level"]
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    for line, name, label in zip(lines, names, labels, strict=True):
        assert line.startswith(f"{photos / name}: {label} (")
        assert line.endswith("%)")


@pytest.mark.parametrize("wanted", FORMATS)
def test_the_commands_json_has_these_keys(tiny_bundle: Path, photos: Path, wanted: str) -> None:
    done = classify(tiny_bundle, photos, "--json", "--format", wanted, "--threads", 2)
    assert (done.returncode, complaints(done)) == (0, [])
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [list(row) for row in rows] == [["path", "label", "score", "status", "top"]] * 3
    assert [row["path"] for row in rows] == [
        str(photos / name) for name in ("a.png", "b.PNG", "more/c.bmp")
    ]
    assert [row["label"] for row in rows] == list(tiny_models.LABELS)
    classifier = Classifier.load(tiny_bundle)
    for row in rows:
        assert row["status"] == "sure"
        assert 0.5 < row["score"] <= 1
        assert row["top"][0] == [row["label"], row["score"]]
        assert {label for label, _ in row["top"]} == set(tiny_models.LABELS)
        prediction = classifier(tiny_models.stripes(row["label"], size=64))
        assert row["score"] == pytest.approx(prediction.score, abs=1e-5)


def test_a_rejected_picture_is_a_normal_answer(tiny_bundle: Path, photos: Path) -> None:
    arguments = (tiny_bundle, photos / "a.png", "--threshold", 0.99)
    row = json.loads(classify(*arguments, "--json").stdout)
    assert (row["label"], row["status"]) == (None, "not sure")
    assert row["top"][0] == ["plain", row["score"]]
    done = classify(*arguments)
    assert done.returncode == 0
    assert done.stdout.startswith(f"{photos / 'a.png'}: not sure (plain 96.5%, ")
    assert len(done.stdout.splitlines()) == 1


def test_the_command_says_all_labels(tagging_bundle: Path, photos: Path) -> None:
    photo = photos / "a.png"
    given = classify(tagging_bundle, photo).stdout
    assert given == f"{photo}: plain, upright, level (98.2%)\n"
    undecided = classify(tagging_bundle, photo, "--threshold", 0.9).stdout
    assert undecided == f"{photo}: plain; not sure (plain 98.2%, upright 50.0%, level 50.0%)\n"
    row = json.loads(classify(tagging_bundle, photo, "--json").stdout)
    assert list(row) == ["path", "label", "score", "status", "top", "labels"]
    assert row["labels"] == list(tiny_models.LABELS)


def test_the_command_says_so_where_there_is_surely_no_label(
    tiny_bundle: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = Classifier(
        preprocessing=Preprocessing(size=4),
        interpreter=FakeInterpreter(np.array([-5, -6], np.float32)),  # sigmoid(-5) is 0.0067
        labels=("sea", "sun"),
        policy=DecisionPolicy(threshold=0.9),
        task="multilabel",
    )
    monkeypatch.setattr(Classifier, "load", lambda *_, **__: nothing)
    done = CliRunner().invoke(cli_classify.command, [str(tiny_bundle), str(photos / "a.png")])
    assert done.output == f"{photos / 'a.png'}: no label (sea 0.7%, sun 0.2%)\n"


def no_bundle(bundle: Path, photos: Path) -> tuple[Path, Path]:
    return bundle.with_name("nowhere"), photos


def no_photo(bundle: Path, photos: Path) -> tuple[Path, Path]:
    return bundle, photos / "nowhere.png"


def text_as_photo(bundle: Path, photos: Path) -> tuple[Path, Path]:
    return bundle, photos / "notes.txt"


def empty_photo(bundle: Path, photos: Path) -> tuple[Path, Path]:
    (photos / "a.png").write_bytes(b"")
    return bundle, photos / "a.png"


def empty_folder(bundle: Path, photos: Path) -> tuple[Path, Path]:
    (photos / "empty").mkdir()
    return bundle, photos / "empty"


def photo_as_bundle(bundle: Path, photos: Path) -> tuple[Path, Path]:
    del bundle
    return photos / "a.png", photos


def photos_as_bundle(bundle: Path, photos: Path) -> tuple[Path, Path]:
    del bundle
    return photos, photos


def changed_byte(bundle: Path, photos: Path) -> tuple[Path, Path]:
    data = bytearray((bundle / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(data)
    return bundle, photos


def changed_threshold(bundle: Path, photos: Path) -> tuple[Path, Path]:
    manifest = bundle / "bundle.json"
    manifest.write_text(manifest.read_text().replace('"threshold": 0.5', '"threshold": 0.0'))
    return bundle, photos


def truncated_model(bundle: Path, photos: Path) -> tuple[Path, Path]:
    (bundle / "model.tflite").write_bytes((bundle / "model.tflite").read_bytes()[:500])
    return bundle, photos


def other_labels(bundle: Path, photos: Path) -> tuple[Path, Path]:
    loaded = Bundle.load(bundle)
    other = replace(loaded, path=bundle.with_name("other"), labels=("a", "b"))
    write_bundle(other, {name: loaded.read(name) for name in loaded.files})
    return other.path, photos


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (no_bundle, "nowhere does not exist"),
        (no_photo, "nowhere.png does not exist"),
        (text_as_photo, "notes.txt is not an image that OpenCV can read"),
        (empty_photo, "a.png is not an image that OpenCV can read"),
        (empty_folder, "empty holds no image"),
        (photo_as_bundle, "a.png is neither a bundle folder nor a sound zip of one"),
        (photos_as_bundle, "photos has no bundle.json: it is not a bundle"),
        (changed_byte, "model.onnx was changed after it was made"),
        (changed_threshold, "bundle.json was changed after it was made"),
        (truncated_model, "model.tflite is damaged: 500 bytes instead of"),
        (other_labels, "3 logits"),
    ],
)
def test_a_mistake_ends_in_one_line(
    tiny_bundle: Path,
    photos: Path,
    mistake: Callable[[Path, Path], tuple[Path, Path]],
    message: str,
) -> None:
    bundle, images = mistake(tiny_bundle, photos)
    done = classify(bundle, images, "--json")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = complaints(done)
    assert line.startswith("leansight: ")
    assert message in line


@pytest.mark.parametrize("size", [20, 60])
def test_a_truncated_photo_is_refused(tiny_bundle: Path, photos: Path, size: int) -> None:
    photo = photos / "a.png"
    photo.write_bytes(photo.read_bytes()[:size])
    done = classify(tiny_bundle, photo, "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    # OpenCV and libpng may have said more before.
    reason = f"leansight: {photo} is not an image that OpenCV can read: it ends too early"
    assert complaints(done)[-1] == reason


@pytest.mark.parametrize(
    "arguments", [["--threshold", "1.5"], ["--threads", "0"], ["--format", "keras"]]
)
def test_a_wrong_option_is_a_usage_error(
    tiny_bundle: Path, photos: Path, arguments: list[str]
) -> None:
    done = classify(tiny_bundle, photos, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"Invalid value for '{arguments[0]}'" in done.stderr
