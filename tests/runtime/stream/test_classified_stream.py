import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from programs.cameras import camera
from tiny_models import stripes

from leansight.runtime.classifier import Classifier
from leansight.runtime.stream import classified_stream, drift
from leansight.runtime.stream.camera_stream import CameraStream
from leansight.runtime.stream.classified_stream import ClassifiedStream, StreamResult
from leansight.runtime.stream.drift import DriftMonitor
from leansight.runtime.stream.events import Smoothing
from leansight.runtime.stream.isolated_classifier import IsolatedClassifier
from leansight.runtime.stream.reference import Reference
from leansight.runtime.system.board import Board

WELL = Board(temperature_c=40, troubles=())


@pytest.fixture(autouse=True)
def cool_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classified_stream, "read_board", lambda: WELL)


@pytest.fixture
def classifier(tiny_bundle: Path) -> Iterator[Classifier]:
    with Classifier.load(tiny_bundle) as loaded:
        yield loaded


def until(
    results: ClassifiedStream, is_wanted: Callable[[StreamResult], bool], within_s: float = 60
) -> list[StreamResult]:
    """Return the results up to the first that is wanted."""
    deadline, seen = time.monotonic() + within_s, []
    for result in results:
        seen.append(result)
        if is_wanted(result):
            return seen
        assert time.monotonic() < deadline, [r.health for r in seen[-5:]]
    raise AssertionError("the stream ended")


def in_state(state: str) -> Callable[[StreamResult], bool]:
    return lambda result: result.health.state == state


def write_video(path: Path, pictures: list[np.ndarray]) -> None:
    import cv2

    height, width = pictures[0].shape[:2]
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (width, height))
    for picture in pictures:
        video.write(picture)
    video.release()


def test_each_frame_of_a_file_gets_a_prediction(tmp_path: Path, classifier: Classifier) -> None:
    labels = ["level", "upright", "level"]
    pictures = [stripes(label, 64)[..., None].repeat(3, axis=2) for label in labels]
    write_video(tmp_path / "v.avi", pictures)
    with CameraStream(str(tmp_path / "v.avi")) as frames:
        results = list(ClassifiedStream(frames, classifier, smoothing=Smoothing(begin_share=1)))
    assert [r.prediction and r.prediction.label for r in results] == labels
    assert [r.frame and r.frame.number for r in results] == [0, 1, 2]
    assert {r.health.state for r in results} == {"running"}
    for result in results:
        assert result.age_ms is not None
        assert result.inference_ms is not None
        assert result.age_ms >= result.inference_ms > 0


def test_a_label_in_a_file_is_one_event_which_ends_with_the_stream(
    tmp_path: Path, classifier: Classifier
) -> None:
    picture = stripes("level", 64)[..., None].repeat(3, axis=2)
    write_video(tmp_path / "v.avi", [picture] * 20)
    with CameraStream(str(tmp_path / "v.avi")) as frames:
        results = list(ClassifiedStream(frames, classifier))

    assert [r.frame is not None for r in results] == [True] * 20 + [False]
    (begun,), (ended,) = (r.events for r in results if r.events)
    assert results[-1].events == (ended,)
    assert (begun.label, begun.end_s, ended.label, ended.frames) == ("level", None, "level", 20)
    assert (ended.start_s, ended.end_s) == (0.0, pytest.approx(1.9))
    assert ended.best.image.shape == (64, 64, 3)


def test_a_covered_lens_gets_no_label_and_ends_the_event(
    tmp_path: Path, classifier: Classifier
) -> None:
    shown = stripes("level", 64)[..., None].repeat(3, axis=2)
    write_video(tmp_path / "v.avi", [shown] * 9 + [np.zeros_like(shown)] * 3 + [shown])
    with CameraStream(str(tmp_path / "v.avi")) as frames:
        results = list(ClassifiedStream(frames, classifier))

    assert [r.health.state for r in results[8:13]] == ["running", *["unusable"] * 3, "running"]
    assert results[9].health.reason == "the picture is black: is the lens covered?"
    assert [r.prediction is None for r in results[8:13]] == [False, True, True, True, False]
    assert [(e.label, e.frames) for e in results[9].events] == [("level", 9)]
    assert len(results) == 13


def test_drift_is_a_warning_with_figures_and_labels_go_on(
    tmp_path: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "EVERY_S", 0.05)
    monkeypatch.setattr(drift, "_FEWEST_SAMPLES", 5)
    shown = stripes("level", 64)[..., None].repeat(3, axis=2)
    write_video(tmp_path / "v.avi", [shown] * 10)
    monitor = DriftMonitor(Reference(groups=50, not_sure=0.1, brightness=(1, 9), contrast=(0, 255)))
    with CameraStream(str(tmp_path / "v.avi")) as frames:
        results = [r for r in ClassifiedStream(frames, classifier, drift=monitor) if r.frame]

    assert {r.health.state for r in results[:5]} == {"running"}
    assert {r.health.state for r in results[5:]} == {"degraded"}
    assert all(r.prediction and r.prediction.label == "level" for r in results)
    last = results[-1]
    assert last.drift is not None
    brightness = float(shown.mean())
    assert last.drift.brightness == pytest.approx(brightness, abs=5)
    assert last.health.reason == (
        f"more brightness than the validation images have: {last.drift.brightness:.0f}, not 1 to 9"
    )


def test_a_lost_camera_is_told_without_a_frame(tmp_path: Path, classifier: Classifier) -> None:
    with CameraStream(camera(tmp_path, "hangs", frames=5), stale_after_s=0.3) as frames:
        seen = until(ClassifiedStream(frames, classifier), in_state("stale"))
    assert {r.health.state for r in seen} <= {"reconnecting", "running", "stale"}
    assert all(r.prediction is None and r.frame is None for r in seen if not in_state("running")(r))
    assert sum(r.prediction is not None for r in seen) >= 1


def test_a_frozen_camera_gets_no_label_and_is_opened_again(
    tmp_path: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classified_stream, "FROZEN_AFTER_S", 0.5)
    plan = camera(tmp_path, "freezes", "freezes", "moves")
    with CameraStream(plan) as frames:
        results = ClassifiedStream(frames, classifier)
        seen = until(results, in_state("frozen"))
        assert seen[-1].prediction is None
        assert seen[-1].health.reason == "all frames are equal since 0.5 s"
        until(results, lambda r: r.prediction is not None and r.frame.image[0, 0, 0] > 100)


def test_a_hot_board_is_degraded_and_goes_on(
    tmp_path: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    hot = Board(temperature_c=85, troubles=("the processor is hot: 85 °C",))
    monkeypatch.setattr(classified_stream, "read_board", lambda: hot)
    with CameraStream(camera(tmp_path, "moves")) as frames:
        seen = until(ClassifiedStream(frames, classifier), in_state("degraded"))
    assert seen[-1].health.reason == "the processor is hot: 85 °C"
    assert seen[-1].prediction is not None


def test_a_model_that_crashes_costs_a_frame(tmp_path: Path, tiny_bundle: Path) -> None:
    with (
        IsolatedClassifier([tiny_bundle]) as classifier,
        CameraStream(camera(tmp_path, "moves")) as frames,
    ):
        results = ClassifiedStream(frames, classifier)
        until(results, lambda result: result.prediction is not None)
        os.kill(classifier.pid, signal.SIGSEGV)
        seen = until(results, in_state("degraded"))
        assert seen[-1].prediction is None
        assert seen[-1].health.reason.endswith("its process ended by itself: SIGSEGV")
        until(results, lambda result: result.prediction is not None)
