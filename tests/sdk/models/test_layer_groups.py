from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from networks import OWN, S2_HEAD, TIMM, convolutions, count, gray_noise, weightless
from torch import Tensor, nn

from leansight.sdk.models.build import build_network
from leansight.sdk.models.layer_groups import freeze, layer_groups, parameter_groups
from leansight.sdk.models.networks import network_input
from leansight.sdk.recipes.model import ModelRecipe


def check_partition(network: nn.Module, groups: Sequence[nn.Module]) -> None:
    """Every parameter is in exactly one group."""
    ids = Counter(id(p) for group in groups for p in group.parameters())
    assert ids == Counter(id(p) for p in network.parameters())


@pytest.mark.parametrize("name", TIMM)
def test_groups_of_timm_networks_are_their_resolutions(name: str) -> None:
    network = weightless(ModelRecipe(name=name, head=(8,)), classes=3)
    groups = layer_groups(network)
    assert len(groups) == 5 + 1
    check_partition(network, groups)
    assert list(groups[-1].parameters())[-1] is network.head.bias


def test_groups_are_in_order() -> None:
    network = weightless(ModelRecipe(name="resnet50"), classes=3)
    names = {id(p): n for n, p in network.named_parameters()}
    parts = [
        {names[id(p)].split(".")[2] for p in group.parameters()}
        for group in layer_groups(network)[:-1]
    ]
    assert parts == [{"conv1", "bn1"}, {"layer1"}, {"layer2"}, {"layer3"}, {"layer4"}]


def test_groups_of_our_own_networks_are_stem_stages_and_head() -> None:
    network = weightless(OWN["resnet-custom"], classes=3)
    (stem, first, second, head) = layer_groups(network)
    assert [count(stem), count(head)] == [27 * 4 + 8, 32 * 3 + 3]
    assert count(first) < count(second)


def test_groups_of_an_ensemble_are_those_of_its_bodies_from_the_end() -> None:
    recipe = ModelRecipe(name="ensemble", bodies=("mobilenetv1_100", "densenet201"))
    network = weightless(recipe, classes=3)
    groups = layer_groups(network)
    check_partition(network, groups)
    each = [body.groups() for body in network.body.bodies]
    assert [count(g) for g in groups[:-1]] == [
        count(one) + count(other) for one, other in zip(*each, strict=True)
    ]


def test_a_network_without_a_body_is_one_group() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    (group,) = layer_groups(network)
    check_partition(network, [group])


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("layers", [-1, 0, 1, 99])
def test_the_last_layers_learn(name: str, layers: int) -> None:
    network = build_network(OWN[name], classes=3, channels=3)
    freeze(network, 0)
    freeze(network, layers)  # the last word counts
    learning = [n for n, p in network.named_parameters() if p.requires_grad]
    names = [n for n, _ in network.named_parameters()]
    if layers in (-1, 99):
        assert learning == names
    else:
        last = convolutions(network.body)[-1]
        assert learning[-2:] == ["head.weight", "head.bias"]
        assert last.weight.requires_grad == (layers == 1)
        assert len(convolutions(network.body)) - layers == sum(
            not layer.weight.requires_grad for layer in convolutions(network.body)
        )


def trained_once(network: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the network's state before and after one step of an optimiser."""
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    groups = parameter_groups(network, learning_rate=0.1, layer_decay=1, weight_decay=0.1)
    optimiser = torch.optim.AdamW(groups)
    network(network_input(gray_noise(4, 3, 32))).square().sum().backward()
    optimiser.step()
    return before, network.state_dict()


@pytest.mark.parametrize("name", ["mobilenetv1_100", "resnet-custom"])
def test_nothing_of_a_frozen_body_changes_in_training(name: str) -> None:
    recipe = ModelRecipe(name=name, blocks=(1,), width=4, head=(8,), head_batch_norm=True)
    network = build_network(recipe, classes=3, channels=3)
    freeze(network, 0)
    before, after = trained_once(network)
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {name for name in after if name.startswith(("head.", "hidden."))}


def test_unfrozen_batch_norms_learn_again() -> None:
    network = build_network(OWN["resnet-custom"], classes=3, channels=3)
    freeze(network, 1)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    network.train()
    assert [norm.training for norm in norms] == [False] * (len(norms) - 1) + [True]
    freeze(network, -1)
    network.train()
    assert all(norm.training for norm in norms)
    network.eval()
    assert not any(module.training for module in network.modules())


def test_each_group_learns_slower_than_the_one_above_it() -> None:
    network = build_network(OWN["resnet-custom"], classes=3, channels=3)
    groups = parameter_groups(network, learning_rate=0.1, layer_decay=0.5, weight_decay=0.01)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    expected = [0.0125, 0.025, 0.05, 0.1]
    for layers, rate in zip(layer_groups(network), expected, strict=True):
        for parameter in layers.parameters():
            assert rates[id(parameter)] == pytest.approx(rate)


@pytest.mark.parametrize("decay", [0.3, 1.0])
def test_biases_and_norms_do_not_decay(decay: float) -> None:
    network = weightless(S2_HEAD, classes=3)
    groups = parameter_groups(network, learning_rate=0.1, layer_decay=decay, weight_decay=0.01)
    for group in groups:
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] > 0}
    ids = Counter(id(p) for group in groups for p in group["params"])
    assert ids == Counter(id(p) for p in network.parameters())
    assert len(groups) == (2 if decay == 1 else 2 * (3 + 1))


def test_frozen_layers_are_in_the_groups_so_that_they_can_be_unfrozen() -> None:
    network = weightless(OWN["resnet-custom"], classes=3)
    freeze(network, 0)
    groups = parameter_groups(network, learning_rate=1, layer_decay=1, weight_decay=0)
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
