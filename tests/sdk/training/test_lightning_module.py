import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, softmax
from torch import nn

from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.recipes.schema import Distillation, Recipe, Training
from leansight.sdk.training.lightning_module import LearningTask, one_cycle, optimiser
from leansight.sdk.training.losses import clamped_binary_cross_entropy, teacher_loss
from leansight.sdk.training.teachers import Teachers

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]])
TAUGHT = torch.tensor([[1.0, 0.0, 0.5], [-1.0, 2.0, 0.0]])


def test_s5s_loss_is_what_its_formula_says() -> None:
    targets = np.array([[1, 0, 1], [0, 1, 1]])
    p = 0.99 * expit(LOGITS.numpy()) + 0.005
    expected = -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).sum(axis=1).mean()
    found = clamped_binary_cross_entropy(LOGITS, torch.tensor(targets).float(), 0.005)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_without_a_clamp_it_is_the_sum_of_binary_cross_entropies() -> None:
    targets = torch.tensor([[1.0, 0, 1], [0, 1, 1]])
    found = clamped_binary_cross_entropy(LOGITS, targets, 0)
    small = clamped_binary_cross_entropy(LOGITS, targets, 1e-7)
    assert float(found) == pytest.approx(float(small), rel=1e-4)


def test_no_wrong_label_costs_more_than_the_clamp_lets_it() -> None:
    wrong = clamped_binary_cross_entropy(torch.tensor([[-80.0]]), torch.tensor([[1.0]]), 0.005)
    assert float(wrong) == pytest.approx(-math.log(0.005), rel=1e-4)


def test_a_teachers_loss_is_the_divergence_from_its_probabilities() -> None:
    t = 3.0
    p = softmax(TAUGHT.numpy() / t, axis=1)
    difference = log_softmax(TAUGHT.numpy() / t, axis=1) - log_softmax(LOGITS.numpy() / t, axis=1)
    expected = (p * difference).sum(axis=1).mean() * t**2
    found = teacher_loss(LOGITS, TAUGHT, Distillation(temperature=t), "classification")
    assert float(found) == pytest.approx(expected, rel=1e-5)
    assert float(teacher_loss(TAUGHT, TAUGHT, Distillation(), "classification")) == pytest.approx(
        0, abs=1e-6
    )


def test_a_teacher_of_many_labels_teaches_each() -> None:
    p, q = expit(TAUGHT.numpy() / 2), expit(LOGITS.numpy() / 2)
    expected = -(p * np.log(q) + (1 - p) * np.log(1 - q)).sum(axis=1).mean() * 4
    found = teacher_loss(LOGITS, TAUGHT, Distillation(temperature=2), "multilabel")
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sgd", torch.optim.SGD),
        ("adam", torch.optim.Adam),
        ("nadam", torch.optim.NAdam),
        ("adamw", torch.optim.AdamW),
    ],
)
def test_each_optimiser_keeps_its_groups_rates(name: str, kind: type) -> None:
    training = replace(Training(), optimiser=name)
    groups = [
        {"params": [nn.Parameter(torch.zeros(1))], "lr": 0.1, "weight_decay": 0.5},
        {"params": [nn.Parameter(torch.zeros(1))], "lr": 0.2, "weight_decay": 0.0},
    ]
    made = optimiser(training, groups, 0.2)
    assert isinstance(made, kind)
    assert [g["lr"] for g in made.param_groups] == [0.1, 0.2]
    assert [g["weight_decay"] for g in made.param_groups] == [0.5, 0]


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10, 20, 1000])
def test_one_cycle_of_any_length_rises_to_each_groups_peak_and_falls(steps: int) -> None:
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (0.1, 0.02)]
    made = torch.optim.SGD(groups, 0.1)
    schedule = one_cycle(made, steps)
    rates = [schedule.get_last_lr()]
    for _ in range(steps - 1):
        made.step()
        schedule.step()
        rates.append(schedule.get_last_lr())
    for group, peak in enumerate((0.1, 0.02)):
        by_step = [both[group] for both in rates]
        assert max(by_step) <= peak
        if steps >= 4:
            assert max(by_step) == pytest.approx(peak)
            assert by_step[-1] < peak / 1000


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("traffic-signs-small", ["model.width=4", "model.blocks=[1, 1]"])


def test_a_teacher_is_not_part_of_the_checkpoint(recipe: Recipe) -> None:
    network, teacher = nn.Linear(2, 2), nn.Linear(2, 2)
    alone = LearningTask(network, recipe, torch.ones(2), [])
    run = SimpleNamespace(recipe=recipe, network=lambda: teacher)
    taught = LearningTask(network, recipe, torch.ones(2), [], Teachers([run]))
    assert set(taught.state_dict()) == set(alone.state_dict())
    assert not [p for p in taught.parameters() if any(p is q for q in teacher.parameters())]
