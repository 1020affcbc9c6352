"""Print what a call of a classifier costs beside the shortest loop that one would write by hand.

    python tests/perf/classifier_speed.py [--frames 300] [--bundle BUNDLE]

A loop by hand runs the same preprocessing and the same interpreter on the same 640 × 480 frames,
frame by frame in turn with the classifier; of each the first decile is taken, because what is
above is often the machine's other work. Without `--bundle` the networks are int8 and untrained.
The exit code is 1 where the classifier takes 5 % or 50 µs longer than the loop, or the decision
alone more than 15 µs.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from untrained_bundles import NETWORKS, write_untrained_bundle

from leansight.runtime.bundle import Bundle
from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import DecisionPolicy, DecisionRule
from leansight.runtime.interpreter import Format
from leansight.runtime.preprocessing import Image

MOST_SHARE = 0.05
MOST_MICROSECONDS = 50
DECISION_MICROSECONDS = 15
FORMATS: tuple[Format, ...] = ("tflite", "onnx")
Loop = Callable[[Image], Any]


def loop_by_hand(bundle: Bundle, model_format: Format) -> Loop:
    """Return one round of a loop by hand: the label and its probability, or None."""
    prepare, labels, threshold = bundle.preprocessing, bundle.labels, bundle.decision.threshold
    run = by_litert(bundle) if model_format == "tflite" else by_onnx_runtime(bundle)

    def classify(frame: Image) -> tuple[str, float] | None:
        logits = run(prepare(frame))
        exponentials = np.exp(logits - logits.max())
        probabilities = exponentials / exponentials.sum()
        best = int(probabilities.argmax())
        score = float(probabilities[best])
        return (labels[best], score) if score >= threshold else None

    return classify


def by_litert(bundle: Bundle) -> Loop:
    """Return pixels -> logits, with an int8 input of pixel - 128 and an int8 output."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=bundle.read("model.tflite"), num_threads=1)
    interpreter.allocate_tensors()
    (pixels,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    first, last = pixels["index"], output["index"]
    scale, zero = output["quantization"]

    def run(batch: Image) -> Any:  # noqa: ANN401 -- an array
        interpreter.set_tensor(first, (batch ^ np.uint8(128)).view(np.int8))
        interpreter.invoke()
        return (interpreter.get_tensor(last)[0].astype(np.float32) - zero) * np.float32(scale)

    return run


def by_onnx_runtime(bundle: Bundle) -> Loop:
    """Return pixels -> logits, with a uint8 input, channels first, and a float output."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        bundle.read("model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    (pixels,), (output,) = session.get_inputs(), session.get_outputs()
    names, first = [output.name], pixels.name
    return lambda batch: session.run(
        names, {first: np.ascontiguousarray(batch.transpose(0, 3, 1, 2))}
    )[0][0]


def microseconds(call: Loop, frame: Image) -> float:
    """Return what one call takes."""
    start = time.perf_counter_ns()
    call(frame)
    return (time.perf_counter_ns() - start) / 1000


def first_decile(times: list[float]) -> float:
    """Return what a tenth of the times are below."""
    return statistics.quantiles(times, n=10)[0]


def compare(bundle: Bundle, model_format: Format, frames: list[Image], rounds: int) -> bool:
    """Print one line of the table; return whether the classifier keeps its limits."""
    classifier = Classifier.load(bundle.path, model_format=model_format)
    by_hand = loop_by_hand(bundle, model_format)
    for frame in frames:
        best, answer = classifier(frame), by_hand(frame)
        assert answer is None or best.label == answer[0]
    bare, ours = [], []
    for number in range(rounds):
        frame = frames[number % len(frames)]
        order = ((by_hand, bare), (classifier, ours))
        for call, times in order if number % 2 else order[::-1]:
            times.append(microseconds(call, frame))
    one, other = first_decile(bare), first_decile(ours)
    more = other - one
    share = more / one
    print(f"{bundle.name:20} {model_format:6} {one:9.1f} {other:9.1f} {more:+7.1f} {share:+7.1%}")
    return more <= MOST_MICROSECONDS and share <= MOST_SHARE


def decisions() -> bool:
    """Print how long the decision alone takes; return whether it keeps its limit."""
    slowest = 0.0
    for classes in (4, 43, 1000):
        labels = tuple(f"class {number}" for number in range(classes))
        rule = DecisionRule(labels, DecisionPolicy(threshold=0.5))
        logits = np.random.default_rng(0).normal(size=classes).astype(np.float32)
        took = first_decile([microseconds(rule, logits) for _ in range(2000)])
        print(f"the decision among {classes:4} labels: {took:.1f} µs")
        slowest = max(slowest, took)
    return slowest <= DECISION_MICROSECONDS


def main() -> None:
    """Measure in turns and print first deciles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--bundle", type=Path, help="an int8 one, instead of untrained networks")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    noise = np.random.default_rng(0).integers(0, 256, (8, 12, 16, 3), np.uint8)
    frames = [cv2.resize(image, (640, 480), interpolation=cv2.INTER_CUBIC) for image in noise]
    with tempfile.TemporaryDirectory() as folder:
        if arguments.bundle:
            bundles = [Bundle.load(arguments.bundle)]
        else:
            bundles = [write_untrained_bundle(n, Path(folder) / n) for n in NETWORKS]
        print(f"{'µs a frame':27} {'by hand':>9} {'ours':>9} {'more':>7} {'share':>7}")
        kept = [compare(b, f, frames, arguments.frames) for b in bundles for f in FORMATS]
    sys.exit(0 if all([*kept, decisions()]) else 1)


if __name__ == "__main__":
    main()
