"""Both float files compute what torch computes."""

import errno
import importlib
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter as LiteRt
from int8_files import Tflite
from onnx import numpy_helper
from torch import Tensor, nn
from trained_networks import Converted, convert_and_quantize, prepared, to_tensor

from leansight.exporters.conversion.convert import convert
from leansight.exporters.errors import ConversionError
from leansight.runtime.interpreter import load_interpreter
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


class AttentionPool(nn.Module):
    """GCNet: a weighted mean of all places, as a matrix times a column."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.weights = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 1, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        shares = self.weights(x).flatten(2).softmax(-1).unsqueeze(3)
        pooled = torch.matmul(self.features(x).flatten(2).unsqueeze(1), shares)
        return self.head(pooled.reshape(1, 8))  # type: ignore[no-any-return]


class HiddenStates(nn.Module):
    """EfficientViM: convolutions along lines, and a product of matrices of what they give."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.states = nn.Conv2d(3, 8, 1), nn.Conv1d(8, 18, 1, bias=False)
        self.mixed = nn.Conv1d(8, 8, 1, bias=False)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        places = self.features(x).flatten(2)
        into, out = self.states(places).split(9, 1)
        hidden = self.mixed(torch.matmul(places, into.softmax(-1).transpose(1, 2)))
        pictures = torch.matmul(hidden, out).view(1, 8, *x.shape[2:])
        return self.head((pictures + self.features(x)).mean((2, 3)))  # type: ignore[no-any-return]


class RelativePositions(nn.Module):
    """BoTNet: what is known of rows and of columns, each repeated along the other, and added."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.columns = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1)
        self.head = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (
            layer(x).unsqueeze(2).expand(-1, -1, 8, -1, -1) for layer in (self.rows, self.columns)
        )
        sums = rows.permute(0, 3, 1, 4, 2) + columns.permute(0, 1, 3, 2, 4)
        return self.head(sums.reshape(1, 64, 64).amax(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("network", [AttentionPool, HiddenStates, RelativePositions])
def test_what_litert_torch_writes_wrongly_is_written_in_other_words(
    network: type[nn.Module],
) -> None:
    torch.manual_seed(0)
    original = network().eval()
    floats = convert(original, Preprocessing(size=8))
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    with torch.inference_mode():
        exact = original(to_tensor(pixels)).numpy()
    litert = LiteRt(model_content=floats.tflite)
    litert.allocate_tensors()
    litert.set_tensor(
        litert.get_input_details()[0]["index"], ((pixels - 128.0) / 128).astype(np.float32)
    )
    litert.invoke()
    given = litert.get_tensor(litert.get_output_details()[0]["index"])
    np.testing.assert_allclose(given, exact, atol=1e-5)


@pytest.mark.slow
def test_a_conversion_needs_no_room_on_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LLVM ends the whole process where it writes a file, and the disk is full."""
    importlib.import_module("litert_torch")  # whose import does need some, for torch's compiler
    (tmp_path / "no-folder").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no-folder"))
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    assert convert(network, Preprocessing(size=8)).tflite[4:8] == b"TFL3"


def test_a_full_disk_is_not_blamed_on_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> None:
        raise RuntimeError("an inner step failed") from OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr("litert_torch.convert", fill)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with pytest.raises(OSError, match=r"^\[Errno 28\] No space left$"):
        convert(network, Preprocessing(size=8))


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


@pytest.mark.slow
@pytest.mark.parametrize("bias", [False, True])
def test_a_dense_layer_without_a_bias_before_a_hard_swish_is_the_same_in_both(
    *, bias: bool
) -> None:
    """As MobileNetV3 is initialised; the picture is wide, and a mean leaves out its border."""
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()),
        nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        *(nn.Linear(8, 16, bias=bias), nn.Hardswish(), nn.Linear(16, 3)),
    ).eval()
    if bias:
        nn.init.zeros_(network[6].bias)
    made = convert_and_quantize(network, Preprocessing(size=(20, 28)))
    pixels = prepared(made.preprocessing, 20, seed=3).pixels
    with torch.inference_mode():
        exact = network(to_tensor(pixels)).numpy()
    for files, atol in ((made.floats.files, 1e-4), (made.int8, 0.1 * np.ptp(exact))):
        tflite, from_onnx = (
            np.stack([model(image[None]) for image in pixels])
            for model in (load_interpreter(file, kind) for kind, file in files.items())
        )
        np.testing.assert_allclose(tflite, exact, atol=atol)
        np.testing.assert_allclose(from_onnx, exact, atol=atol)
    assert np.array_equal(tflite, from_onnx)  # of int8
