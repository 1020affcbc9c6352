import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_models
from numpy.typing import NDArray

from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.errors import DataError
from leansight.runtime.image_files import list_images
from leansight.runtime.images import read_image
from leansight.runtime.interpreter import Format

FORMATS: list[Format] = ["tflite", "onnx"]


@pytest.mark.parametrize("wanted", FORMATS)
def test_it_knows_its_bundle(tiny_bundle: Path, wanted: Format) -> None:
    classifier = Classifier.load(tiny_bundle, model_format=wanted)
    digest = json.loads((tiny_bundle / "bundle.json").read_text())["digest"]
    assert (classifier.name, classifier.digest, classifier.format) == ("tiny", digest, wanted)


def test_all_probabilities_are_in_the_order_of_the_labels(tiny_bundle: Path) -> None:
    classifier = Classifier.load(tiny_bundle)
    grey = np.full((8, 8), 128, np.uint8)  # by hand: logits 4, 0, 0
    expected = np.array([np.exp(4), 1, 1]) / (np.exp(4) + 2)
    assert classifier.probabilities(grey) == pytest.approx(expected, abs=1e-5)
    assert len(classifier(grey).top) == 3
    assert [label for label, _ in classifier(grey, top=1).top] == ["plain"]


def test_probabilities_are_those_after_the_temperature(tiny_bundle: Path) -> None:
    classifier = Classifier.load(tiny_bundle)
    calm = replace(classifier, policy=DecisionPolicy(temperature=4))
    grey = np.full((8, 8), 128, np.uint8)
    assert calm.probabilities(grey)[0] == pytest.approx(np.e / (np.e + 2), abs=1e-5)


def test_another_threshold_shares_the_model(tiny_bundle: Path) -> None:
    classifier = Classifier.load(tiny_bundle)
    strict = classifier.with_threshold(0.99)
    grey = np.full((8, 8), 128, np.uint8)
    assert (classifier(grey).label, strict(grey).label) == ("plain", None)
    assert strict.interpreter is classifier.interpreter
    with pytest.raises(ValueError, match="threshold must be from 0 to 1, not 2"):
        classifier.with_threshold(2)


def test_a_threshold_of_a_label_that_is_not_there_is_refused(tiny_bundle: Path) -> None:
    classifier = Classifier.load(tiny_bundle)
    with pytest.raises(ValueError, match="names 'sea', which is no label"):
        replace(classifier, policy=DecisionPolicy(label_thresholds={"sea": 0.5}))


@pytest.mark.parametrize("wanted", FORMATS)
def test_a_closed_classifier_says_so(tiny_bundle: Path, wanted: Format) -> None:
    with Classifier.load(tiny_bundle, model_format=wanted) as classifier:
        classifier.warm_up()
        shared = classifier.with_threshold(0.9)
    line = rf"^model.{wanted} of .*tiny.bundle is closed: load it again$"
    for closed in (classifier, shared):
        with pytest.raises(ValueError, match=line):
            closed(np.zeros((8, 8), np.uint8))
    classifier.close()  # once more does no harm


# Many images


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a picture of each label, in the order of the labels, and a text file."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for label, name in zip(tiny_models.LABELS, ("a.png", "b.PNG", "c.bmp"), strict=True):
        assert cv2.imwrite(str(folder / name), tiny_models.stripes(label, size=64))
    (folder / "notes.txt").write_text("not a picture")
    return folder


def test_a_batch_gives_each_image_with_its_prediction_in_order(
    tiny_bundle: Path, photos: Path
) -> None:
    classifier = Classifier.load(tiny_bundle)
    files = list_images([photos]) * 20
    images = [*files, *map(read_image, files)]
    pairs = list(classifier.classify_batch(images, top=1))
    assert [id(image) for image, _ in pairs] == [id(image) for image in images]
    assert [p.label for _, p in pairs] == list(tiny_models.LABELS) * 40
    assert all(len(p.top) == 1 for _, p in pairs)
    red = np.zeros((8, 8, 3), np.uint8)
    red[:, 4:] = (255, 0, 0)
    ((_, given),) = classifier.classify_batch([red], rgb=True)
    assert given == classifier(np.ascontiguousarray(red[..., ::-1]))


def test_a_batch_reads_no_more_than_a_few_images_ahead(tiny_bundle: Path) -> None:
    given = 0

    def endless() -> Iterator[NDArray[np.uint8]]:
        nonlocal given
        while True:
            given += 1
            yield np.zeros((8, 8), np.uint8)

    batch = Classifier.load(tiny_bundle).classify_batch(endless())
    for number in range(1, 100):
        next(batch)
        assert number <= given <= number + 4


def test_a_batch_names_files_that_cannot_be_read_and_goes_on(
    tiny_bundle: Path, photos: Path
) -> None:
    classifier = Classifier.load(tiny_bundle)
    files = [photos / "a.png", photos / "notes.txt", photos / "nowhere.png", photos / "b.PNG"]
    bad: dict[Path, str] = {}
    pairs = classifier.classify_batch(files, on_error=lambda f, e: bad.update({f: str(e)}))
    assert [(file.name, p.label) for file, p in pairs] == [("a.png", "plain"), ("b.PNG", "upright")]
    assert bad == {
        files[1]: f"{files[1]} is not an image that OpenCV can read",
        files[2]: f"{files[2]} does not exist",
    }
    with pytest.raises(DataError, match=r"notes.txt is not an image"):
        list(classifier.classify_batch(files))
    with pytest.raises(ValueError, match=r"^images are many: list the files of a folder, or call"):
        list(classifier.classify_batch(str(photos)))
    with pytest.raises(ValueError, match="float64 pixels"):  # a slip of the program
        list(classifier.classify_batch([np.zeros(3)], on_error=lambda *_: None))


# Many frames


@pytest.mark.slow
@pytest.mark.parametrize("wanted", FORMATS)
def test_a_process_does_not_grow_with_its_frames(tiny_bundle: Path, wanted: Format) -> None:
    script = Path(__file__).parents[1] / "perf" / "endurance.py"
    command = [sys.executable, script, tiny_bundle, "--frames", "50000", "--format", wanted]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
