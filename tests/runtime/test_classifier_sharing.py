"""One classifier in several threads and processes."""

import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_models

from leansight.runtime.classifier import Classifier
from leansight.runtime.interpreter import Format

FORMATS: list[Format] = ["tflite", "onnx"]
PROGRAM = Path(__file__).parents[1] / "helpers" / "programs" / "fork_while_classifying.py"


@pytest.mark.parametrize("wanted", FORMATS)
def test_every_thread_gets_the_answer_to_its_own_picture(tiny_bundle: Path, wanted: Format) -> None:
    classifier = Classifier.load(tiny_bundle, model_format=wanted)
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 8), np.uint8)
    expected = [classifier(image) for image in noise]
    assert len({prediction.score for prediction in expected}) == 8
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: classifier(noise[number % 8]), range(8000)))
    assert found == expected * 1000


def test_threads_may_begin_with_the_first_photos_at_once(tiny_bundle: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), tiny_models.stripes("level", size=64))
    program = (
        "import sys; from concurrent.futures import ThreadPoolExecutor\n"
        "from leansight.runtime import Classifier\n"
        "classifier, photo = Classifier.load(sys.argv[1]), sys.argv[2]\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    for prediction in pool.map(classifier, [photo] * 8): print(prediction.label)"
    )
    for _ in range(5):  # while one imports OpenCV, others may look for it
        command = [sys.executable, "-c", program, tiny_bundle, tmp_path / "photo.png"]
        done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
        assert done.stdout.split() == ["level"] * 8


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("wanted", FORMATS)
def test_a_forked_process_gets_the_same_answers_while_a_thread_classifies(
    tiny_bundle: Path, wanted: Format, threads: int
) -> None:
    arguments = [tiny_bundle, wanted, threads, 5]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", PROGRAM, *map(str, arguments)],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr.replace("INFO: ", "")) == (0, "")


@pytest.mark.parametrize("wanted", FORMATS)
def test_a_process_that_is_spawned_is_given_the_classifier(
    tiny_bundle: Path, wanted: Format
) -> None:
    classifier = Classifier.load(tiny_bundle, model_format=wanted, threshold=0.6)
    pictures = [tiny_models.stripes(label) for label in tiny_models.LABELS]
    expected = [classifier(picture) for picture in pictures]
    for file in tiny_bundle.iterdir():
        file.unlink()  # nobody needs it any more
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as pool:
        assert list(pool.map(classifier, pictures)) == expected


@pytest.mark.parametrize("wanted", FORMATS)
def test_a_pickled_classifier_is_the_same(tiny_bundle: Path, wanted: Format) -> None:
    classifier = Classifier.load(tiny_bundle, model_format=wanted, threshold=0.6)
    again = pickle.loads(pickle.dumps(classifier))  # noqa: S301 -- our own bytes
    picture = tiny_models.stripes("level")
    assert again(picture) == classifier(picture)
    assert (again.policy, again.name, again.format) == (classifier.policy, "tiny", wanted)
    again.close()
    assert classifier(picture).label == "level"  # each has a model of its own
    with pytest.raises(ValueError, match="is closed: load it again"):
        pickle.dumps(again)
