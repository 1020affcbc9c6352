"""A name of timm or torchvision becomes a network from elsewhere, with what its library knows."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from leansight.runtime.errors import DataError
from leansight.sdk.deployment.imported_network import read_network
from leansight.sdk.deployment.named_origin import NamedSource, complete
from leansight.sdk.models.named import NetworkName

NAME = NetworkName(library="timm", name="mobilenetv3_small_050")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "best.pth"
    torch.manual_seed(0)
    torch.save(timm.create_model(NAME.name, num_classes=3).state_dict(), file)
    (file.parent / "labels.txt").write_text("disc\nbars\ncross\n")
    return file


def test_the_library_says_how_images_are_seen(
    weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = NamedSource(name=NAME, weights=weights, labels=weights.parent / "labels.txt", size=32)
    origin = complete(source)
    assert (origin.size, origin.colour, origin.fit) == (32, "rgb", "centre-crop")
    assert origin.mean == (123.675, 116.28, 103.53)
    told = " ".join(capsys.readouterr().err.split())
    assert "timm:mobilenetv3_small_050: weights best.pth, 3 classes, labels" in told
    assert "images: 32×32 rgb, centre-crop, mean 123.675,116.28,103.53, std 58.395" in told


def test_it_is_read_as_any_file_is(weights: Path) -> None:
    source = NamedSource(name=NAME, weights=weights, labels=weights.parent / "labels.txt", size=32)
    given = read_network(Path(str(NAME)), complete(source), None)
    assert given.labels == ("disc", "bars", "cross")
    assert given.recipe.name == NAME.name
    network = timm.create_model(NAME.name, num_classes=3).eval()
    network.load_state_dict(torch.load(weights))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    wanted = (pixels / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    ours = torch.from_numpy((pixels - 128) / 128).permute(0, 3, 1, 2)
    with torch.no_grad():
        exact = network(torch.from_numpy(wanted).float().permute(0, 3, 1, 2))
        torch.testing.assert_close(given.module(ours), exact, rtol=1e-3, atol=1e-4)


def test_what_is_said_comes_before_what_the_library_says(weights: Path) -> None:
    origin = complete(
        NamedSource(
            name=NAME,
            weights=weights,
            labels=weights.parent / "labels.txt",
            colour="bgr",
            std=(1.0,),
            size=32,
            fit="stretch",
        )
    )
    assert origin.mean == (103.53, 116.28, 123.675)  # of blue first
    assert (origin.std, origin.fit) == ((1.0,), "stretch")


def test_labels_that_nobody_knows_are_asked_for(weights: Path) -> None:
    with pytest.raises(DataError, match=r"best\.pth tells 3 classes apart and does not say which"):
        complete(NamedSource(name=NAME, weights=weights, size=32))


def test_gray_needs_a_normalisation(weights: Path) -> None:
    with pytest.raises(DataError, match="of gray pixels mean and deviation must be given"):
        complete(NamedSource(name=NAME, weights=weights, colour="gray"))
