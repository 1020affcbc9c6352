"""Print what it takes to say what one photo shows, beside the same by hand: time, and memory.

    python tests/perf/start.py BUNDLE [--format tflite] [--rounds 15]

Each is a process of its own, from its start to its first answer: it imports what it needs, loads
the model, reads a photo and runs it. By hand that is OpenCV and the bare interpreter. In turns;
medians. The exit code is 1 where ours takes more than 1.5 times as long, or 8 MB more.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from leansight.runtime.bundle import Bundle
from leansight.runtime.interpreter import FORMATS

MOST_TIMES, MOST_MB = 1.5, 8
OURS = """
from leansight.runtime import Classifier
answer = Classifier.load(bundle, model_format=kind)(photo).label
"""
TFLITE = """
import cv2, numpy as np
from ai_edge_litert.interpreter import Interpreter
model = Interpreter(model_path=f"{bundle}/model.tflite", num_threads=1)
model.allocate_tensors()
(first,), (last,) = model.get_input_details(), model.get_output_details()
_, height, width, channels = first["shape"]
image = cv2.resize(cv2.imread(photo, 1 if channels == 3 else 0), (width, height))
model.set_tensor(first["index"], (image.reshape(first["shape"]) - 128).astype(first["dtype"]))
model.invoke()
answer = model.get_tensor(last["index"])[0].argmax()
"""
ONNX = """
import cv2, numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
model = onnxruntime.InferenceSession(f"{bundle}/model.onnx", options)
(first,) = model.get_inputs()
_, channels, height, width = first.shape
image = cv2.resize(cv2.imread(photo, 1 if channels == 3 else 0), (width, height))
pixels = image.reshape(1, height, width, channels).transpose(0, 3, 1, 2)
kind = np.uint8 if "uint8" in first.type else np.float32
answer = model.run(None, {first.name: np.ascontiguousarray(pixels, kind)})[0][0].argmax()
"""
BY_HAND = {"tflite": TFLITE, "onnx": ONNX}
PEAK = r"""
import re
print(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
"""


def run(program: str, values: dict[str, str], cache: str) -> tuple[float, float]:
    """Return the milliseconds and the peak memory in MB of a process; `cache` holds bytecode."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    given = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", given + program + PEAK], check=True, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, env=environment | {"PYTHONPYCACHEPREFIX": cache},
    )  # fmt: skip
    return 1000 * (time.perf_counter() - start), int(done.stdout) / 1024


def main() -> None:
    """Measure in turns and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--format", choices=FORMATS)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    kind = Bundle.load(arguments.bundle).choose_format(arguments.format)
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        photo = f"{folder}/photo.png"
        cv2.imwrite(photo, noise)
        values = {"bundle": str(arguments.bundle), "kind": kind, "photo": photo}
        programs = (BY_HAND[kind], OURS)
        rounds = [[run(p, values, folder) for p in programs] for _ in range(arguments.rounds + 1)]
    pairs = rounds[1:]  # the first one compiles
    ratio = statistics.median(ours[0] / bare[0] for bare, ours in pairs)
    more = statistics.median(ours[1] - bare[1] for bare, ours in pairs)
    bare, ours = (
        statistics.median(side[0] for side in sides) for sides in zip(*pairs, strict=True)
    )
    print(f"{arguments.bundle.name}, {kind}: by hand {bare:.0f} ms, ours {ours:.0f} ms, "
          f"ratio {ratio:.2f}; {more:+.1f} MB")  # fmt: skip
    sys.exit(0 if ratio <= MOST_TIMES and more <= MOST_MB else 1)


if __name__ == "__main__":
    main()
