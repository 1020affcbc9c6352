from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_models
from numpy.typing import NDArray

from leansight.runtime.classifier import Classifier
from leansight.runtime.errors import DataError
from leansight.runtime.images import read_image
from leansight.runtime.preprocessing import Preprocessing
from leansight.sdk.augmentation.geometric import Mirror
from leansight.sdk.augmentation.photometric import Exposure
from leansight.sdk.data.layouts.detect import find_samples
from leansight.sdk.data.samples import Sample
from leansight.sdk.evaluation.answers import BATCH, AnsweringModel, ask, load_model
from leansight.sdk.evaluation.evaluate import measure_report


def model_of(bundle: Path, **changes: object) -> AnsweringModel:
    loaded = load_model(bundle)
    return AnsweringModel(**{**vars(loaded), **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_a_bundle_s_answers_are_its_classifier_s(tiny_bundle: Path, data: Path, kind: str) -> None:
    samples = find_samples(data)
    answers = ask(load_model(tiny_bundle, model_format=kind), data, samples)  # type: ignore[arg-type]
    classifier = Classifier.load(tiny_bundle, model_format=kind)  # type: ignore[arg-type]
    assert len(samples) > 2 * BATCH
    for sample, row, score in zip(samples, answers.probabilities, answers.scores, strict=True):
        expected = classifier(read_image(data / sample.path))
        assert tiny_models.LABELS[row.argmax()] == expected.top[0][0]
        assert score == pytest.approx(expected.score, abs=1e-6)
    assert answers.right.mean() == pytest.approx(11 / 12)
    assert len(set(answers.videos)) == 36


def test_images_are_read_a_little_ahead_and_not_all_at_once(
    tiny_bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = asked = most = 0

    def count(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        nonlocal asked, most
        most, asked = max(most, read - asked), asked + len(pixels)
        return np.zeros((len(pixels), 3), np.float32)

    def pretend(*_: object) -> NDArray[np.uint8]:
        nonlocal read
        read += 1
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr("leansight.sdk.evaluation.answers.read_sample", pretend)
    samples = [Sample(path=Path(f"{i}.png"), labels=("plain",)) for i in range(1000)]
    ask(model_of(tiny_bundle, answer=count), data, samples)
    assert (read, asked) == (1000, 1000)
    assert most <= 6 * BATCH


def test_an_unlabelled_image_is_named(tiny_bundle: Path, data: Path) -> None:
    samples = [Sample(path=Path("plain/0_0.png"), labels=())]
    with pytest.raises(DataError, match=r"plain/0_0.png has 0 labels: one is needed"):
        ask(load_model(tiny_bundle), data, samples)


def test_a_class_that_the_model_does_not_know_is_named(tiny_bundle: Path, data: Path) -> None:
    (data / "level").rename(data / "dotted")
    with pytest.raises(DataError, match=r"the label dotted, which is not of: plain, up"):
        ask(load_model(tiny_bundle), data, find_samples(data))


def test_an_answer_that_is_no_number_is_named(tiny_bundle: Path, data: Path) -> None:
    broken = model_of(tiny_bundle, answer=lambda p: np.full((len(p), 3), np.nan, np.float32))
    with pytest.raises(DataError, match=r"tiny.bundle .* answers 108 images with what"):
        ask(broken, data, find_samples(data))


def test_nothing_to_judge_by_is_an_error(tiny_bundle: Path, data: Path) -> None:
    with pytest.raises(DataError, match="there is no image to judge by"):
        ask(load_model(tiny_bundle), data, [])


def test_labels_in_another_order_are_matched_by_name(tiny_bundle: Path, data: Path) -> None:
    samples, loaded = find_samples(data), load_model(tiny_bundle)
    other = model_of(
        tiny_bundle, labels=loaded.labels[::-1], answer=lambda p: loaded.answer(p)[:, ::-1]
    )
    first, second = (ask(model, data, samples) for model in (loaded, other))
    assert np.array_equal(first.right, second.right)
    assert measure_report(first, second)["comparison"]["only_first"] == 0


def test_a_shifted_copy_is_asked_and_what_it_shows_is_what_counts(
    tiny_bundle: Path, data: Path, tmp_path: Path
) -> None:
    """Mirrored by the shift, or mirrored in the files: the same answers to other labels."""
    one, other = tiny_models.LABELS[:2]
    samples = find_samples(data)
    mirrored = [replace(s, path=Path("mirrored", s.path)) for s in samples]
    for before, after in zip(samples, mirrored, strict=True):
        (tmp_path / after.path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / after.path), read_image(data / before.path)[:, ::-1])
    model = load_model(tiny_bundle)
    expected = ask(model, tmp_path, mirrored)
    found = ask(model, data, samples, shift=[Mirror(probability=1, swapped=((one, other),))])
    swapped = {0: 1, 1: 0}
    for before, row, index, count in zip(
        ask(model, data, samples).logits, found.logits, found.classes, expected.classes, strict=True
    ):
        if count in swapped:
            assert index == swapped[count]
        else:
            np.testing.assert_array_equal(row, before)
    changed = np.isin(expected.classes, list(swapped))
    assert changed.any()
    np.testing.assert_array_equal(found.logits[changed], expected.logits[changed])


def test_what_a_shift_makes_of_an_image_hangs_on_its_name_alone(
    tiny_bundle: Path, data: Path
) -> None:
    model, samples, shift = load_model(tiny_bundle), find_samples(data), [Exposure(stops=2)]
    every = ask(model, data, samples, shift=shift)
    some = ask(model, data, samples[::-7], shift=shift)
    np.testing.assert_array_equal(some.logits, every.logits[::-7])
    assert (every.logits != ask(model, data, samples).logits).any()


def test_a_shift_that_changes_nothing_leaves_the_colours(tiny_bundle: Path, tmp_path: Path) -> None:
    label = tiny_models.LABELS[0]
    (tmp_path / label).mkdir()
    cv2.imwrite(str(tmp_path / label / "blue.png"), np.full((8, 8, 3), (200, 100, 0), np.uint8))
    model = model_of(
        tiny_bundle,
        preprocessing=Preprocessing(size=8, colour="rgb"),
        answer=lambda pixels: pixels.mean(axis=(1, 2)).astype(np.float32),
    )
    asked = ask(model, tmp_path, find_samples(tmp_path), shift=[Exposure()])
    assert asked.logits.tolist() == [[0, 100, 200]]
