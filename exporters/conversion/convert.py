"""Conversion: the float network as an ONNX and a TFLite graph with the same folded weights."""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, fx, nn

from leansight.exporters.conversion.folding import fold
from leansight.exporters.conversion.rewriting import pad_before_pooling
from leansight.exporters.conversion.torch_graph import layer_constants, layers
from leansight.exporters.errors import ConversionError
from leansight.runtime.interpreter import Format
from leansight.runtime.preprocessing import Preprocessing
from leansight.runtime.system.standard_error import drop_lines
from leansight.runtime.system.whole_files import scratch_folder

_NEXT_TO_NOTHING: Final = 1e-30  # a weight


@dataclass(frozen=True, kw_only=True)
class FloatGraphs:
    """One float32 network as two files: ONNX takes (1, C, S, S), TFLite takes (1, S, S, C).

    Both take (pixel - 128) / 128, as every leansight network does. `folded` is what both were
    made from, in torch.
    """

    onnx: bytes
    tflite: bytes
    folded: fx.GraphModule

    @property
    def files(self) -> dict[Format, bytes]:
        """The two files by format."""
        return {"tflite": self.tflite, "onnx": self.onnx}


def convert(network: nn.Module, preprocessing: Preprocessing) -> FloatGraphs:
    """Return the two graphs of a network that takes (N, C, S, S) float32.

    Batch norms are folded once, before either conversion, so that both files hold the same
    weights bit for bit.

    Raises:
        ConversionError: litert-torch cannot write an operator of it.

    """
    size, channels = preprocessing.size, preprocessing.channels
    return convert_folded(fold(network, torch.zeros(1, channels, size, size)), preprocessing)


def convert_folded(folded: fx.GraphModule, preprocessing: Preprocessing) -> FloatGraphs:
    """Return the two graphs of a network that is folded already, such as one that learnt on."""
    size, channels = preprocessing.size, preprocessing.channels
    padded = copy.deepcopy(folded)
    pad_before_pooling(padded)
    _tell_idle_layers_apart(padded)
    # litert-torch 0.10 takes two constants for one where it has copied each to bring it in order.
    for constant in (*padded.parameters(), *padded.buffers()):
        constant.data = constant.data.contiguous()
    return FloatGraphs(
        onnx=_to_onnx(folded, torch.zeros(1, channels, size, size)),
        tflite=_to_tflite(padded, torch.zeros(1, size, size, channels)),
        folded=folded,
    )


@torch.no_grad()
def _tell_idle_layers_apart(module: fx.GraphModule) -> None:
    """Let no two layers have the same weights where channels have none but zeros.

    A TFLite file has equal weights once, and those of a channel of zeros are raised for the bias of
    one layer (`leansight.exporters.int8.write_tflite.fit_biases`).
    """
    for number, node in enumerate(layers(module), start=1):
        weights, _ = layer_constants(module, node)
        assert weights is not None
        flat = weights.flatten(1)
        idle = (flat == 0).all(1)
        flat[idle, 0] = number * _NEXT_TO_NOTHING
        weights.copy_(flat.reshape(weights.shape))


def _to_onnx(network: nn.Module, example: Tensor) -> bytes:
    with quiet():
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            input_names=["image"],
            output_names=["logits"],
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:  # a third of a small file: calls with the paths of this machine
        node.ClearField("metadata_props")
    return bytes(model.SerializeToString())


def _to_tflite(network: nn.Module, example: Tensor) -> bytes:
    with quiet(), scratch_folder() as folder:
        import litert_torch

        channels_last = litert_torch.to_channel_last_io(network, args=[0])
        file = folder / "model.tflite"
        try:
            litert_torch.convert(channels_last, (example,)).export(str(file))
        except Exception as error:  # what it raises has no class in common but this
            said = str(error).partition("error: ")[2] or f"{type(error).__name__}: {error}"
            raise ConversionError(
                f"litert-torch cannot write this network as TFLite ({said.splitlines()[0]}): "
                "export it without that operator, or for another size of images"
            ) from error
        return file.read_bytes()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what the converters say about themselves off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with drop_lines(lambda _: True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        finally:
            logging.disable(before)
