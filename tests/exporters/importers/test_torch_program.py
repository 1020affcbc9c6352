"""Programs of torch.export become ONNX, and nothing that they hold is run."""

import errno
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from leansight.exporters.errors import ConversionError
from leansight.exporters.importers.onnx_reader import read_onnx
from leansight.exporters.importers.torch_program import convert_program, write_network
from leansight.runtime.errors import BundleError


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            *(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.Hardswish()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)),
        )

    def forward(self, image: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.softmax(self.layers(image), 1)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("program") / "small.pt2"
    sizes = {"image": {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO}}
    example = (torch.zeros(2, 3, 16, 16),)
    torch.export.save(torch.export.export(Small().eval(), example, dynamic_shapes=sizes), file)
    return file


@pytest.mark.slow
def test_a_program_gives_what_its_network_gave(program: Path, tmp_path: Path) -> None:
    convert_program(program, tmp_path / "small.onnx")
    read = read_onnx(tmp_path / "small.onnx", size=16, channels=3)
    images = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        exact = Small().eval()(images)
        torch.testing.assert_close(torch.softmax(read.network(images), 1), exact)
    assert (read.end, read.outputs, read.size) == ("softmax", 5, 16)


def test_a_full_disk_is_not_blamed_on_the_network(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object, **__: object) -> None:
        raise RuntimeError("it failed") from OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(torch.onnx, "export", fill)
    with pytest.raises(OSError, match=r"^\[Errno 28\] No space left$"):
        convert_program(program, tmp_path / "small.onnx")
    with pytest.raises(OSError, match=r"^\[Errno 28\] No space left$"):
        write_network(Small().layers.eval(), (1, 3, 16, 16), tmp_path / "small.onnx")


def test_a_network_gives_what_it_gave_as_onnx(tmp_path: Path) -> None:
    network = Small().layers.eval()
    write_network(network, (1, 3, 16, 16), tmp_path / "small.onnx")
    read = read_onnx(tmp_path / "small.onnx", size=None, channels=3)
    images = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(read.network(images), network(images))


def changed(program: Path, target: Path, change: Callable[[Any], None], **added: bytes) -> Path:
    """Write a program with another description, and more files."""
    with zipfile.ZipFile(program) as archive, zipfile.ZipFile(target, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith("models/model.json"):
                description = json.loads(content)
                change(description)
                content = json.dumps(description).encode()
            copy.writestr(name, content)
        for name, content in added.items():
            copy.writestr(f"small/data/{name.replace('__', '/')}", content)
    return target


def nodes(description: Any) -> Any:  # noqa: ANN401 -- torch's own format
    return description["graph_module"]["graph"]["nodes"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: nodes(d)[0].update(target="torch.load"), "operator torch.load, which is not"),
        (lambda d: nodes(d)[0].update(target="os.system"), "operator os.system, which is not"),
        (
            lambda d: d.update(guards_code=["exec('import os')"]),
            r"computed \(exec\('import os'\)\)",
        ),
        (lambda d: d.update(size={"expr_str": "exec('x')"}), r"sizes that are computed \(exec"),
        (lambda d: d.update(size={"expr_str": "s0.__class__"}), "sizes that are computed"),
        (lambda d: d.update(weight={"use_pickle": True}), "holds a pickled tensor"),
    ],
)
def test_what_torch_would_evaluate_is_refused(
    program: Path, tmp_path: Path, change: Callable[[Any], None], message: str
) -> None:
    bad = changed(program, tmp_path / "bad.pt2", change)
    with pytest.raises(ConversionError, match=message):
        convert_program(bad, tmp_path / "bad.onnx")


@pytest.mark.parametrize("name", ["constants__custom_obj_0", "aotinductor__model__model.so"])
def test_objects_and_libraries_in_a_program_are_refused(
    program: Path, tmp_path: Path, name: str
) -> None:
    bad = changed(program, tmp_path / "bad.pt2", lambda _: None, **{name: b"anything"})
    with pytest.raises(ConversionError, match="which is no tensor: it is not read"):
        convert_program(bad, tmp_path / "bad.onnx")


def test_other_files_are_no_programs(tmp_path: Path) -> None:
    (tmp_path / "text.pt2").write_text("no program")
    torch.save({"w": torch.zeros(1)}, tmp_path / "weights.pt2")
    for name in ("text.pt2", "weights.pt2"):
        with pytest.raises(BundleError, match=f"{name} is no program that torch.export.save"):
            convert_program(tmp_path / name, tmp_path / "x.onnx")
