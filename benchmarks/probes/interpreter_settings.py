"""What an interpreter really runs a model with: asked of the runtime, not of what was wished."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from leansight.runtime.interpreter import Interpreter, SharedInterpreter

InterpreterSettings = Mapping[str, str | int]
_RUNTIMES: Final = {
    "ai_edge_litert": "LiteRT",
    "tflite_runtime": "tflite-runtime",
    "tensorflow": "TensorFlow Lite",
}
_DELEGATE: Final = "DELEGATE"


def settings_of(interpreter: Interpreter) -> InterpreterSettings:
    """Return the settings of one of our own interpreters by name; nothing of another's."""
    if not isinstance(interpreter, SharedInterpreter):
        return {}
    if interpreter.model_format == "onnx":
        return onnx_settings(interpreter.native)
    return tflite_settings(interpreter.native, threads=interpreter.threads)


def onnx_settings(session: Any) -> InterpreterSettings:  # noqa: ANN401 -- ONNX Runtime has no types
    """Return what a session of ONNX Runtime says of itself."""
    options = session.get_session_options()
    return {
        "runtime": "ONNX Runtime",
        "threads": options.intra_op_num_threads,
        "graph_optimization": options.graph_optimization_level.name,
        "execution_mode": options.execution_mode.name,
        "memory_arena": options.enable_cpu_mem_arena,
        "memory_pattern": options.enable_mem_pattern,
        "providers": ", ".join(session.get_providers()),
    }


def tflite_settings(interpreter: object, *, threads: int) -> InterpreterSettings:
    """Return what a TFLite interpreter tells, and the `threads` that it was given.

    `xnnpack`: how many operations the delegate took over. In the wheels of LiteRT and
    tflite-runtime XNNPACK is the only one that is there without being asked for.
    """
    package = type(interpreter).__module__.partition(".")[0]
    told = getattr(interpreter, "_get_ops_details", None)  # no public name tells
    return {
        "runtime": _RUNTIMES.get(package, package),
        "threads": threads,
        "xnnpack": "not told" if told is None else _delegated(told()),
    }


def _delegated(rows: Sequence[Mapping[str, Any]]) -> str:
    """Count the operations between what delegates take and what they give."""
    delegates = [row for row in rows if row["op_name"] == _DELEGATE]
    operations = [row for row in rows if row["op_name"] != _DELEGATE]
    makers = {int(n): place for place, row in enumerate(operations) for n in row["outputs"]}
    taken = set[int]()
    for delegate in delegates:
        seen = {int(n) for n in delegate["inputs"]}
        wanted = [int(n) for n in delegate["outputs"]]
        while wanted:
            tensor = wanted.pop()
            if tensor not in seen and tensor in makers:
                taken.add(makers[tensor])
                wanted += [int(n) for n in operations[makers[tensor]]["inputs"]]
            seen.add(tensor)
    return f"{len(taken)} of {len(operations)} operations"
