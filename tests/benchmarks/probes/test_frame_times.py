"""Steps are timed on the wall's clock, inference on the processor's as well."""

import gc
import time
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest

from leansight.benchmarks.probes import frame_times
from leansight.benchmarks.probes.frame_times import run_once, time_frames, time_processor
from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import DecisionPolicy

IMAGE = np.zeros((4, 4), np.uint8)
STEP_S = 0.02


@dataclass
class SleepyClassifier:
    """Each step waits, and takes next to nothing of the processor."""

    logits: tuple[float, float] = (0.0, 1.0)
    labels: tuple[str, str] = ("a", "b")
    policy: DecisionPolicy = field(default_factory=DecisionPolicy)
    task: str = "classification"
    inferred: int = 0

    def preprocessing(self, image: Any) -> Any:  # noqa: ANN401 -- the image itself
        time.sleep(2 * STEP_S)
        return image

    def interpreter(self, _: object) -> Any:  # noqa: ANN401 -- an array
        self.inferred += 1
        assert not gc.isenabled()
        time.sleep(STEP_S)
        return np.asarray(self.logits, np.float32)


def sleepy(*logits: float) -> Classifier:
    return cast("Classifier", SleepyClassifier((logits[0], logits[1])))


def test_each_step_has_its_own_time() -> None:
    ((preprocess, inference, decision),) = time_frames(sleepy(0, 1), [IMAGE])
    assert preprocess >= 2 * STEP_S * 1e9
    assert inference >= STEP_S * 1e9
    assert decision > 0
    assert gc.isenabled()


@pytest.mark.parametrize("at_real_time", [False, True])
def test_the_processors_time_is_that_of_inference_without_its_waiting(
    *, at_real_time: bool
) -> None:
    classifier = sleepy(0, 1)
    busy = time_processor(classifier, [IMAGE] * 3, at_real_time=at_real_time)
    assert len(busy) == 3 == cast("SleepyClassifier", classifier).inferred
    assert all(0 < time_ns < STEP_S * 1e9 / 2 for time_ns in busy)


def test_frames_read_no_clock_of_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clocks:
        perf_counter_ns = staticmethod(time.perf_counter_ns)

    monkeypatch.setattr(frame_times, "time", Clocks)
    gc.disable()
    try:
        assert len(run_once(sleepy(0, 1), IMAGE)) == 3
    finally:
        gc.enable()


def test_a_value_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        time_frames(sleepy(0, float("nan")), [IMAGE])
