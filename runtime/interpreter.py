"""Run a TFLite or ONNX model: a uint8 batch goes in, logits come out.

The contract of every leansight graph (docs/decisions/0002): an integer input holds pixels, as
uint8 or as int8 = pixel - 128; a float32 input holds (pixel - 128) / 128. Scales and zero
points never leave this file.
"""

import math
import re
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeVar, get_args
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.errors import BundleError, MissingExtraError
from leansight.runtime.extras import onnx_runtime, require, without_onnx_runtime_log
from leansight.runtime.preprocessing import network_input
from leansight.runtime.system.kernel import call_after_fork
from leansight.runtime.system.standard_error import drop_lines

T = TypeVar("T")
Format = Literal["tflite", "onnx"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)

# LiteRT first; its predecessors read the same files where it has no wheel.
_TFLITE_MODULES: Final = {
    "ai_edge_litert.interpreter": ("LiteRT", "litert"),
    "tflite_runtime.interpreter": ("tflite-runtime", "tflite"),
    "tensorflow.lite.python.interpreter": ("TensorFlow", "keras"),
}
# How TensorFlow Lite and Abseil begin a line of their logs; of errors they raise the text as well.
_LITERT_LOG: Final = re.compile(rb"(VERBOSE|INFO|WARNING|ERROR): |[IWEF]\d{4} ")


class Interpreter(Protocol):
    """Runs one loaded model."""

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(1, height, width, channels) of the batch that a call takes."""

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the logits (K,) float32 for a batch (1, H, W, C) of uint8 pixels.

        Raises:
            ValueError: the batch has another shape or dtype, or the interpreter is closed.

        """

    def close(self) -> None:
        """Give the model's memory back; later calls are refused."""


def load_interpreter(
    model: bytes,
    model_format: Format,
    *,
    threads: int = 1,
    name: str = "the model",
    classes: int | None = None,
) -> Interpreter:
    """Load a model from its bytes; `name` is what error messages call it.

    Several outputs are refused, unless `classes` is given: then the logits are the first output of
    so many numbers, or with 0 the first of all.

    Raises:
        BundleError: the bytes are no model of that format, or not one image in, logits out.
        MissingExtraError: no interpreter for the format is installed.
        ValueError: fewer than one thread.

    """
    if threads < 1:
        raise ValueError(f"threads must be 1 or more, not {threads}")
    if not model:
        raise BundleError(f"{name} is empty: copy the file again")
    return SharedInterpreter(model, model_format, threads, name, classes)


def require_shape(model: Interpreter, shape: tuple[int, int, int, int]) -> None:
    """Raise BundleError unless the model takes what a preprocessing makes, pixels of this shape."""
    if model.input_shape != shape:
        raise BundleError(
            f"the model takes {model.input_shape}, but the preprocessing gives {shape}: "
            "they do not belong together"
        )


def model_format(path: Path) -> Format:
    """Return the format that a model file's suffix names, or raise BundleError."""
    for known in FORMATS:
        if path.suffix == f".{known}":
            return known
    raise BundleError(f"{path} is neither a bundle nor a .tflite or .onnx file")


def has_interpreter(model_format: Format) -> bool:
    """Return whether something is installed that runs such models; nothing is imported."""
    modules = _TFLITE_MODULES if model_format == "tflite" else ("onnxruntime",)
    return any(find_spec(module.partition(".")[0]) for module in modules)


def import_interpreter(model_format: Format) -> None:
    """Import what runs such models; MissingExtraError where nothing is installed that does."""
    if model_format == "tflite":
        _tflite_class()
    else:
        onnx_runtime()


