"""Networks of timm and torchvision are built for the weights that they are given."""

import errno
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from leansight.runtime.errors import DataError
from leansight.sdk.models import named
from leansight.sdk.models.named import (
    NamedNetwork,
    NetworkName,
    load_named,
    parse_name,
    published_settings,
)

SMALL = "timm:mobilenetv3_small_050"


def name_of(text: str) -> NetworkName:
    name = parse_name(text)
    assert name is not None
    return name


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("mobilenetv3_small_050", num_classes=7).eval()


def load(file: Path, text: str = SMALL, size: int = 32) -> NamedNetwork:
    return load_named(name_of(text), file, size=size)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model."])
def test_a_state_dict_gives_what_its_network_gave(
    trained: nn.Module, prefix: str, tmp_path: Path
) -> None:
    weights = {f"{prefix}{name}": value for name, value in trained.state_dict().items()}
    if prefix == "model.":  # as Lightning's, beside a loss
        weights["criterion.weight"] = torch.ones(3)
    wrapped = {"epoch": 3, "state_dict": weights} if prefix else weights
    torch.save(wrapped, tmp_path / "best.pth")
    loaded = load(tmp_path / "best.pth")
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded.module(images), trained(images), rtol=0, atol=0)
    assert (loaded.classes, loaded.source, loaded.labels) == (7, "best.pth", ())


def test_safetensors_of_torchvision_are_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torchvision.models.squeezenet1_1(num_classes=4).eval()
    save_file(network.state_dict(), tmp_path / "best.safetensors")
    loaded = load(tmp_path / "best.safetensors", "torchvision:squeezenet1_1", 64)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded.module(images), network(images), rtol=0, atol=0)


def test_gray_weights_of_timm_are_read(tmp_path: Path) -> None:
    network = timm.create_model("mobilenetv3_small_050", num_classes=3, in_chans=1)
    torch.save(network.state_dict(), tmp_path / "gray.pth")
    loaded = load_named(name_of(SMALL), tmp_path / "gray.pth", size=32, channels=1)
    assert loaded.module(torch.zeros(1, 1, 32, 32)).shape == (1, 3)
    with pytest.raises(DataError, match=r"conv_stem.weight is 16×1×3×3, not 16×3×3×3$"):
        load(tmp_path / "gray.pth")
    with pytest.raises(DataError, match="takes three channels"):
        load_named(name_of("torchvision:squeezenet1_1"), tmp_path / "gray.pth", size=32, channels=1)


def test_imagenets_classes_are_named(tmp_path: Path) -> None:
    network = torchvision.models.squeezenet1_1()
    torch.save(network.state_dict(), tmp_path / "published.pth")
    loaded = load(tmp_path / "published.pth", "torchvision:squeezenet1_1")
    assert (loaded.labels[0], loaded.labels[999], len(loaded.labels)) == (
        *("tench", "toilet tissue"),
        1000,
    )


@pytest.mark.parametrize("damage", ["missing", "strange", "shape"])
def test_weights_that_do_not_fit_are_told_in_one_line(
    trained: nn.Module, damage: str, tmp_path: Path
) -> None:
    weights = dict(trained.state_dict())
    first = weights.pop("conv_stem.weight")
    match damage:
        case "missing":
            message = (
                "best.pth does not fit timm:mobilenetv3_small_050: conv_stem.weight is missing$"
            )
        case "strange":
            weights |= {"conv_stem.weight": first, "more.weight": first}
            message = "050: more.weight is not in the network$"
        case _:
            weights["conv_stem.weight"] = first[:8]
            message = "conv_stem.weight is 8×3×3×3, not 16×3×3×3$"
    torch.save(weights, tmp_path / "best.pth")
    with pytest.raises(DataError, match=message):
        load(tmp_path / "best.pth")


def test_another_networks_weights_are_told(trained: nn.Module, tmp_path: Path) -> None:
    torch.save(trained.state_dict(), tmp_path / "best.pth")
    with pytest.raises(DataError, match=r"conv1.weight is missing, .* and \d+ more$"):
        load(tmp_path / "best.pth", "torchvision:resnet18")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timm:mobilenetv4_conv_smal", "did you mean timm:mobilenetv4_conv_small"),
        ("timm:swin_t", "did you mean torchvision:swin_t or"),
        ("torchvision:resnet19", "did you mean torchvision:resnet18"),
        ("timm:resnet18.none", r"timm:resnet18.none: Invalid pretrained tag"),
    ],
)
def test_a_wrong_name_suggests_near_ones(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        published_settings(name_of(text))


def test_a_file_is_no_name() -> None:
    assert parse_name("model.onnx") is None
    assert parse_name("timm:resnet18.a1_in1k") == NetworkName(
        library="timm", name="resnet18.a1_in1k"
    )


def test_the_settings_are_the_librarys_own() -> None:
    inception = published_settings(name_of("timm:inception_v3.tf_in1k"))
    own = timm.data.resolve_data_config(model=timm.create_model("inception_v3.tf_in1k"))
    assert inception.size == own["input_size"][1] == 299
    assert inception.mean == tuple(255 * m for m in own["mean"]) == (127.5,) * 3
    assert inception.fit == "centre-crop"
    swin = published_settings(name_of("torchvision:swin_t"))
    assert (swin.size, swin.mean, swin.std) == (
        *(224, (123.675, 116.28, 103.53)),
        (58.395, 57.12, 57.375),
    )


def test_a_full_disk_is_not_blamed_on_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: Any, **__: Any) -> None:  # noqa: ANN401 -- whatever it is called with
        raise OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(named, "hub_source", fill)
    with pytest.raises(OSError, match=r"^\[Errno 28\] No space left$"):
        load_named(name_of("timm:mobilenetv3_small_100"), None, size=32)


def test_a_download_that_fails_says_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:  # noqa: ANN401 -- whatever it is called with
        raise OSError("Name or service not known")

    monkeypatch.setattr(named, "hub_source", fail)
    line = (
        r"timm:mobilenetv3_small_100 was given no weights, .* \(Name or service not known\): "
        "give a .pth, .pt or .safetensors file"
    )
    with pytest.raises(DataError, match=line):
        load_named(name_of("timm:mobilenetv3_small_100"), None, size=32)
