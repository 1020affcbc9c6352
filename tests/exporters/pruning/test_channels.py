"""Pruning takes out what is worth least and leaves the rest as it was."""

from functools import partial
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from leansight.exporters.errors import PruningError
from leansight.exporters.pruning.allocation import (
    measure_sensitivity,
    spread_evenly,
)
from leansight.exporters.pruning.channels import (
    Importance,
    count_macs,
    prune,
    score_channels,
)
from leansight.sdk.models.build import build_network, load_network
from leansight.sdk.recipes.model import ModelRecipe

HEAD = ("head",)


NETWORKS = {
    "resnet-custom": ModelRecipe(width=16, blocks=(2, 2)),
    "masks-cnn": ModelRecipe(name="masks-cnn", width=16, blocks=(1, 1, 1), head=(32,)),
    "plain-cnn": ModelRecipe(name="plain-cnn", blocks=(1, 2, 2), widths=(16, 32, 48)),
    "residual plain-cnn": ModelRecipe(
        name="plain-cnn", width=16, blocks=(2, 2), block="residual", body_batch_norm=True
    ),
    "mixed-blocks": ModelRecipe(name="mixed-blocks", width=16, blocks=(1, 1)),
    "unpadded-cnn": ModelRecipe(
        name="unpadded-cnn",
        filters=(32, 16, 16),
        kernels=(6, 3, 3),
        pools=(1, 2, 3),
        flatten=True,
        head=(32, 16),
        head_batch_norm=True,
    ),
    "efficientnet_lite0": ModelRecipe(name="efficientnet_lite0"),
    "mobilenetv1_100": ModelRecipe(name="mobilenetv1_100"),
    "mobilenetv2_100": ModelRecipe(name="mobilenetv2_100"),
    "mobilenetv3_large_100": ModelRecipe(name="mobilenetv3_large_100"),
    "resnet50": ModelRecipe(name="resnet50", head=(64,), head_batch_norm=True),
    "resnetv2_50": ModelRecipe(name="resnetv2_50"),
    "vgg19": ModelRecipe(name="vgg19"),
    "resnext50_32x4d": ModelRecipe(name="resnext50_32x4d"),
    "inception_resnet_v2": ModelRecipe(name="inception_resnet_v2"),
    "ensemble": ModelRecipe(name="ensemble", bodies=("resnext50_32x4d", "mobilenetv3_large_100")),
    "densenet201": ModelRecipe(name="densenet201"),
}


BIG = {
    *("resnet50", "resnetv2_50", "vgg19", "resnext50_32x4d", "inception_resnet_v2", "ensemble"),
}


def built(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    size = 80 if name == "inception_resnet_v2" else 64
    network = build_network(NETWORKS[name], classes=3, channels=3, size=size).eval()
    return network, torch.zeros(1, 3, size, size)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in BIG else n for n in NETWORKS]
)
def test_every_network_is_pruned_and_still_learns(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "densenet201":
        # Its layers all read those before them: 98 take a minute, and 6 of two blocks show it.
        small = partial(timm.create_model, block_config=(3, 3))
        monkeypatch.setattr(timm, "create_model", small)
    network, example = built(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    groups = score_channels(network, example, outputs=HEAD, importance="magnitude")
    kept = spread_evenly(groups, 0.5)
    pruned = prune(network, example, groups, kept, outputs=HEAD)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    # Half of the channels on both sides of a layer; rounded up where they are few.
    assert 0.2 < count_macs(pruned, example) / count_macs(network, example) < 0.5
    for name_, layer in pruned.named_modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.out_channels % 8 == 0, name_
    images = torch.randn(4, *example.shape[1:])
    torch.manual_seed(1)
    optimiser = torch.optim.SGD(pruned.parameters(), 0.01)
    pruned.train()
    losses = []
    for _ in range(6):
        loss = functional.cross_entropy(pruned(images), torch.tensor([0, 1, 2, 0]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert min(losses[1:]) < losses[0]
    # What is stored is read again by its shapes.
    from safetensors.torch import save_file

    state = {key: value.contiguous() for key, value in pruned.state_dict().items()}
    save_file(state, tmp_path / "pruned.safetensors")
    read = load_network(
        tmp_path / "pruned.safetensors",
        NETWORKS[name],
        classes=3,
        channels=3,
        size=example.shape[-1],
    ).eval()
    with torch.no_grad():
        torch.testing.assert_close(read(images), pruned.eval()(images))


@pytest.mark.parametrize(
    "name",
    ["resnet-custom", "mixed-blocks", "unpadded-cnn", "mobilenetv2_100", "mobilenetv3_large_100"],
)
def test_what_is_nothing_goes_and_the_answers_stay(name: str) -> None:
    """Every second channel is made nothing everywhere: it goes, and nothing changes."""
    network, example = built(name)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -1, 1)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 1)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
                layer.weight[1::2] = 0
                if layer.bias is not None:
                    layer.bias[1::2] = 0
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.weight.shape[1] > 3:
                layer.weight[:, 1::2] = 0  # what reads nothing is worth nothing
        logits = network(images := torch.randn(2, *example.shape[1:]))
    groups = score_channels(network, example, outputs=HEAD, importance="magnitude")
    half = {g.name: g.channels // 2 for g in groups if g.name.startswith("body")}
    pruned = prune(network, example, groups, half, outputs=HEAD)
    with torch.no_grad():
        torch.testing.assert_close(pruned(images), logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("importance", ["magnitude", "bn-scale", "taylor"])
def test_each_importance_finds_the_channels_that_matter(importance: Importance) -> None:
    network, example = built("resnet-custom")
    inner = network.get_submodule("body.stage1.0.body")
    with torch.no_grad():
        inner[1].weight[[0, 3, 5]] = 0.001  # a batch norm that lets nearly nothing through
        inner[0].weight[[0, 3, 5]] *= 0.001
    images, targets = torch.randn(8, *example.shape[1:]), torch.arange(8) % 3
    groups = score_channels(
        network,
        example,
        outputs=HEAD,
        importance=importance,
        loss=lambda net: iter([functional.cross_entropy(net(images), targets)]),
    )
    (group,) = [g for g in groups if g.name == "body.stage1.0.body.0"]
    assert set(group.scores.argsort()[:3]) == {0, 3, 5}


def test_without_batch_norms_their_scale_is_no_importance() -> None:
    network, example = built("masks-cnn")
    with pytest.raises(PruningError, match="has no batch norm: choose another"):
        score_channels(network, example, outputs=HEAD, importance="bn-scale")


def test_a_layer_that_matters_is_more_sensitive() -> None:
    network, example = built("resnet-custom")
    images = torch.randn(8, *example.shape[1:])
    with torch.no_grad():
        network.get_submodule("body.stage1.1.body.4").weight.zero_()  # this one is nothing
        whole = network(images)
    groups = score_channels(network, example, outputs=HEAD, importance="magnitude")
    done: list[tuple[int, int]] = []
    cuts = measure_sensitivity(
        network,
        example,
        groups,
        outputs=HEAD,
        loss=lambda net: iter([functional.mse_loss(net(images), whole)]),
        progress=lambda n, of: done.append((n, of)),
    )
    assert done[-1] == (len(cuts), len(cuts))
    rises: dict[str, list[float]] = {}
    for cut in cuts:
        rises.setdefault(cut.name, []).append(cut.rise)
    assert all(values == sorted(values) for values in rises.values())
    assert max(rises.pop("body.stage1.1.body.0")) < 1e-9
    assert max(rises.pop("body.stage1.1.body.3")) < 1e-9  # sees nothing else
    assert min(max(values) for values in rises.values()) > 1e-6
