"""Run one model in another runtime, in that runtime's own environment, where leansight is not.

    python peer_worker.py PEER MODEL THREADS PIXELS DTYPE CHANNELS_FIRST SPAWNED_NS

It answers in the JSON lines of leansight's own worker. PIXELS (.npy) holds pictures that are
prepared already, (N, H, W, C) uint8: what is timed is inference, from pixels to logits. Processor
time is that of all threads of the process, because some runtimes do not infer in the caller's.
"""

import gc
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Run = Callable[[Array], Array]
Loaded = tuple[Run, "dict[str, str | int]"]  # and what the runtime says of how it runs
WARM_UP_FRAMES = 10
STABLE_BLOCKS = 2
STABLE = 1.02


def main(arguments: "list[str]") -> int:
    """Answer until stdin closes."""
    peer, model, threads, pixels, dtype, channels_first, spawned_ns = arguments
    entered_ns = time.monotonic_ns()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-int(threads) :])
    try:
        images = np.load(pixels)
        loading_ns = time.monotonic_ns()
        taken = Taken(dtype, channels_first=channels_first == "1")
        run, settings = PEERS[peer](model, int(threads), taken)
        loaded_ns = time.monotonic_ns()
        logits = np.asarray(run(images[:1]), np.float64).reshape(-1)
        first_ns = time.monotonic_ns()
        answer(
            import_ms=(entered_ns - int(spawned_ns)) / 1e6,
            load_ms=(loaded_ns - loading_ns) / 1e6,
            first_result_ms=(first_ns - loaded_ns) / 1e6,
            pinned_to=sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
            counters="they are not counted in other runtimes",
            input_shape=[1, *images.shape[1:]],
            outputs=int(logits.size),
            settings={"runtime": peer, **settings},
            clock_ns=clock_ns(),
            logits=logits.tolist(),
            memory=[memory_sample(int(spawned_ns))],
        )
        for line in sys.stdin:
            found = serve(json.loads(line), run, images)
            answer(**found, memory=[memory_sample(int(spawned_ns))])
    except Exception as error:  # noqa: BLE001 -- runtimes raise whatever they like
        answer(error=f"{peer}: " + " ".join(str(error).split())[:300])
        return 1
    return 0


def serve(request: "dict[str, Any]", run: Run, images: Array) -> "dict[str, Any]":
    """Do what a line asks for, and return the answer."""
    if "warm_up_s" in request:
        return {"frames": warm_up(run, images, request["warm_up_s"])}
    if "pixels" in request:
        asked = np.load(request["pixels"])
        return {"logits": [np.asarray(run(one[None])).reshape(-1).tolist() for one in asked]}
    chosen = [(request["first"] + number) % len(images) for number in range(request["frames"])]
    time_frames(run, images, [chosen[0]] * 2)  # the caches are another model's
    times = time_frames(run, images, chosen)
    nothing = [0] * len(times)
    return {
        "times_ns": {
            "preprocess": nothing,
            "inference": [passed for passed, _ in times],
            "decision": nothing,
            "processor": [busy for _, busy in times],
        },
        "counts": {},
    }


def warm_up(run: Run, images: Array, limit_s: float) -> int:
    """Infer until the fastest frame of a block is no news twice in a row; return the frames."""
    end, fastest, old, frames = time.monotonic() + limit_s, sys.maxsize, 0, 0
    while old < STABLE_BLOCKS and time.monotonic() < end:
        times = time_frames(run, images, [0] * WARM_UP_FRAMES)
        frames += len(times)
        best = min(passed for passed, _ in times)
        old = old + 1 if best * STABLE > fastest else 0
        fastest = min(best, fastest)
    return frames


def time_frames(run: Run, images: Array, places: "list[int]") -> "list[tuple[int, int]]":
    """Return for each picture the nanoseconds that passed, and those of the processor."""
    gc.collect()
    gc.disable()
    times = []
    for place in places:
        batch = images[place : place + 1]
        busy, start = time.process_time_ns(), time.perf_counter_ns()
        logits = run(batch)
        end, done = time.perf_counter_ns(), time.process_time_ns()
        if not np.isfinite(logits).all():
            raise ValueError("the network returned a value that is not a finite number")
        times.append((end - start, done - busy))
    gc.enable()
    return times


def clock_ns() -> int:
    """Return what reading the clocks takes of a frame: the fastest of 200."""
    fastest = sys.maxsize
    for _ in range(200):
        start = time.perf_counter_ns()
        for read in (time.process_time_ns, time.perf_counter_ns) * 2:
            read()
        fastest = min(fastest, time.perf_counter_ns() - start)
    return fastest


