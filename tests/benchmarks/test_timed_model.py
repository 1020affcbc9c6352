"""What a model's process is asked."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from leansight.benchmarks.machines import RunningModel
from leansight.benchmarks.models import Model
from leansight.benchmarks.timed_model import TimedModel


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
