import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from tiny_models import LABELS, stripes

from leansight.runtime.classifier import Classifier
from leansight.runtime.errors import BundleError, InferenceError
from leansight.runtime.stream import isolated_classifier
from leansight.runtime.stream.isolated_classifier import IsolatedClassifier

PICTURE = stripes("level")[..., None].repeat(3, axis=2)


@pytest.fixture
def failing_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles that are called `crashes` and `hangs` do, and the next process starts at once."""
    monkeypatch.setattr(isolated_classifier, "MODULE", "programs.failing_model")
    monkeypatch.setattr(isolated_classifier, "START_INTERVALS_S", (0.0,))
    monkeypatch.setattr(isolated_classifier, "INFERENCE_TIMEOUT_S", 0.5)


def copy(bundle: Path, folder: Path, name: str) -> Path:
    return Path(shutil.copytree(bundle, folder / f"{name}.bundle"))


@pytest.mark.parametrize("label", LABELS)
def test_it_says_what_a_classifier_says(tiny_bundle: Path, label: str) -> None:
    picture = stripes(label)[..., None].repeat(3, axis=2)
    with IsolatedClassifier([tiny_bundle], threshold=0.9) as classifier:
        assert classifier(picture) == Classifier.load(tiny_bundle, threshold=0.9)(picture)
        assert classifier.bundle.path == tiny_bundle
        assert classifier.fallback_reason == ""


def test_a_process_that_is_killed_costs_one_answer(tiny_bundle: Path) -> None:
    with IsolatedClassifier([tiny_bundle]) as classifier:
        before = classifier(PICTURE)
        os.kill(classifier.pid, signal.SIGSEGV)
        with pytest.raises(InferenceError, match=r"bundle: its process ended by itself: SIGSEGV$"):
            classifier(PICTURE)
        assert classifier(PICTURE) == before


@pytest.mark.usefixtures("failing_models")
def test_after_three_failures_the_next_bundle_is_used(tiny_bundle: Path, tmp_path: Path) -> None:
    hangs = copy(tiny_bundle, tmp_path, "hangs")
    with IsolatedClassifier([hangs, tiny_bundle]) as classifier:
        for _ in range(isolated_classifier.FAILURES):
            assert classifier.bundle.path == hangs
            with pytest.raises(InferenceError, match=r"hangs.bundle: no answer for 0.5 s"):
                classifier(PICTURE)
        assert classifier(PICTURE).label == "level"
        assert classifier.bundle.path == tiny_bundle
        assert classifier.fallback_reason == f"{hangs}: no answer for 0.5 s"


@pytest.mark.usefixtures("failing_models")
def test_a_bundle_that_crashes_at_once_gives_way_to_the_next(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    crashes = copy(tiny_bundle, tmp_path, "crashes")
    with IsolatedClassifier([crashes, tiny_bundle]) as classifier:
        assert classifier.bundle.path == tiny_bundle
        assert "its process ended by itself: SIGILL" in classifier.fallback_reason
    with pytest.raises(InferenceError, match="SIGILL"):
        IsolatedClassifier([crashes])


def test_a_bundle_that_cannot_be_read_gives_way_to_the_next(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    with IsolatedClassifier([tmp_path / "none.bundle", tiny_bundle]) as classifier:
        assert classifier.fallback_reason == f"{tmp_path / 'none.bundle'} does not exist"
    with pytest.raises(BundleError, match=r"none.bundle does not exist"):
        IsolatedClassifier([tmp_path / "none.bundle"])


@pytest.mark.usefixtures("failing_models")
def test_between_two_starts_time_passes_and_nothing_waits(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with IsolatedClassifier([copy(tiny_bundle, tmp_path, "hangs")]) as classifier:
        monkeypatch.setattr(isolated_classifier, "START_INTERVALS_S", (1000.0,))
        begin = time.monotonic()
        for _ in range(3):
            with pytest.raises(InferenceError, match="no answer"):
                classifier(PICTURE)
        assert time.monotonic() - begin < 100


def test_signals_do_not_end_the_process(tiny_bundle: Path) -> None:
    with IsolatedClassifier([tiny_bundle]) as classifier:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(classifier.pid, number)
        assert classifier(PICTURE).label == "level"
