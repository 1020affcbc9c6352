"""Conversion: the float network as an ONNX and a TFLite graph with the same folded weights."""

import contextlib
import copy
import io
import logging
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, fx, nn
from torch.fx._lazy_graph_module import _use_lazy_graph_module

from leansight.exporters.conversion.folding import fold
from leansight.exporters.conversion.pooling import pad_before_pooling
from leansight.exporters.conversion.torch_graph import (
    ATEN,
    add_constants,
    layer_constants,
    layers,
)
from leansight.exporters.errors import ConversionError
from leansight.runtime.interpreter import Format
from leansight.runtime.preprocessing import Preprocessing
from leansight.runtime.system.collector import importing
from leansight.runtime.system.standard_error import drop_lines
from leansight.runtime.system.whole_files import raise_error_of_disk

_NEXT_TO_NOTHING: Final = 1e-30  # a weight


@dataclass(frozen=True, kw_only=True)
class FloatGraphs:
    """One float32 network as two files: ONNX takes (1, C, H, W), TFLite takes (1, H, W, C).

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
    """Return the two graphs of a network that takes (N, C, H, W) float32.

    Batch norms are folded once, before either conversion, so that both files hold the same
    weights bit for bit.

    Raises:
        ConversionError: litert-torch cannot write an operator of it.

    """
    return convert_folded(fold(network, example_image(preprocessing)), preprocessing)


def example_image(preprocessing: Preprocessing, count: int = 1) -> Tensor:
    """Return as many empty images as a network takes them, (N, C, H, W) float32."""
    size = preprocessing.height, preprocessing.width
    return torch.zeros(count, preprocessing.channels, *size)


def convert_folded(folded: fx.GraphModule, preprocessing: Preprocessing) -> FloatGraphs:
    """Return the two graphs of a network that is folded already, such as one that learnt on."""
    image = example_image(preprocessing)
    padded = copy.deepcopy(folded)
    pad_before_pooling(padded)
    _tell_idle_layers_apart(padded)
    _tell_twins_apart(padded)
    _give_dense_layers_a_bias(padded)
    # litert-torch 0.10 takes two constants for one where it has copied each to bring it in order.
    for constant in (*padded.parameters(), *padded.buffers()):
        constant.data = constant.data.contiguous()
    # Python code of graphs between, which nobody runs, takes a tenth of the time or more: torch
    # writes it when it is first called.
    with _use_lazy_graph_module(True):  # noqa: FBT003 -- torch's own
        return FloatGraphs(
            onnx=_to_onnx(folded, image),
            tflite=_to_tflite(padded, image.movedim(1, 3).contiguous()),
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


@torch.no_grad()
def _tell_twins_apart(module: fx.GraphModule) -> None:
    """Let no two layers compute the same but for their biases: one weight differs by its last bit.

    TFLite's converter makes one layer without a bias of them, and sums of the biases.
    """
    seen: set[tuple[object, ...]] = set()
    for node in layers(module):
        weights, _ = layer_constants(module, node)
        assert weights is not None
        own, above = weights.clone(memory_format=torch.contiguous_format), torch.tensor(math.inf)
        while (key := (*node.args[:1], str(node.args[3:]), own.numpy().tobytes())) in seen:
            own.view(-1)[0] = torch.nextafter(own.view(-1)[0], above)
        seen.add(key)
        if not own.equal(weights):
            (constant,) = add_constants(module, node, own)
            node.args = (*node.args[:1], constant, *node.args[2:])
    module.recompile()


@torch.no_grad()
def _give_dense_layers_a_bias(module: fx.GraphModule) -> None:
    """Give a dense layer that two others read, as a hard-swish does, next to no bias for none.

    litert-torch 0.10 writes one without, or with zeros, as a product of matrices, and fails where
    this is read as features and as a picture.
    """
    for node in layers(module):
        weights, bias = layer_constants(module, node)
        if node.target is not ATEN.linear.default or weights is None or len(node.users) < 2:  # noqa: PLR2004
            continue
        if bias is None:
            (constant,) = add_constants(
                module, node, torch.full(weights.shape[:1], _NEXT_TO_NOTHING)
            )
            node.args = (*node.args[:2], constant)
        elif not bias.any():
            bias.fill_(_NEXT_TO_NOTHING)
    module.recompile()


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
    with quiet():
        with importing():
            import litert_torch

        channels_last = litert_torch.to_channel_last_io(network, args=[0])
        try:
            # Not into a file: where the disk is full, LLVM would end the process.
            content: bytes = litert_torch.convert(channels_last, (example,)).model_content()
        except Exception as error:  # what it raises has no class in common but this
            raise_error_of_disk(error)
            said = str(error).partition("error: ")[2] or f"{type(error).__name__}: {error}"
            raise ConversionError(
                f"litert-torch cannot write this network as TFLite ({said.splitlines()[0]}): "
                "export it without that operator, or for another size of images"
            ) from error
        return content


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
