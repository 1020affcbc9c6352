import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_models
from click.testing import CliRunner
from doubles.benchmarks import a_benchmark, a_result
from sklearn.metrics import balanced_accuracy_score

from leansight.benchmarks import peer_launch
from leansight.benchmarks.models import find_models
from leansight.runtime.errors import DataError
from leansight.sdk.commands.bench import command
from leansight.sdk.data.layouts.detect import find_data
from leansight.sdk.evaluation.timed_files import balanced_accuracy, with_accuracy
from leansight.sdk.recipes.schema import DataRecipe

QUICK = ("--runs", "2", "--most-seconds", "0", "--json", "--format", "onnx")


def bench(*arguments: object) -> list[dict[str, object]]:
    words = [str(a) for a in arguments]
    done = CliRunner().invoke(command, [*words, *QUICK], catch_exceptions=False)
    rows: list[dict[str, object]] = json.loads(done.stdout)
    return rows


def test_the_accuracy_of_a_timed_file_is_that_of_its_answers(tiny_bundle: Path, data: Path) -> None:
    """Every tenth video of 12 is labelled wrongly: 11 in 12 images are right."""
    (row,) = bench(tiny_bundle, "--data", data)
    found = row["accuracy"]
    assert isinstance(found, dict)
    assert (found["images"], found["videos"]) == (108, 36)
    assert found["accuracy"]["value"] == pytest.approx(11 / 12)
    assert found["balanced"]["value"] == pytest.approx(11 / 12)
    low, high = found["accuracy"]["low"], found["accuracy"]["high"]
    # As 36 videos tell it, not as 108 images do: the interval of a share is near 2 deviations.
    assert high - low == pytest.approx(4 * (11 / 12 / 12 / 36) ** 0.5, rel=0.4)
    manifest = json.loads((tiny_bundle / "bundle.json").read_text())
    assert found["threshold"] == manifest["decision"]["threshold"]
    assert 0 <= found["kept"]["value"] <= 1


def test_a_bare_file_knows_the_classes_of_the_images_by_the_alphabet(
    tmp_path: Path, tiny_bundle: Path, data: Path
) -> None:
    shutil.copy(tiny_bundle / "model.onnx", tmp_path / "bare.onnx")
    for place, label in enumerate(tiny_models.LABELS):
        (data / label).rename(data / f"{place} {label}")
    (row,) = bench(tmp_path / "bare.onnx", "--data", data)
    found = row["accuracy"]
    assert isinstance(found, dict)
    assert found["accuracy"]["value"] == pytest.approx(11 / 12)


def test_the_number_of_classes_picks_the_logits_among_several_outputs(
    tmp_path: Path, tiny_bundle: Path, data: Path
) -> None:
    model = onnx.load(tiny_bundle / "model.onnx")
    (taken,) = model.graph.input
    flat = onnx.helper.make_node("Flatten", [taken.name], ["features"])
    shape = [d.dim_value for d in taken.type.tensor_type.shape.dim]
    model.graph.node.append(flat)
    model.graph.output.insert(
        0,
        onnx.helper.make_tensor_value_info(
            "features", taken.type.tensor_type.elem_type, (1, math.prod(shape))
        ),
    )
    onnx.save_model(model, tmp_path / "two.onnx")
    for place, label in enumerate(tiny_models.LABELS):
        (data / label).rename(data / f"{place} {label}")
    (row,) = bench(tmp_path / "two.onnx", "--data", data)
    found = row["accuracy"]
    assert isinstance(found, dict), row["accuracy_failure"]
    assert found["accuracy"]["value"] == pytest.approx(11 / 12)


def test_labels_that_do_not_fit_are_a_line_of_that_row(tiny_bundle: Path, data: Path) -> None:
    label = tiny_models.LABELS[0]
    (data / label).rename(data / "unknown")
    (row,) = bench(tiny_bundle, "--data", data)
    assert row["accuracy"] is None
    assert "has the label unknown, which is not of: " in str(row["accuracy_failure"])
    assert row["macs"] == tiny_models.STRIPES_MACS


def test_an_unlabelled_folder_is_refused_before_anything_is_timed(
    tmp_path: Path, tiny_bundle: Path, data: Path
) -> None:
    (tmp_path / "photos").mkdir()
    shutil.copy(next(data.rglob("*.png")), tmp_path / "photos")
    with pytest.raises(DataError, match="photos"):
        bench(tiny_bundle, "--data", tmp_path / "photos")


def test_balanced_accuracy_is_scikit_learns() -> None:
    random = np.random.default_rng(0)
    classes = random.choice(4, 400, p=[0.7, 0.2, 0.05, 0.05])
    given = np.where(random.random(400) < 0.8, classes, 0)
    videos = np.arange(400) // 4
    found = balanced_accuracy(given == classes, classes, videos)
    assert found.value == pytest.approx(balanced_accuracy_score(classes, given))
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    # Rare classes make it less sure than the accuracy of as many images would be.
    assert found.high - found.low > 0.08


def test_where_all_is_right_there_is_still_doubt() -> None:
    found = balanced_accuracy(np.ones(30, bool), np.arange(30) % 3, np.arange(30))
    assert found.value == found.high == 1
    assert found.low == pytest.approx(0.025 ** (1 / 30))  # Clopper and Pearson's


def test_a_file_that_does_not_run_any_more_is_a_line_of_its_row(
    tmp_path: Path, tiny_bundle: Path, data: Path
) -> None:
    path = Path(shutil.copy(tiny_bundle / "model.tflite", tmp_path / "bare.tflite"))
    models, samples = find_models([path]), find_data(data, DataRecipe()).samples
    path.write_bytes(b"Dear reader,")
    judged = with_accuracy(a_benchmark(a_result("bare.tflite", 1.0)), models, data, samples)
    assert "bare.tflite is not a TFLite model" in judged.results[0].accuracy_failure


def test_another_runtime_is_judged_by_its_own_answers(
    tiny_bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenCV, which the tests' own environment has: its answers are asked for, not ours."""
    monkeypatch.setattr(peer_launch, "peer_python", lambda _: Path(sys.executable))
    (own,) = find_models([tiny_bundle], "onnx")
    peer, samples = own.in_peer("opencv-dnn"), find_data(data, DataRecipe()).samples
    row = a_result(peer.name, 1.0, format="onnx")
    judged = with_accuracy(a_benchmark(row), [peer], data, samples).results[0]
    assert judged.accuracy is not None, judged.accuracy_failure
    assert judged.accuracy.accuracy.value == pytest.approx(11 / 12)
    monkeypatch.setattr(peer_launch.peer_worker, "__file__", "/nowhere/peer_worker.py")
    failed = with_accuracy(a_benchmark(row), [peer], data, samples).results[0]
    assert "can't open file" in failed.accuracy_failure
