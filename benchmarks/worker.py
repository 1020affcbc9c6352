"""The process that runs one model: `python -m leansight.benchmarks.worker`, started by measure.

It imports only leansight.runtime, so that its memory is what the classifier takes. It answers
in JSON lines on stdout: once when its first result is there, then once for each line on stdin:

- {"warm_up_s": 3}: unmeasured frames until they get no faster, or for that many seconds
- {"frames": 10, "first": 0}: a block of timed frames, which begins at that picture
- {"pixels": FILE}: the logits of prepared images (.npy)
- {"profile": 50}: the times of the operations, of so many frames, where the runtime can tell
- {"meter": true}: why this machine has no meter of energy, "" if it has
- {"energy_s": 2}: what that meter sees in so many seconds
- {"copy_bytes": 1000}: the seconds of a copy

What cannot be run is answered with {"error": ...}.
"""

import gc
import itertools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from leansight.benchmarks.bare_input import bare_input
from leansight.benchmarks.probes.interpreter_settings import settings_of
from leansight.runtime.bundle import Bundle
from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import DecisionPolicy, decide
from leansight.runtime.errors import LeansightError
from leansight.runtime.interpreter import FORMATS, Format, load_interpreter
from leansight.runtime.preprocessing import Image
from leansight.runtime.system.kernel import hold_on_cores, own_memory_bytes
from leansight.runtime.system.processor_counters import ProcessCounters

if TYPE_CHECKING:
    from leansight.benchmarks.probes.captured_frames import CapturedFrames
    from leansight.benchmarks.probes.layer_times import LayerTimes

STEPS: Final = ("preprocess", "inference", "decision")
TIMES: Final = (*STEPS, "processor")
# Of a frame: the three steps on the wall's clock, inference on the processor's (nanoseconds).
Times = tuple[int, int, int, int]
_UNTIMED: Final = 2  # frames before a block: the caches are another model's
_WARM_UP_FRAMES: Final = 10
_STABLE_BLOCKS: Final = 2
_STABLE: Final = 1.02  # a block that is not faster than this shows no more warming up


def main(arguments: list[str]) -> int:
    """Answer until stdin closes.

    The arguments: path, format, threads, number of labels (0: not known), pictures (.npz), a video
    or a camera whose frames are captured ("": none), time of the start (ns).
    """
    path, named_format, threads, labels, pictures, source, spawned_ns = arguments
    entered_ns = time.monotonic_ns()
    try:
        pinned_to = hold_on_cores(int(threads))
        with ProcessCounters() as counters:  # before the interpreter starts its threads
            images = list(np.load(pictures).values())
            captured = capture_from(source) if source else None
            if captured is not None:
                with captured.opened():
                    images = [captured.read()[0]]  # of what is not timed
            memory = [memory_sample(int(spawned_ns))]
            loading_ns = time.monotonic_ns()
            chosen = cast("Format", named_format)
            classifier = load_model(
                Path(path), model_format=chosen, threads=int(threads), labels=int(labels)
            )
            loaded_ns = time.monotonic_ns()
            memory.append(memory_sample(int(spawned_ns)))
            starting_ns = time.monotonic_ns()
            run_once(classifier, images[0])
            first_ns = time.monotonic_ns()
            memory.append(memory_sample(int(spawned_ns)))
            _answer(
                import_ms=(entered_ns - int(spawned_ns)) / 1e6,
                load_ms=(loaded_ns - loading_ns) / 1e6,
                first_result_ms=(first_ns - starting_ns) / 1e6,
                memory=memory,
                pinned_to=pinned_to,
                counters=counters.reason,
                input_shape=classifier.interpreter.input_shape,
                outputs=len(classifier.labels),
                settings=settings_of(classifier.interpreter),
                clock_ns=clock_ns(),
            )
            for line in sys.stdin:
                request = json.loads(line)
                if "profile" in request:
                    _answer(layer_times=profile(Path(path), int(threads), request["profile"]))
                elif "energy_s" in request:
                    _answer(**energy(classifier, images, request["energy_s"]))
                elif "meter" in request:
                    _answer(reason=no_meter())
                elif "copy_bytes" in request:
                    _answer(seconds=copy(request["copy_bytes"]))
                else:
                    answer = serve(request, classifier, images, counters, captured)
                    _answer(**answer, memory=[memory_sample(int(spawned_ns))])
    except (LeansightError, OSError, ValueError) as error:
        place = "" if isinstance(error, LeansightError) else f"{path}: "
        _answer(error=place + " ".join(str(error).split()))
        return 1
    return 0


