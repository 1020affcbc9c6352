"""A model in another runtime: its file, the prepared pictures, and what it has to answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leansight.benchmarks.bare_input import bare_input
from leansight.benchmarks.models import Model
from leansight.benchmarks.peers import peer_worker
from leansight.benchmarks.peers.catalogue import PEERS, peer_python
from leansight.benchmarks.worker_process import WorkerProcess
from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import BundleError
from leansight.runtime.extras import require

# A class is as good as the best if its logit is within this share of all that lies between.
_NEARLY: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class PeerLaunch:
    """How a model is started in another runtime, and what our own says of the first picture.

    `expected` is (K,) float32.
    """

    name: str
    program: Sequence[str]
    arguments: Sequence[str]
    expected: NDArray[np.float32]
    hang_s: float

    def process(self) -> WorkerProcess:
        """Return the process, to be started by a `with`."""
        return WorkerProcess(self.name, self.arguments, self.hang_s, program=self.program)

    def check(self, start: Mapping[str, Any]) -> None:
        """Raise BundleError if the runtime finds another class than our own does."""
        given, ours = np.asarray(start["logits"]), self.expected
        if given.size != ours.size:
            raise BundleError(f"{self.name}: it gives {given.size} numbers, not {ours.size}")
        least = ours.max() - _NEARLY * float(np.ptp(ours))
        if ours[int(given.argmax())] < least:
            raise BundleError(f"{self.name}: it computes something else: another class is best")


def prepare_peer(
    model: Model, own: WorkerProcess, pictures: Path, folder: Path, *, threads: int
) -> PeerLaunch:
    """Write what the other runtime reads into the folder; `own` runs the same model in ours.

    Raises:
        BundleError: our own runtime cannot run it.
        PeerError: the runtime's environment is not there and cannot be made.

    """
    file, pixels = folder / f"model.{model.format}", folder / "pixels.npy"
    file.write_bytes(model.read())
    images = list(np.load(pictures).values())
    with own as process:
        _, height, width, channels = process.answer()["input_shape"]
        preprocessing = (
            bare_input(height, width, channels)
            if model.digest is None
            else Bundle.load(model.path).preprocessing
        )
        np.save(pixels, np.concatenate([preprocessing(image) for image in images]))
        expected = process.ask({"pixels": str(pixels)})["logits"][0]
    dtype, channels_first = _input_kind(file.read_bytes(), model)
    python = peer_python(PEERS[model.peer])
    words = [model.peer, file, threads, pixels, dtype, "1" if channels_first else "0"]
    return PeerLaunch(
        name=model.name,
        program=[str(python), "-P", str(Path(peer_worker.__file__))],
        arguments=[str(word) for word in words],
        expected=np.asarray(expected, np.float32),
        hang_s=own.hang_s,
    )


def _input_kind(data: bytes, model: Model) -> tuple[str, bool]:
    """Return the type of the input's elements, and whether its channels come first."""
    if model.format == "tflite":
        schema = require("ai_edge_litert.schema_py_generated", package="LiteRT", extra="bench")
        graph = schema.ModelT.InitFromPackedBuf(data).subgraphs[0]
        kinds = {code: name.lower() for name, code in vars(schema.TensorType).items()}
        return kinds[graph.tensors[graph.inputs[0]].type], False
    onnx = require("onnx", package="onnx", extra="bench")
    tensor = onnx.load_model_from_string(data).graph.input[0].type.tensor_type
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return kind, tensor.shape.dim[1].dim_value in (1, 3)