def memory_sample(spawned_ns: int) -> "dict[str, float | None]":
    """Return this process's memory in bytes, and how many seconds after its start."""
    found: dict[str, float | None] = {"seconds": (time.monotonic_ns() - spawned_ns) / 1e9}
    for name, file, key in (
        ("peak_rss", "status", "VmHWM"),
        ("rss", "status", "VmRSS"),
        ("pss", "smaps_rollup", "Pss"),
    ):
        path = Path("/proc/self", file)
        text = path.read_text() if path.exists() else ""
        match = re.search(rf"^{key}:\s+(\d+) kB$", text, re.MULTILINE)
        found[name] = int(match[1]) * 1024 if match else None
    return found


class Taken:
    """How a leansight graph takes pixels (see leansight.runtime.interpreter)."""

    def __init__(self, dtype: str, *, channels_first: bool) -> None:
        self.dtype, self.channels_first = dtype, channels_first

    def __call__(self, batch: Array) -> Array:
        """Return pixels (1, H, W, C) uint8 as the graph's input."""
        if self.dtype == "float32":
            batch = (batch.astype(np.float32) - np.float32(128)) * np.float32(1 / 128)
        elif self.dtype == "int8":
            batch = (batch ^ np.uint8(0x80)).view(np.int8)
        elif self.dtype != "uint8":
            raise ValueError(f"the model takes {self.dtype} pixels")
        return np.ascontiguousarray(batch.transpose(0, 3, 1, 2)) if self.channels_first else batch


def load_tflite_runtime(model: str, threads: int, as_input: Taken) -> Loaded:
    """Load a .tflite file in tflite-runtime."""
    from tflite_runtime.interpreter import Interpreter

    interpreter = Interpreter(model_path=model, num_threads=threads)
    interpreter.allocate_tensors()
    (place,) = (taken["index"] for taken in interpreter.get_input_details())
    given = interpreter.get_output_details()[0]
    scale, zero = given["quantization"]

    def run(batch: Array) -> Array:
        interpreter.set_tensor(place, as_input(batch))
        interpreter.invoke()
        logits = interpreter.get_tensor(given["index"])
        if logits.dtype != np.float32:
            logits = (logits.astype(np.float32) - zero) * scale
        return np.asarray(logits)

    return run, {"threads": threads}


def load_openvino(model: str, threads: int, as_input: Taken) -> Loaded:
    """Load a .tflite or .onnx file in OpenVINO, on the CPU."""
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    compiled = core.compile_model(core.read_model(model), "CPU", settings)
    request = compiled.create_infer_request()

    def run(batch: Array) -> Array:
        request.infer([as_input(batch)])
        return np.asarray(request.get_output_tensor(0).data)

    told = ("INFERENCE_NUM_THREADS", "NUM_STREAMS", "INFERENCE_PRECISION_HINT")
    return run, {name.lower(): str(compiled.get_property(name)) for name in told}


def load_opencv_dnn(model: str, threads: int, as_input: Taken) -> Loaded:
    """Load a .tflite or .onnx file in OpenCV's module dnn."""
    import cv2

    cv2.setNumThreads(threads)
    is_onnx = model.endswith(".onnx")
    net = cv2.dnn.readNetFromONNX(model) if is_onnx else cv2.dnn.readNetFromTFLite(model)

    def run(batch: Array) -> Array:
        net.setInput(as_input(batch))
        return net.forward()

    return run, {"threads": cv2.getNumThreads()}


def load_mediapipe(model: str, threads: int, as_input: Taken) -> Loaded:
    """Load a .tflite file with metadata in MediaPipe's ImageClassifier, which has one thread."""
    del threads, as_input  # it prepares pictures itself
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=model))
    try:
        classifier = vision.ImageClassifier.create_from_options(options)
    except Exception as error:
        raise ValueError(
            "ImageClassifier needs an RGB input and, in the file, metadata with the normalisation "
            f"and the labels, as `leansight export` writes them ({str(error)[:120]})"
        ) from error

    def run(batch: Array) -> Array:
        rgb = np.ascontiguousarray(batch[0])
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=rgb)
        found = classifier.classify(image).classifications[0].categories
        scores = np.zeros(len(found), np.float32)
        for category in found:
            scores[category.index] = category.score
        return scores

    return run, {}


def answer(**values: object) -> None:
    """Write a line."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


PEERS = {
    "mediapipe": load_mediapipe,
    "tflite-runtime": load_tflite_runtime,
    "opencv-dnn": load_opencv_dnn,
    "openvino": load_openvino,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