def capture_from(source: str) -> "CapturedFrames":
    """Return the frames of a video or a camera."""
    from leansight.benchmarks.probes.captured_frames import CapturedFrames  # memory is measured

    return CapturedFrames(source)


def serve(
    request: Mapping[str, Any],
    classifier: Classifier,
    images: Sequence[Image],
    counters: ProcessCounters,
    captured: "CapturedFrames | None" = None,
) -> dict[str, Any]:
    """Do what a line asks for, and return the answer."""
    if "warm_up_s" in request:
        return {"frames": warm_up(classifier, images, request["warm_up_s"])}
    if "pixels" in request:
        pixels = np.load(request["pixels"])
        return {"logits": [classifier.interpreter(image[None]).tolist() for image in pixels]}
    frames, first = request["frames"], request["first"]
    if captured is not None:
        return _captured_block(classifier, captured, frames, counters)
    chosen = [images[(first + number) % len(images)] for number in range(frames)]
    _time_frames(classifier, [chosen[0]] * _UNTIMED)
    before = counters.read()
    times_ns = _time_frames(classifier, chosen)
    return _block(TIMES, times_ns, before, counters.read())


def _captured_block(
    classifier: Classifier, captured: "CapturedFrames", frames: int, counters: ProcessCounters
) -> dict[str, Any]:
    """Capture and classify frames one by one; those that a camera has kept back are not timed."""
    with captured.opened():
        _time_captured(classifier, captured, _UNTIMED)
        before = counters.read()
        times_ns = _time_captured(classifier, captured, frames)
        return _block(("capture", *TIMES), times_ns, before, counters.read())


def _block(
    names: Sequence[str],
    times_ns: Sequence[tuple[int, ...]],
    before: Mapping[str, int],
    after: Mapping[str, int],
) -> dict[str, Any]:
    return {
        "times_ns": dict(zip(names, zip(*times_ns, strict=True), strict=True)),
        "counts": {name: after[name] - before[name] for name in after},
    }


def memory_sample(spawned_ns: int) -> dict[str, float | None]:
    """Return this process's memory in bytes, and how many seconds after its start."""
    return {"seconds": (time.monotonic_ns() - spawned_ns) / 1e9, **own_memory_bytes()}


def profile(path: Path, threads: int, frames: int) -> "LayerTimes":
    """Return the times of the operations of an ONNX model, bare or in a bundle."""
    from leansight.benchmarks.probes.layer_times import onnx_layer_times  # memory is measured

    model = path.read_bytes() if is_bare_model(path) else Bundle.load(path).read("model.onnx")
    return onnx_layer_times(model, threads=threads, frames=frames)


def energy(classifier: Classifier, images: Sequence[Image], seconds: float) -> dict[str, Any]:
    """Return what the machine's meter sees while frames run, or why there is no meter."""
    from leansight.benchmarks.probes.energy import find_meter, measure_energy  # memory is measured

    meter, reason = find_meter()
    if meter is None:
        return {"reason": reason}
    frames = itertools.cycle(images)
    reading = measure_energy(meter, lambda: run_once(classifier, next(frames)), seconds)
    return {"energy": asdict(reading)}


