"""What a model's process is asked."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from leansight.benchmarks.machines import RunningModel, ThisMachine
from leansight.benchmarks.models import Model
from leansight.benchmarks.probes.frame_times import STEPS
from leansight.benchmarks.timed_model import TimedModel
from leansight.runtime.errors import BundleError


@pytest.mark.parametrize(
    ("alone", "allowed", "expected"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
def test_real_time_is_for_models_that_all_can_have_it(
    tiny_tflite: bytes, tmp_path: Path, *, alone: bool, allowed: bool, expected: bool
) -> None:
    asked = list[Mapping[str, Any]]()

    def ask(request: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(request)
        return {"memory": [], "times_ns": {}, "counts": {}}

    @contextmanager
    def launch() -> Iterator[RunningModel]:
        yield RunningModel(start={"outputs": 3, "memory": [], "real_time": allowed}, ask=ask)

    file = tmp_path / "a.tflite"
    file.write_bytes(tiny_tflite)
    model = Model(name="a", path=file, format="tflite", digest=None)
    timed = TimedModel(model, launch, 1, alone=alone)
    with ExitStack() as stack:
        timed.launch(stack)
        timed.time_block(7, first=2)
    assert timed.failure == ""
    assert asked[-1] == {"frames": 7, "first": 2, "real_time": alone}
    assert timed.at_real_time is expected


STARTED: Mapping[str, Any] = {
    "outputs": 3,
    "memory": [],
    "real_time": False,
    "settings": {},
    **dict.fromkeys(("import_ms", "load_ms", "first_result_ms"), 1.0),
}


def test_frames_a_second_are_of_all_steps_and_all_frames(
    tiny_tflite: bytes, tmp_path: Path
) -> None:
    """Frames of 10, 30, 10 and 110 ms, one after the other: 4 in 160 ms."""
    steps_ns: dict[str, list[int]] = {
        "preprocess": [1_000_000, 2_000_000],
        "inference": [8_000_000, 27_000_000],
        "decision": [1_000_000, 1_000_000],
        "processor": [],
    }
    slower_ns = {**steps_ns, "inference": [8_000_000, 107_000_000]}

    def ask(request: Mapping[str, Any]) -> dict[str, Any]:
        times_ns = slower_ns if request.get("first") else steps_ns
        return {"memory": [], "times_ns": times_ns, "counts": {}}

    @contextmanager
    def launch() -> Iterator[RunningModel]:
        yield RunningModel(start=STARTED, ask=ask)

    file = tmp_path / "a.tflite"
    file.write_bytes(tiny_tflite)
    model = Model(name="a", path=file, format="tflite", digest=None)
    timed, in_peer = (TimedModel(m, launch, 2) for m in (model, model.in_peer("openvino")))
    for one in (timed, in_peer):
        with ExitStack() as stack:
            one.launch(stack)
            one.time_block(2, first=0)
            one.time_block(2, first=2)
        assert one.failure == ""
    assert timed.result(ThisMachine()).frames_per_s == 25
    assert in_peer.result(ThisMachine()).frames_per_s is None


@pytest.mark.parametrize("failing", ["arena", "profile"])
def test_a_model_that_fails_only_in_its_last_launch_keeps_its_row(
    tiny_onnx: bytes, tmp_path: Path, failing: str
) -> None:
    block = {"times_ns": {**{step: [1] for step in STEPS}, "processor": []}, "counts": {}}

    def ask(request: Mapping[str, Any]) -> dict[str, Any]:
        if failing in request:
            raise BundleError("a: its process was killed by SIGSEGV")
        return {**block, "memory": [], "arena_bytes": 77}

    @contextmanager
    def launch() -> Iterator[RunningModel]:
        yield RunningModel(start=STARTED, ask=ask)

    file = tmp_path / "a.onnx"
    file.write_bytes(tiny_onnx)
    timed = TimedModel(Model(name="a", path=file, format="onnx", digest=None), launch, 2)
    with ExitStack() as stack:
        timed.launch(stack)
        timed.time_block(1, first=0)
    timed.profile()
    assert timed.failure == ""
    assert timed.result(ThisMachine()).arena_bytes == (77 if failing == "profile" else None)
    assert timed.detail(ThisMachine()).profile_failure == "its process was killed by SIGSEGV"


@pytest.mark.parametrize(
    ("launches", "expected"),
    [
        ([(10, [15, 40, 30]), (20, [55])], 35),
        ([(10, [50]), (20, [25])], 40),
        ([(None, [None]), (None, [None])], None),
    ],
)
def test_the_models_memory_is_the_most_of_all_launches_above_its_runtime(
    tiny_tflite: bytes,
    tmp_path: Path,
    launches: list[tuple[int | None, list[int | None]]],
    expected: int | None,
) -> None:
    block = {"times_ns": {**{step: [1] for step in STEPS}, "processor": []}, "counts": {}}
    told = iter(launches)

    @contextmanager
    def launch() -> Iterator[RunningModel]:
        runtime_rss, peaks = next(told)
        samples = [{"peak_rss": peak, "rss": peak, "pss": peak, "seconds": 1.0} for peak in peaks]
        started = {**STARTED, "runtime_rss": runtime_rss, "memory": samples[:1]}
        yield RunningModel(start=started, ask=lambda _: {**block, "memory": samples[1:]})

    file = tmp_path / "a.tflite"
    file.write_bytes(tiny_tflite)
    timed = TimedModel(Model(name="a", path=file, format="tflite", digest=None), launch, 2)
    for _ in launches:
        with ExitStack() as stack:
            timed.launch(stack)
            timed.time_block(1, first=0)
    assert timed.failure == ""
    assert timed.result(ThisMachine()).model_rss_bytes == expected
