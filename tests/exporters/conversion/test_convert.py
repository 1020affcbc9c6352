"""Both float files compute what torch computes."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter as LiteRt
from int8_files import Tflite
from onnx import numpy_helper
from torch import Tensor, nn
from trained_networks import Converted, prepared, to_tensor

from leansight.exporters.conversion.convert import convert
from leansight.exporters.errors import ConversionError
from leansight.runtime.preprocessing import Preprocessing

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")


@pytest.mark.slow
def test_float_graphs_compute_what_torch_computes(converted: Converted) -> None:
    pixels = prepared(converted.preprocessing, 10, seed=3).pixels
    with torch.inference_mode():
        exact = converted.network(to_tensor(pixels)).numpy()
    session = ort.InferenceSession(converted.floats.onnx, providers=["CPUExecutionProvider"])
    litert = LiteRt(model_content=converted.floats.tflite)
    litert.allocate_tensors()
    for image, logits in zip(pixels, exact, strict=True):
        (from_onnx,) = session.run(None, {"image": to_tensor(image[None]).numpy()})
        litert.set_tensor(
            litert.get_input_details()[0]["index"], ((image[None] - 128.0) / 128).astype(np.float32)
        )
        litert.invoke()
        from_tflite = litert.get_tensor(litert.get_output_details()[0]["index"])
        np.testing.assert_allclose(from_onnx[0], logits, atol=1e-4)
        np.testing.assert_allclose(from_tflite[0], logits, atol=1e-4)


class Determinants(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.det(x[:, :, :3, :3])


@pytest.mark.slow
def test_what_litert_torch_cannot_write_is_said_in_one_line() -> None:
    line = r"^litert-torch cannot .* \(RuntimeError: .*det\.default\): .*size of images$"
    with pytest.raises(ConversionError, match=line):
        convert(Determinants(), Preprocessing(size=8))


@pytest.mark.slow
def test_both_float_files_hold_the_same_bits(converted: Converted) -> None:
    onnx_weights = {
        numpy_helper.to_array(i).tobytes()
        for i in onnx.load_from_string(converted.floats.onnx).graph.initializer
        if len(i.dims) == 2
    }
    tflite = Tflite(converted.floats.tflite)
    (head,) = (i[1] for kind, i, _ in tflite.operators if kind == "FULLY_CONNECTED")
    assert tflite.values(head, np.float32).tobytes() in onnx_weights
