"""Does what a hostile model does happen elsewhere, and does it cost nothing once it has run?"""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_models
from hostile.attacks import forge, replace

from leansight.runtime import first_load
from leansight.runtime.bundle import Bundle
from leansight.runtime.classifier import Classifier
from leansight.runtime.errors import BundleError
from leansight.runtime.first_load import require_runnable
from leansight.runtime.golden import check_golden
from leansight.runtime.interpreter import FORMATS, Format

PICTURE = np.full((16, 16, 3), 90, np.uint8)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    return tmp_path / "cache" / "runnable"


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first load does what the name of the bundle says."""
    monkeypatch.setattr(first_load, "MODULE", "programs.failing_first_load")


def called(name: str, bundle: Path) -> Bundle:
    return Bundle.load(shutil.copytree(bundle, bundle.with_name(f"{name}.bundle")))


@pytest.mark.parametrize("model_format", FORMATS)
def test_what_has_run_once_is_not_tried_again(
    tiny_bundle: Path, cache: Path, model_format: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.load(tiny_bundle)
    Classifier.load(tiny_bundle, model_format=model_format)
    assert [path.name for path in cache.iterdir()] == [f"{bundle.digest}.{model_format}"]
    monkeypatch.setattr(subprocess, "run", None)
    require_runnable(bundle, model_format)
    with pytest.raises(TypeError):
        require_runnable(called("another", _relabelled(tiny_bundle)), model_format)


@pytest.mark.usefixtures("cache", "failing")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("crashes", r"in a process of its own it crashed \(SIGSEGV\)$"),
        ("fills", r"in a process of its own it crashed \(exit code 1\)$"),
        ("spins", r"it took more than \d+ s of a processor$"),
        ("replaced", r"the bundle was replaced while it was loaded$"),
    ],
)
def test_a_model_that_fails_is_refused_in_one_line(
    tiny_bundle: Path, cache: Path, name: str, reason: str
) -> None:
    bundle = called(name, tiny_bundle)
    with pytest.raises(BundleError, match=rf"^model.onnx of {bundle.path} is not run: {reason}"):
        require_runnable(bundle, "onnx")
    assert not cache.exists()


@pytest.mark.usefixtures("cache", "failing")
def test_a_model_that_hangs_is_refused(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_load, "TIMEOUT_S", 4.0)
    with pytest.raises(BundleError, match=r"it did not end within 4 s$"):
        require_runnable(called("hangs", tiny_bundle), "onnx")


@pytest.mark.usefixtures("cache", "failing")
def test_a_library_that_cannot_be_imported_is_not_the_bundles_fault(
    tiny_bundle: Path, cache: Path
) -> None:
    require_runnable(called("unready", tiny_bundle), "onnx")
    assert not cache.exists()


def test_a_cache_that_others_can_write_is_not_believed(
    tiny_bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.load(tiny_bundle)
    require_runnable(bundle, "onnx")
    cache.chmod(0o777)
    monkeypatch.setattr(subprocess, "run", None)
    with pytest.raises(TypeError):
        require_runnable(bundle, "onnx")


def test_without_a_place_for_the_cache_a_bundle_is_loaded_all_the_same(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "file"))
    assert Classifier.load(tiny_bundle, model_format="tflite")(PICTURE).status == "sure"


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("more", [-1, 1])
@pytest.mark.parametrize("load", [Classifier.load, check_golden])
def test_too_few_and_too_many_labels_are_found(tiny_bundle: Path, more: int, load: object) -> None:
    labels = [*tiny_models.LABELS, "another"][: len(tiny_models.LABELS) + more]
    path = tiny_models.golden_bundle(tiny_bundle)
    forge(path, lambda manifest: manifest.update(labels=labels))
    assert callable(load)
    with pytest.raises(BundleError, match=rf"it gives 3 logits, but there are {3 + more} labels"):
        load(path, model_format="tflite")


@pytest.mark.usefixtures("cache")
def test_a_model_that_says_no_numbers_says_so(tiny_bundle: Path) -> None:
    path = tiny_models.golden_bundle(tiny_bundle)
    model = onnx.load_model_from_string((path / "model.onnx").read_bytes())
    (bias,) = (weights for weights in model.graph.initializer if weights.name == "bias")
    bias.raw_data = np.array([np.nan, 0, 0], np.float32).tobytes()
    replace(path, "model.onnx", model.SerializeToString())
    classifier = Classifier.load(path, model_format="onnx")
    prediction = classifier(PICTURE)
    assert (prediction.label, prediction.status, prediction.top) == (None, "invalid output", ())
    with pytest.raises(BundleError, match="not a finite number"):
        classifier.probabilities(PICTURE)
    report = check_golden(path, model_format="onnx")
    assert (report.holds, report.invalid_photos) == (False, report.photos)


@pytest.mark.usefixtures("cache")
def test_a_model_that_always_says_the_same_is_found(tiny_bundle: Path) -> None:
    path = tiny_models.golden_bundle(tiny_bundle)
    model = onnx.load_model_from_string((path / "model.onnx").read_bytes())
    for weights in model.graph.initializer:
        weights.raw_data = bytes(len(weights.raw_data))
    replace(path, "model.onnx", model.SerializeToString())
    report = check_golden(path, model_format="onnx")
    assert (report.holds, report.is_constant) == (False, True)


def _relabelled(bundle: Path) -> Path:
    assert json.loads((bundle / "bundle.json").read_text())["labels"]
    return forge(bundle, lambda manifest: manifest.update(labels=["a", "b", "c"]))
