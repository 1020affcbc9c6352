"""Arithmetic with constants, wherever it stands, is computed in integers by both formats."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from leansight.exporters.conversion.convert import convert
from leansight.exporters.conversion.folding import fold
from leansight.exporters.int8.calibrated_network import calibrate_network
from leansight.exporters.verification.float_layers import names_of_float_layers
from leansight.runtime.interpreter import load_interpreter
from leansight.runtime.preprocessing import Preprocessing

CONSTANTS = torch.tensor([[[0.5]], [[-2.0]], [[0.25]], [[3.0]]])


class Changed(nn.Module):
    """What a function gives is read by layers, a sum, a gate and a mean."""

    def __init__(self, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.change = change
        self.register_buffer("numbers", CONSTANTS)
        self.body, self.deep = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1)
        self.gate, self.head = nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        numbers = self.get_buffer("numbers")
        x = self.change(self.body(x).relu(), numbers)
        y = self.change(self.deep(x).relu(), numbers)
        x = x + y * self.gate(y.mean((2, 3), keepdim=True)).relu()
        return self.head(self.change(x.relu(), numbers).mean((2, 3)))  # type: ignore[no-any-return]


CHANGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "difference": lambda x, _: x - 0.5,
    "difference the other way": lambda x, _: 1 - x,
    "difference of each channel": lambda x, numbers: x - numbers,
    "quotient": lambda x, _: x / 3,
    "quotient of each channel": lambda x, numbers: x / numbers,
    "negative": lambda x, _: -x,
    "square": lambda x, _: x**2,
    "cube": lambda x, numbers: (x - numbers) ** 3,
    "several": lambda x, numbers: (2 - x * numbers) / 3 - 1,
}


@pytest.mark.parametrize("name", CHANGES)
def test_arithmetic_with_constants_is_computed_as_before(name: str) -> None:
    network, image = Changed(CHANGES[name]).eval(), torch.randn(1, 3, 8, 8)
    graph = fold(network, image)
    torch.testing.assert_close(graph(image), network(image), rtol=1e-4, atol=1e-4)
    left = {
        str(node.target).split(".")[1] for node in graph.graph.nodes if "aten" in str(node.target)
    }
    assert not left & {"sub", "div", "neg", "rsub", "pow"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["difference the other way", "quotient of each channel", "several"]
)
def test_arithmetic_with_constants_is_the_same_in_integers(name: str) -> None:
    torch.manual_seed(0)
    floats = convert(Changed(CHANGES[name]).eval(), Preprocessing(size=8))
    rng = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (16, 8, 8, 3), generator=rng, dtype=torch.uint8).numpy()
    files = calibrate_network(floats, pixels, lambda *_: None).write()
    assert names_of_float_layers(files) == ()
    tflite, onnx = (load_interpreter(files[kind], kind, threads=1, name=kind) for kind in files)
    for one in pixels:
        assert (tflite(one[None]) == onnx(one[None])).all()
