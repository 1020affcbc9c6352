"""How long each operation of a model takes, where its runtime can tell: ONNX Runtime's profile."""

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from leansight.runtime.extras import onnx_runtime, without_onnx_runtime_log
from leansight.runtime.system.whole_files import scratch_folder

_SUFFIX: Final = "_kernel_time"
_TYPES: Final = {"tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(float)": np.float32}
LayerTimes = list[tuple[str, str, float]]


def onnx_layer_times(model: bytes, *, threads: int, frames: int) -> LayerTimes:
    """Return (name, operation, milliseconds) of what ONNX Runtime runs, in its order.

    These are the operations after its own fusions, so fewer than those of the graph. Medians over
    `frames` black pictures; the profile itself takes time, so they sum up to more than a frame.
    """
    runtime = onnx_runtime()
    with scratch_folder() as folder, without_onnx_runtime_log():
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "profile")
        session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        (pixels,) = session.get_inputs()
        shape = [size if isinstance(size, int) else 1 for size in pixels.shape]
        black = np.zeros(shape, _TYPES[pixels.type])
        for _ in range(frames):
            session.run(None, {pixels.name: black})
        events = json.loads(Path(session.end_profiling()).read_text())
    return _medians(events)


def _medians(events: list[dict[str, Any]]) -> LayerTimes:
    times_us: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
            key = event["name"].removesuffix(_SUFFIX), event["args"]["op_name"]
            times_us[key].append(event["dur"])
    return [(*key, statistics.median(values) / 1000) for key, values in times_us.items()]