class SharedInterpreter:
    """A loaded model that several threads and processes may use.

    In TFLite threads take turns, by a lock that costs 0.1 µs; in ONNX they run side by side.
    A forked process loads the model again at its first call, because an interpreter's threads
    and locks do not survive a fork. A process that gets it pickled loads it at once.
    """

    def __init__(
        self,
        model: bytes,
        model_format: Format,
        threads: int,
        name: str,
        classes: int | None = None,
    ) -> None:
        self._arguments = (model, model_format, threads, name, classes)
        self.model_format, self.threads = model_format, threads
        self._interpreter: LiteRtInterpreter | OnnxInterpreter | None = None
        self._is_closed = False
        self.input_shape = self._load().input_shape
        _INTERPRETERS.add(self)

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Interpreter`."""
        return (self._interpreter or self._load())(batch)

    @property
    def native(self) -> Any:  # noqa: ANN401 -- neither runtime has types
        """The runtime's own object, for what only that can tell."""
        return (self._interpreter or self._load()).native

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it is loaded from."""
        self._check_open()
        return SharedInterpreter, self._arguments

    def close(self) -> None:
        """See `Interpreter`."""
        self._is_closed = True
        self._interpreter = None

    def abandon(self) -> None:
        """Forget, in a forked process, what was loaded before, and never free it.

        To free it would be to wait for its threads, which are not there.
        """
        _ABANDONED.append(self._interpreter)
        self._interpreter = None

    def _load(self) -> "LiteRtInterpreter | OnnxInterpreter":
        self._check_open()
        model, model_format, threads, name, classes = self._arguments
        kind = LiteRtInterpreter if model_format == "tflite" else OnnxInterpreter
        interpreter = kind(model, threads=threads, name=name, classes=classes)
        self._interpreter = interpreter
        return interpreter

    def _check_open(self) -> None:
        if self._is_closed:
            raise ValueError(f"{self._arguments[3]} is closed: load it again")


_INTERPRETERS: Final[WeakSet[SharedInterpreter]] = WeakSet()
_ABANDONED: Final[list[object]] = []


def _abandon_interpreters() -> None:
    for interpreter in _INTERPRETERS:
        interpreter.abandon()


call_after_fork(_abandon_interpreters)


class LiteRtInterpreter:
    """A `.tflite` model in LiteRT, or where that is missing in tflite-runtime or TensorFlow."""

    def __init__(
        self, model: bytes, *, threads: int, name: str, classes: int | None = None
    ) -> None:
        interpreter_class = _tflite_class()
        try:
            with drop_lines(lambda line: _LITERT_LOG.match(line) is not None):
                self.native = interpreter_class(model_content=model, num_threads=threads)
                self.native.allocate_tensors()
        except (ValueError, RuntimeError, MemoryError) as error:
            reason = " ".join(str(error).split())
            raise BundleError(f"{name} is not a TFLite model that can run: {reason}") from error
        model_input = _only(self.native.get_input_details(), "input", name)
        outputs = self.native.get_output_details()
        output = outputs[_logits_at([o["shape"] for o in outputs], classes, name)]
        self._input, self._output = model_input["index"], output["index"]
        self.input_shape = _nhwc(tuple(int(n) for n in model_input["shape"]), name)
        self._to_input = _input_conversion(np.dtype(model_input["dtype"]).name, name)
        scale, self._zero_point = output["quantization"]
        self._scale = np.float32(scale)
        self._lock = threading.Lock()  # a thread may not fill the input that another one runs

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Interpreter`."""
        _check_batch(batch, self.input_shape)
        pixels = self._to_input(batch)
        with self._lock:
            self.native.set_tensor(self._input, pixels)
            self.native.invoke()
            output = self.native.get_tensor(self._output).reshape(-1)
        logits: NDArray[np.float32] = output.astype(np.float32, copy=False)
        if output.dtype != np.float32:
            logits = (logits - self._zero_point) * self._scale
        return logits


class OnnxInterpreter:
    """An `.onnx` model in ONNX Runtime, on the CPU."""

    def __init__(
        self, model: bytes, *, threads: int, name: str, classes: int | None = None
    ) -> None:
        ort = onnx_runtime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # what it logs of errors, it raises as well
        try:
            with without_onnx_runtime_log():
                self.native = ort.InferenceSession(
                    model, options, providers=["CPUExecutionProvider"]
                )
        except Exception as error:  # ONNX Runtime's own errors share no base class
            reason = " ".join(str(error).split())
            raise BundleError(f"{name} is not an ONNX model that can run: {reason}") from error
        model_input = _only(self.native.get_inputs(), "input", name)
        outputs = self.native.get_outputs()
        self._outputs = [output.name for output in outputs]  # all are computed, and paid for
        self._logits = _logits_at([output.shape for output in outputs], classes, name)
        batch, *rest = model_input.shape or (None,)
        shape = (batch if isinstance(batch, int) else 1, *rest)  # a named batch size can be 1
        self._name = model_input.name
        self._channels_first = False
        match shape:
            case (images, 1 | 3 as channels, height, width):
                self._channels_first = True
                shape = (images, height, width, channels)
        self.input_shape = _nhwc(shape, name)
        dtype = model_input.type.removeprefix("tensor(").removesuffix(")")
        self._to_input = _input_conversion("float32" if dtype == "float" else dtype, name)

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Interpreter`."""
        _check_batch(batch, self.input_shape)
        pixels = self._to_input(batch)
        if self._channels_first:
            pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        outputs = self.native.run(self._outputs, {self._name: pixels})
        logits: NDArray[np.float32] = outputs[self._logits].reshape(-1)
        return logits


def _tflite_class() -> Callable[..., Any]:
    for module, (package, extra) in _TFLITE_MODULES.items():
        try:
            found: Callable[..., Any] = require(module, package=package, extra=extra).Interpreter
        except MissingExtraError:
            continue
        return found
    raise MissingExtraError("LiteRT", "litert")


def _nhwc(shape: tuple[Any, ...], name: str) -> tuple[int, int, int, int]:
    match shape:
        case (int(), int(), int(), int()) if min(shape) > 0:
            return shape
    raise BundleError(f"{name} takes an input of shape {shape}, not one image of a fixed size")


def _only(tensors: Sequence[T], what: str, name: str) -> T:
    if len(tensors) != 1:
        raise BundleError(f"{name} has {len(tensors)} {what}s; expected one image in, logits out")
    return tensors[0]


def _logits_at(shapes: Sequence[Sequence[Any]], classes: int | None, name: str) -> int:
    """Return which output holds the logits; see `load_interpreter`."""
    if classes is None:
        _only(shapes, "output", name)
    sizes = [
        math.prod(size for size in shape if isinstance(size, int | np.integer)) for shape in shapes
    ]
    return sizes.index(classes) if classes is not None and classes in sizes else 0


def _input_conversion(dtype: str, name: str) -> Callable[[NDArray[np.uint8]], NDArray[Any]]:
    """Return how pixels become the input tensor; pixel - 128 is a flipped top bit."""
    match dtype:
        case "uint8":
            return lambda batch: batch
        case "int8":
            return lambda batch: (batch ^ np.uint8(0x80)).view(np.int8)
        case "float32":
            return network_input
    raise BundleError(f"{name} takes {dtype} pixels; expected uint8, int8 or float32")


def _check_batch(batch: NDArray[np.uint8], shape: tuple[int, int, int, int]) -> None:
    if batch.shape != shape or batch.dtype != np.uint8:
        raise ValueError(f"expected a batch of {shape} uint8, not {batch.shape} {batch.dtype}")
