"""The process that runs one model: `python -m leansight.benchmarks.worker`, started by measure.

It imports only leansight.runtime, so that its memory is what the classifier takes. It answers
in JSON lines on stdout: once when its first result is there, then once for each line on
stdin, which asks for so many unmeasured and measured runs. What cannot be run is answered
with {"error": ...}.
"""

import gc
import json
import sys
import time
from pathlib import Path
from typing import Final, cast

import numpy as np

from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import DecisionPolicy, decide
from leansight.runtime.errors import BundleError, LeansightError
from leansight.runtime.interpreter import FORMATS, Format, load_interpreter
from leansight.runtime.preprocessing import CHANNELS, Image, Preprocessing
from leansight.runtime.system.kernel import own_peak_rss_bytes

STEPS: Final = ("preprocess", "inference", "decision")
Times = tuple[int, int, int]


def main(arguments: list[str]) -> int:
    """Answer until stdin closes: path, format, threads, picture (.npy), time of the start (ns)."""
    path, named_format, threads, picture, spawned_ns = arguments
    try:
        image: Image = np.load(picture)
        chosen = cast("Format", named_format)
        classifier = load_model(Path(path), model_format=chosen, threads=int(threads))
        run_once(classifier, image)
        _answer(start_ms=(time.monotonic_ns() - int(spawned_ns)) / 1e6)
        for line in sys.stdin:
            request = json.loads(line)
            _time_runs(classifier, image, request["warmup"])
            times_ns = _time_runs(classifier, image, request["runs"])
            _answer(
                times_ns=dict(zip(STEPS, zip(*times_ns, strict=True), strict=True)),
                peak_rss_bytes=own_peak_rss_bytes(),
            )
    except (LeansightError, OSError, ValueError) as error:
        place = "" if isinstance(error, LeansightError) else f"{path}: "
        _answer(error=place + " ".join(str(error).split()))
        return 1
    return 0


def is_bare_model(path: Path) -> bool:
    """Say whether this is a model file outside a bundle."""
    return path.suffix in {f".{known}" for known in FORMATS} and not path.is_dir()


def load_model(path: Path, *, model_format: Format, threads: int) -> Classifier:
    """Load a bundle, or a bare model with labels "0", "1", … and the preprocessing it takes.

    Raises:
        BundleError: it cannot be run, or a bare model takes no square gray or RGB picture.

    """
    if not is_bare_model(path):
        return Classifier.load(path, model_format=model_format, threads=threads)
    interpreter = load_interpreter(path.read_bytes(), model_format, threads=threads, name=str(path))
    _, height, width, channels = interpreter.input_shape
    colours = {number: colour for colour, number in CHANNELS.items()}
    if height != width or channels not in colours:
        raise BundleError(
            f"{path} takes {height} x {width} pixels of {channels} channels: without a bundle "
            "only square gray or RGB input is known how to make"
        )
    logits = interpreter(np.zeros(interpreter.input_shape, np.uint8))
    return Classifier(
        preprocessing=Preprocessing(size=height, colour=colours[channels]),
        interpreter=interpreter,
        labels=tuple(str(number) for number in range(logits.size)),
        policy=DecisionPolicy(),
    )


def run_once(classifier: Classifier, image: Image) -> Times:
    """Return the nanoseconds of preprocessing, inference and decision for one image."""
    clock = time.perf_counter_ns
    start = clock()
    batch = classifier.preprocessing(image)
    prepared = clock()
    logits = classifier.interpreter(batch)
    inferred = clock()
    decide(logits, classifier.labels, classifier.policy, task=classifier.task)
    return prepared - start, inferred - prepared, clock() - inferred


def _time_runs(classifier: Classifier, image: Image, runs: int) -> list[Times]:
    gc.collect()
    gc.disable()
    try:
        return [run_once(classifier, image) for _ in range(runs)]
    finally:
        gc.enable()


def _answer(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
