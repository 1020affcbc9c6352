"""The process that runs one model: `python -m leansight.benchmarks.worker`, started by measure.

It imports only leansight.runtime, so that its memory is what the classifier takes. It answers
in JSON lines on stdout: once when its first result is there, then once for each line on stdin:

- {"warm_up_s": 3}: unmeasured frames until they get no faster, or for that many seconds
- {"frames": 10, "first": 0, "real_time": true}: a block of timed frames, which begins at that
  picture; then, of one thread, as many again for the processor's clock, at that priority
- {"pixels": FILE}: the logits of prepared images (.npy)
- {"arena": "tflite"}: the memory in which a model of that format computes
- {"profile": 50}: the times of the operations, of so many frames, where the runtime can tell
- {"meter": true}: why this machine has no meter of energy, "" if it has
- {"energy_s": 2}: what that meter sees in so many seconds
- {"copy_bytes": 1000}: the seconds of a copy

What cannot be run is answered with {"error": ...}.
"""

import itertools
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from leansight.benchmarks.bare_input import bare_input
from leansight.benchmarks.probes.frame_times import (
    STEPS,
    UNTIMED,
    clock_ns,
    run_once,
    time_captured,
    time_frames,
    time_processor,
    warm_up,
)
from leansight.benchmarks.probes.interpreter_settings import settings_of
from leansight.runtime.bundle import Bundle
from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.errors import LeansightError
from leansight.runtime.interpreter import FORMATS, Format, import_interpreter, load_interpreter
from leansight.runtime.preprocessing import Image
from leansight.runtime.system.kernel import hold_on_cores, own_memory_bytes
from leansight.runtime.system.processor_counters import ProcessCounters
from leansight.runtime.system.real_time import real_time

if TYPE_CHECKING:
    from leansight.benchmarks.probes.captured_frames import CapturedFrames
    from leansight.benchmarks.probes.layer_times import LayerTimes

T = TypeVar("T")


def main(arguments: list[str]) -> int:
    """Answer until stdin closes.

    The arguments: path, format, threads, number of labels (0: not known), pictures (.npz), a video
    or a camera whose frames are captured ("": none), time of the start (ns).
    """
    entered_ns = time.monotonic_ns()
    path, _, threads, *_, spawned_ns = arguments
    try:
        pinned_to = hold_on_cores(int(threads))
        with ProcessCounters() as counters:  # before the interpreter starts its threads
            loaded, start = _load(arguments, counters)
            _answer(
                import_ms=(entered_ns - int(spawned_ns)) / 1e6,
                pinned_to=pinned_to,
                counters=counters.reason,
                clock_ns=clock_ns(),
                **start,
            )
            for line in sys.stdin:
                _answer(**loaded.answer(json.loads(line)))
    except LeansightError as error:
        return _refuse(str(error))
    except (OSError, ValueError) as error:
        return _refuse(f"{path}: {error}")
    except Exception as error:  # noqa: BLE001 -- what interpreters raise shares no base class
        return _refuse(f"{path}: it cannot be run: {error or type(error).__name__}")
    return 0


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model that has given its first result, and what it was asked to classify."""

    path: Path
    threads: int
    spawned_ns: int
    classifier: Classifier
    images: Sequence[Image]
    captured: "CapturedFrames | None"
    counters: ProcessCounters

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do what a line asks for, and return the answer."""
        if "arena" in request:
            return {"arena_bytes": arena(self.path, request["arena"], self.threads)}
        if "profile" in request:
            return {"layer_times": profile(self.path, self.threads, request["profile"])}
        if "energy_s" in request:
            return energy(self.classifier, self.images, request["energy_s"])
        if "meter" in request:
            return {"reason": no_meter()}
        if "copy_bytes" in request:
            return {"seconds": copy(request["copy_bytes"])}
        return {**serve(request, self), "memory": [memory_sample(self.spawned_ns)]}

    def counts_since(self, before: Mapping[str, int]) -> dict[str, int]:
        """Return what the processor has counted since then."""
        after = self.counters.read()
        return {name: after[name] - before[name] for name in after}

    def processor_ns(self, images: Sequence[Image], request: Mapping[str, Any]) -> list[int]:
        """Return what inference takes of the processor; none where several threads share it."""
        if self.threads > 1:
            return []
        return time_processor(self.classifier, images, at_real_time=request["real_time"])


