"""The memory in which a loaded model computes: its tensor arena, measured from outside.

Neither LiteRT's nor ONNX Runtime's Python tells its size (docs/decisions/0041).
"""

import ctypes
from contextlib import suppress

import numpy as np

from leansight.runtime.interpreter import Format, Interpreter, load_interpreter
from leansight.runtime.system.kernel import anonymous_bytes

_FRAMES = 2  # the second one allocates nothing new


def arena_bytes(model: bytes, model_format: Format, *, threads: int) -> int | None:
    """Return the bytes that one more copy of a model takes in a process that already runs it.

    Between the two readings nothing happens but that the copy is loaded and gives results, and the
    process's anonymous memory counts alone: no code, no file. So it is the runtime's tensor arena
    (of LiteRT its own and XNNPACK's workspace), its tables of the graph, and the weights where it
    packs them in its own way. What is freed again on the way does not count.

    None where the system does not tell.
    """
    first = _running(model, model_format, threads)  # has the libraries ready
    before = _held_bytes()
    second = _running(model, model_format, threads)
    after = _held_bytes()
    first.close()
    second.close()
    return None if before is None or after is None else max(after - before, 0)


def _running(model: bytes, model_format: Format, threads: int) -> Interpreter:
    """Return a copy that has given results."""
    interpreter = load_interpreter(model, model_format, threads=threads, classes=0)
    for _ in range(_FRAMES):
        interpreter(np.zeros(interpreter.input_shape, np.uint8))
    return interpreter


def _held_bytes() -> int | None:
    """Return the anonymous memory, without what the C library keeps for later."""
    with suppress(AttributeError):  # glibc's alone
        ctypes.CDLL(None).malloc_trim(0)
    return anonymous_bytes()