def copy(size_bytes: int) -> float:
    """Return the seconds of a copy of so many bytes."""
    from leansight.benchmarks.probes.copying import copy_seconds  # only the peak's process needs it

    return copy_seconds(size_bytes)


def no_meter() -> str:
    """Return why this machine has no meter of energy, "" if it has one."""
    from leansight.benchmarks.probes.energy import find_meter  # memory is measured

    return find_meter()[1]


def warm_up(classifier: Classifier, images: Sequence[Image], limit_s: float) -> int:
    """Classify until the fastest frame of a block is no news twice in a row; return the frames."""
    end, fastest, old, frames = time.monotonic() + limit_s, sys.maxsize, 0, 0
    while old < _STABLE_BLOCKS and time.monotonic() < end:
        times_ns = _time_frames(classifier, [images[0]] * _WARM_UP_FRAMES)
        frames += len(times_ns)
        best = min(inference for _, inference, _, _ in times_ns)
        old = old + 1 if best * _STABLE > fastest else 0
        fastest = min(best, fastest)
    return frames


def is_bare_model(path: Path) -> bool:
    """Say whether this is a model file outside a bundle."""
    return path.suffix in {f".{known}" for known in FORMATS} and not path.is_dir()


def load_model(path: Path, *, model_format: Format, threads: int, labels: int = 0) -> Classifier:
    """Load a bundle, or a bare model with labels "0", "1", … and the input that it takes.

    Of several outputs of a bare model, the logits are the first of as many numbers as `labels`,
    or the first of all.

    Raises:
        BundleError: it cannot be run.

    """
    if not is_bare_model(path):
        return Classifier.load(path, model_format=model_format, threads=threads)
    interpreter = load_interpreter(
        path.read_bytes(), model_format, threads=threads, name=str(path), classes=labels
    )
    _, height, width, channels = interpreter.input_shape
    logits = interpreter(np.zeros(interpreter.input_shape, np.uint8))
    return Classifier(
        preprocessing=bare_input(height, width, channels),
        interpreter=interpreter,
        labels=tuple(str(number) for number in range(logits.size)),
        policy=DecisionPolicy(),
    )


def run_once(classifier: Classifier, image: Image) -> Times:
    """Return the nanoseconds of preprocessing, inference and decision for one image.

    The fourth is what inference took of the processor by this thread: other programs do not
    count, however long they keep the core.
    """
    clock, processor_clock = time.perf_counter_ns, time.thread_time_ns
    start = clock()
    batch = classifier.preprocessing(image)
    prepared = clock()
    busy = processor_clock()
    began = clock()
    logits = classifier.interpreter(batch)
    inferred = clock()
    busy = processor_clock() - busy
    deciding = clock()
    given = decide(logits, classifier.labels, classifier.policy, task=classifier.task)
    decided = clock()
    if given.status == "invalid output":
        raise ValueError("the network returned a value that is not a finite number")
    return prepared - start, inferred - began, decided - deciding, busy


def clock_ns() -> int:
    """Return what reading the clocks takes of a frame: the fastest of 200."""
    clock, processor_clock = time.perf_counter_ns, time.thread_time_ns
    fastest = sys.maxsize
    for _ in range(200):
        start = clock()
        for read in (clock, clock, processor_clock, clock, clock, processor_clock, clock):
            read()
        fastest = min(fastest, clock() - start)
    return fastest


def _time_frames(classifier: Classifier, images: Sequence[Image]) -> list[Times]:
    gc.collect()
    gc.disable()
    try:
        return [run_once(classifier, image) for image in images]
    finally:
        gc.enable()


def _time_captured(
    classifier: Classifier, captured: "CapturedFrames", frames: int
) -> list[tuple[int, ...]]:
    gc.collect()
    gc.disable()
    try:
        times_ns = list[tuple[int, ...]]()
        for _ in range(frames):
            image, capture_ns = captured.read()
            times_ns.append((capture_ns, *run_once(classifier, image)))
        return times_ns
    finally:
        gc.enable()


def _answer(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