def _load(arguments: list[str], counters: ProcessCounters) -> tuple[Loaded, dict[str, Any]]:
    """Load the model and give a first result; return what the start took as well."""
    path, named_format, threads, labels, pictures, source, spawned = arguments
    chosen, spawned_ns = cast("Format", named_format), int(spawned)
    images, captured = _read_images(pictures, source)
    memory = [memory_sample(spawned_ns)]
    import_ms, _ = _timed_ms(lambda: import_interpreter(chosen))
    runtime_rss = own_memory_bytes()["rss"]
    load_ms, classifier = _timed_ms(
        lambda: load_model(
            Path(path), model_format=chosen, threads=int(threads), labels=int(labels)
        )
    )
    memory.append(memory_sample(spawned_ns))
    first_result_ms, _ = _timed_ms(lambda: run_once(classifier, images[0]))
    memory.append(memory_sample(spawned_ns))
    with real_time() as may_be_real_time:
        pass
    loaded = Loaded(
        path=Path(path),
        threads=int(threads),
        spawned_ns=spawned_ns,
        classifier=classifier,
        images=images,
        captured=captured,
        counters=counters,
    )
    return loaded, {
        "load_ms": import_ms + load_ms,
        "runtime_rss": runtime_rss,
        "first_result_ms": first_result_ms,
        "memory": memory,
        "input_shape": classifier.interpreter.input_shape,
        "outputs": len(classifier.labels),
        "settings": settings_of(classifier.interpreter),
        "real_time": may_be_real_time,
    }


def _read_images(pictures: str, source: str) -> tuple[list[Image], "CapturedFrames | None"]:
    """Return the pictures, or a source that is captured and one frame of it."""
    if not source:
        return list(np.load(pictures).values()), None
    captured = capture_from(source)
    with captured.opened():
        return [captured.read()[0]], captured  # of what is not timed


def _timed_ms(work: Callable[[], T]) -> tuple[float, T]:
    """Return the milliseconds that something took, and what it gave."""
    start_ns = time.monotonic_ns()
    given = work()
    return (time.monotonic_ns() - start_ns) / 1e6, given


def capture_from(source: str) -> "CapturedFrames":
    """Return the frames of a video or a camera."""
    from leansight.benchmarks.probes.captured_frames import CapturedFrames  # memory is measured

    return CapturedFrames(source)


def serve(request: Mapping[str, Any], loaded: Loaded) -> dict[str, Any]:
    """Run frames as a line asks for, and return what came out."""
    classifier, images = loaded.classifier, loaded.images
    if "warm_up_s" in request:
        return {"frames": warm_up(classifier, images, request["warm_up_s"])}
    if "pixels" in request:
        pixels = np.load(request["pixels"])
        return {"logits": [classifier.interpreter(image[None]).tolist() for image in pixels]}
    frames, first = request["frames"], request["first"]
    if loaded.captured is not None:
        return _captured_block(loaded, loaded.captured, request)
    chosen = [images[(first + number) % len(images)] for number in range(frames)]
    time_frames(classifier, [chosen[0]] * UNTIMED)
    before = loaded.counters.read()
    times_ns = time_frames(classifier, chosen)
    counts = loaded.counts_since(before)
    return _block(STEPS, times_ns, loaded.processor_ns(chosen, request), counts)


def _captured_block(
    loaded: Loaded, captured: "CapturedFrames", request: Mapping[str, Any]
) -> dict[str, Any]:
    """Capture and classify frames one by one; those that a camera has kept back are not timed."""
    with captured.opened():
        time_captured(loaded.classifier, captured, UNTIMED)
        before = loaded.counters.read()
        times_ns, last = time_captured(loaded.classifier, captured, request["frames"])
        counts = loaded.counts_since(before)
    processor_ns = loaded.processor_ns([last] * len(times_ns), request)
    return _block(("capture", *STEPS), times_ns, processor_ns, counts)


def _block(
    names: Sequence[str],
    times_ns: Sequence[tuple[int, ...]],
    processor_ns: Sequence[int],
    counts: Mapping[str, int],
) -> dict[str, Any]:
    steps_ns = dict(zip(names, zip(*times_ns, strict=True), strict=True))
    return {"times_ns": {**steps_ns, "processor": processor_ns}, "counts": counts}


def memory_sample(spawned_ns: int) -> dict[str, float | None]:
    """Return this process's memory in bytes, and how many seconds after its start."""
    return {"seconds": (time.monotonic_ns() - spawned_ns) / 1e9, **own_memory_bytes()}


def profile(path: Path, threads: int, frames: int) -> "LayerTimes":
    """Return the times of the operations of an ONNX model, bare or in a bundle."""
    from leansight.benchmarks.probes.layer_times import onnx_layer_times  # memory is measured

    return onnx_layer_times(model_bytes(path, "onnx"), threads=threads, frames=frames)


def arena(path: Path, model_format: Format, threads: int) -> int | None:
    """Return the memory in which a model computes."""
    from leansight.benchmarks.probes.arena import arena_bytes  # memory is measured

    return arena_bytes(model_bytes(path, model_format), model_format, threads=threads)


def model_bytes(path: Path, model_format: Format) -> bytes:
    """Return a model, bare or in a bundle."""
    if is_bare_model(path):
        return path.read_bytes()
    return Bundle.load(path).read(f"model.{model_format}")


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


def _refuse(reason: str) -> int:
    """Answer why not, in one line; return the exit code."""
    _answer(error=" ".join(reason.split()))
    return 1


def _answer(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
