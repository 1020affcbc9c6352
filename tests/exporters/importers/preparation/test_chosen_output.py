"""Several outputs, and those that choose a class themselves."""

from pathlib import Path

import numpy as np
import pytest
from onnx_files import File, given, numbers, pictures, runtime

from leansight.exporters.errors import ConversionError
from leansight.exporters.importers.onnx_reader import read_onnx
from leansight.runtime.decision import softmax


def test_several_outputs_are_listed_and_one_is_chosen(tmp_path: Path) -> None:
    network = File().classes(3)
    logits, features = network.last, network.nodes[-2].output[0]
    alone = network.save(tmp_path).rename(tmp_path / "alone.onnx")
    file = network.save(tmp_path, outputs=[features, logits])
    with pytest.raises(ConversionError, match=r"2 outputs \(t1_0, t2_0\): name the") as raised:
        read_onnx(file, size=8, channels=3)
    assert raised.value.parameter == "output"
    with pytest.raises(ConversionError, match=r"has no output scores: there is t1_0, t2_0$"):
        read_onnx(file, size=8, channels=3, output="scores")
    images = pictures(4, 8)
    exact = runtime(alone, images)
    classifier = read_onnx(file, size=8, channels=3, output=logits)
    np.testing.assert_allclose(given(classifier, images), exact, atol=1e-5)
    np.testing.assert_allclose(classifier.run(images.transpose(0, 2, 3, 1)), exact, atol=1e-6)
    means = read_onnx(file, size=8, channels=3, output=features)
    np.testing.assert_allclose(given(means, images), images.mean((2, 3)), atol=1e-6)


def test_what_another_output_needs_does_not_matter(tmp_path: Path) -> None:
    network = File().classes(3)
    logits = network.last
    network.node("Det", "image")  # which is not read
    file = network.save(tmp_path, outputs=[logits, network.last])
    read_onnx(file, size=8, channels=3, output=logits)
    with pytest.raises(ConversionError, match="operator Det"):
        read_onnx(file, size=8, channels=3, output=network.last)


@pytest.mark.parametrize("softmax_before", [False, True])
@pytest.mark.parametrize("choice", ["ArgMax", "TopK", "Hardmax"])
def test_a_choice_at_the_end_is_left_out_and_told(
    choice: str, tmp_path: Path, *, softmax_before: bool
) -> None:
    network = File().classes(3)
    if softmax_before:
        network.then("Softmax", axis=1)
    scores = network.save(tmp_path).rename(tmp_path / "scores.onnx")
    match choice:
        case "ArgMax":
            network.then("ArgMax", axis=1, keepdims=0).then("Cast", to=1)
        case "TopK":
            network.node("TopK", network.last, network.constant([2], np.int64), outputs=2)
        case _:
            network.then("Hardmax", axis=1)
    file = network.save(tmp_path)
    classifier = read_onnx(file, size=8, channels=3)
    assert classifier.notes[0].startswith(f"ends in {choice} (the_{choice}_")
    assert classifier.end == ("softmax" if softmax_before else "logits")
    images = pictures(6, 8)
    logits, exact = given(classifier, images), runtime(scores, images)
    np.testing.assert_allclose(softmax(logits) if softmax_before else logits, exact, atol=1e-5)
    np.testing.assert_allclose(classifier.run(images.transpose(0, 2, 3, 1)), exact, atol=1e-6)
    if choice == "ArgMax":
        assert np.array_equal(logits.argmax(1), runtime(file, images).reshape(-1))


def test_an_argmax_over_a_picture_gives_no_class(tmp_path: Path) -> None:
    network = File()
    network.then("Conv", network.constant(numbers(4, 3, 1, 1))).then("ArgMax", axis=1)
    with pytest.raises(ConversionError, match="gives 1×4×8×8 numbers for an image, not"):
        read_onnx(network.save(tmp_path), size=8, channels=3)
