"""Give mutants of a bundle's models, whose digests are right, to a bare interpreter and to ours.

    python tests/perf/attacks/hostile_models.py [BUNDLE] [--mutants 600] [--seed 1]

Half of the mutants change some bytes of the file, half change what the file says: an index, a
shape, a scale, an operator. Each runs in a fork, once as an interpreter alone runs it, once as
`Classifier.load` does. Printed is how often each ended in a native crash, in a hang of 5 s, in an
error of one line, in another error, or in an answer.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from multiprocessing import Pipe
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))

import numpy as np
import onnx
import tiny_models
from ai_edge_litert import schema_py_generated as schema
from hostile.attacks import replace
from hostile.cost import fork

from leansight.exporters.tflite.file import pack, unpack
from leansight.runtime.bundle import Bundle, write_bundle
from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.errors import BundleError
from leansight.runtime.interpreter import FORMATS, Format, load_interpreter
from leansight.runtime.preprocessing import Preprocessing
from leansight.runtime.system.python_child import limit_this_process

HANG_S, GIGABYTE = 5, 1 << 30
OURS_S = 90  # leansight has limits of its own
NUMBERS = (-1, -(2**31), 0, 1, 2, 7, 255, 4096, 65_536, 2**24, 2**31 - 1)
SCALES = (float("nan"), float("inf"), 0.0, -1.0, 1e-38, 3e38)
OPERATORS = ("Loop", "Scan", "If", "Relu", "Gemm", "Conv", "NonZero", "Range", "ConstantOfShape")
Chance = np.random.Generator


def main() -> None:
    """Print a line for each format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument("--mutants", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["CACHE_DIRECTORY"] = str(folder / "cache")
        bundle = Bundle.load(asked.bundle or tiny_bundle(folder))
        for chosen in FORMATS:
            bare, ours = Counter[str](), Counter[str]()
            for number in range(asked.mutants // len(FORMATS)):
                chance = np.random.default_rng((asked.seed, number))
                path = mutant(bundle, chosen, chance, folder / "mutant.bundle")
                bare[end_of(partial(run_bare, path, chosen), HANG_S)] += 1
                end = end_of(partial(run_ours, path, chosen), OURS_S)
                ours[end] += 1
                if end not in ("BundleError", "answer"):
                    print(f"{chosen}, mutant {number}: {end}", flush=True)
            print(f"{chosen}\n  bare: {dict(bare)}\n  ours: {dict(ours)}", flush=True)


def tiny_bundle(folder: Path) -> Path:
    """Write the network of the tests."""
    models = {
        "model.tflite": tiny_models.stripes_tflite(),
        "model.onnx": tiny_models.stripes_onnx(),
    }
    tiny = Bundle(
        path=folder / "tiny.bundle",
        name="tiny",
        labels=tiny_models.LABELS,
        preprocessing=Preprocessing(size=8, colour="gray"),
        decision=DecisionPolicy(threshold=0.5),
        precision="float32",
    )
    return tiny_models.golden_bundle(write_bundle(tiny, models).path)


def mutant(bundle: Bundle, chosen: Format, chance: Chance, path: Path) -> Path:
    """Write a copy of the bundle with another model."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(bundle.path, path)
    model = bundle.read(f"model.{chosen}")
    of_schema = other_tflite if chosen == "tflite" else other_onnx
    change = of_schema if chance.random() < 0.5 else other_bytes
    return replace(path, f"model.{chosen}", change(model, chance))


def other_bytes(model: bytes, chance: Chance) -> bytes:
    """Set some words to numbers that are often wrong, flip bytes, or end the file too early."""
    data = bytearray(model)
    for _ in range(int(chance.integers(1, 5))):
        at = int(chance.integers(len(data) - 4))
        if chance.random() < 0.5:
            at -= at % 4
            data[at : at + 4] = np.int32(chance.choice(NUMBERS)).tobytes()
        else:
            data[at] ^= int(chance.integers(1, 256))
    return bytes(data[: int(chance.integers(len(data)))] if chance.random() < 0.05 else data)


def other_tflite(file: bytes, chance: Chance) -> bytes:
    """Change an index, a shape, a scale, a type or an operator."""
    model = unpack(file)
    graph = model.subgraphs[0]
    tensor = graph.tensors[chance.integers(len(graph.tensors))]
    operator = graph.operators[chance.integers(len(graph.operators))]
    number = int(chance.choice(NUMBERS))
    match chance.integers(7):
        case 0:
            operator.inputs = list(operator.inputs)
            operator.inputs[chance.integers(len(operator.inputs))] = number
        case 1:
            operator.outputs = [number]
        case 2:
            tensor.shape = list(tensor.shape)
            tensor.shape[chance.integers(max(len(tensor.shape), 1)) :] = [number]
        case 3:
            scale, zero = [float(chance.choice(SCALES))], [int(chance.integers(-200, 300))]
            tensor.quantization = schema.QuantizationParametersT(scale=scale, zeroPoint=zero)
        case 4:
            tensor.type = int(chance.integers(18))
        case 5:
            code = model.operatorCodes[chance.integers(len(model.operatorCodes))]
            code.builtinCode = int(chance.integers(160))
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        case _:
            tensor.buffer = int(chance.integers(len(model.buffers)))
    return pack(model)


def other_onnx(file: bytes, chance: Chance) -> bytes:
    """Change a name, a shape, a scale, an attribute or an operator; or put it into a loop."""
    model = onnx.load_model_from_string(file)
    node = model.graph.node[chance.integers(len(model.graph.node))]
    weights = model.graph.initializer[chance.integers(len(model.graph.initializer))]
    number = int(chance.choice(NUMBERS))
    match chance.integers(7):
        case 0:
            names = [name for other in model.graph.node for name in (*other.input, *other.output)]
            node.input[chance.integers(len(node.input))] = str(chance.choice(names))
        case 1:
            weights.dims[chance.integers(max(len(weights.dims), 1)) :] = [number]
        case 2:
            weights.raw_data = np.float32(chance.choice(SCALES)).tobytes()
            del weights.dims[:]
        case 3:
            node.op_type = str(chance.choice(OPERATORS))
        case 4:
            del node.attribute[:]
            node.attribute.append(onnx.helper.make_attribute("axis", number))
        case 5:
            weights.data_type = int(chance.integers(17))
        case _:
            return endless_loop(model)
    return model.SerializeToString()


def endless_loop(model: onnx.ModelProto) -> bytes:
    """Compute the logits in a loop that goes on for ever."""
    boolean, (logits,) = onnx.TensorProto.BOOL, model.graph.output
    go_on = onnx.helper.make_tensor("go_on", boolean, (), [True])
    again = onnx.helper.make_node("Identity", ["before"], ["after"])
    keep = onnx.helper.make_node("Identity", ["value"], ["same"])
    shape = [d.dim_value for d in logits.type.tensor_type.shape.dim]
    values = [onnx.helper.make_tensor_value_info(n, 1, shape) for n in ("value", "same")]
    steps = onnx.helper.make_tensor_value_info("step", onnx.TensorProto.INT64, ())
    flags = [onnx.helper.make_tensor_value_info(n, boolean, ()) for n in ("before", "after")]
    body = onnx.helper.make_graph(
        [again, keep], "body", [steps, flags[0], values[0]], [flags[1], values[1]]
    )
    model.graph.initializer.append(go_on)
    loop = onnx.helper.make_node("Loop", ["", "go_on", logits.name], ["looped"], body=body)
    model.graph.node.append(loop)
    logits.name = "looped"
    return model.SerializeToString()


def run_bare(path: Path, chosen: Format) -> None:
    """Load and run a model as every program does that has none of leansight's checks."""
    limit_this_process(more_bytes=2 * GIGABYTE)
    bundle = Bundle.load(path)
    run = load_interpreter(bundle.read(f"model.{chosen}"), chosen)
    run(np.full(run.input_shape, 90, np.uint8))


def run_ours(path: Path, chosen: Format) -> None:
    """Load a bundle and classify a picture, in a process that may take as much memory."""
    limit_this_process(more_bytes=2 * GIGABYTE)
    Classifier.load(path, model_format=chosen)(np.full((64, 64, 3), 90, np.uint8))


def end_of(work: Callable[[], object], seconds: int) -> str:
    """Return how a fork ended that did the work: a signal, an error's class, or "answer"."""
    answers, answer = Pipe(duplex=False)
    process = fork()
    if process == 0:
        signal.alarm(seconds)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        answer.send(error_of(work))
        os._exit(0)
    answer.close()
    try:
        end = str(answers.recv())
    except EOFError:
        end = ""
    _, status = os.waitpid(process, 0)
    answers.close()
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return "hang" if code == -signal.SIGALRM else signal.Signals(-code).name
    return end or f"exit code {code}"


def error_of(work: Callable[[], object]) -> str:
    """Return the class of the error that work raises, or "answer"."""
    try:
        work()
    except BundleError as error:
        return "BundleError" if "\n" not in str(error) else "BundleError of many lines"
    except Exception as error:  # noqa: BLE001 -- it is counted
        return type(error).__name__
    return "answer"


if __name__ == "__main__":
    main()
