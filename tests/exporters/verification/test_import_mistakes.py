"""What people get wrong about a network from elsewhere is found, and nothing where nothing is."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leansight.exporters.conversion.inference import predict
from leansight.exporters.importers.normalisation import Normalisation, NormalisedNetwork
from leansight.exporters.verification.import_mistakes import (
    Finding,
    Trial,
    find_remedy,
    is_suspicious,
)
from leansight.exporters.verification.label_order import matched_order, reordered
from leansight.exporters.verification.skill import marks

# Not sorted: the folders of the training were, as text.
LABELS = ("1", "2", "10", "11")
IMAGENET = Normalisation(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
FROM_0_TO_1 = Normalisation(mean=(0.0,), std=(255.0,))
# Of discs, RGB; two differ in nothing but how dark they are.
INKS = {"1": (230, 40, 40), "2": (110, 20, 20), "10": (60, 90, 200), "11": (60, 160, 60)}


@dataclass(frozen=True)
class Images:
    pixels: NDArray[np.uint8]
    classes: NDArray[np.int64]


def photos(count: int, seed: int) -> Images:
    """Return discs in the ink of each label in turn, on an uneven gray ground."""
    rng = np.random.default_rng(seed)
    pixels, classes = np.zeros((count, 24, 24, 3), np.uint8), np.arange(count) % len(LABELS)
    for picture, label in zip(pixels, classes, strict=True):
        ground = rng.integers(60, 190, (3, 3), dtype=np.uint8)
        picture[:] = cv2.resize(ground, (24, 24), interpolation=cv2.INTER_LINEAR)[..., None]
        ink = np.clip(np.array(INKS[LABELS[label]]) + rng.normal(0, 18, 3), 0, 255)
        x, y = (int(n) for n in rng.integers(10, 15, 2))
        cv2.circle(picture, (x, y), int(rng.integers(6, 10)), ink.tolist(), -1)
    return Images(pixels, classes)


class Normalises(nn.Module):
    """A network that takes pixels from 0 to 1, and normalises them itself."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.mean: Tensor
        self.std: Tensor
        for name, values in (("mean", IMAGENET.mean), ("std", IMAGENET.std)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1) / 255)

    def forward(self, x: Tensor) -> Tensor:
        return self.network((x - self.mean) / self.std)


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A network that knows the discs, by ImageNet's normalisation."""
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(3, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.ReLU()),
        *(nn.Conv2d(12, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 4)),
    )
    learnt = photos(400, seed=1)
    inputs = torch.from_numpy(IMAGENET(learnt.pixels)).permute(0, 3, 1, 2)
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for batch in torch.arange(400).repeat(8).split(20):
        optimiser.zero_grad()
        targets = torch.from_numpy(learnt.classes[batch.numpy()])
        nn.functional.cross_entropy(network(inputs[batch]), targets).backward()
        optimiser.step()
    return network.eval()


HELD_OUT = photos(240, seed=2)


def found_in(
    network: nn.Module, given: Normalisation, labels: tuple[str, ...] = LABELS
) -> tuple[Trial, Finding | None]:
    """Return what is found where the network is imported in this way."""
    imported = NormalisedNetwork(network, given, 3).eval()
    truth = Images(
        HELD_OUT.pixels, np.array([labels.index(LABELS[k]) for k in HELD_OUT.classes], np.int64)
    )
    trial = Trial(truth, predict(imported, HELD_OUT.pixels), labels, "classification")
    return trial, find_remedy(imported, trial, lambda *_: None)


def test_a_right_import_is_not_suspicious_and_has_no_remedy(trained: nn.Module) -> None:
    trial, found = found_in(trained, IMAGENET)
    skill = trial.skill(trial.logits, np.arange(240))
    assert skill.accuracy > 0.95
    assert not is_suspicious(skill)
    assert found is None


@pytest.mark.parametrize(
    ("given", "name", "settings"),
    [
        (replace(IMAGENET, bgr=True), "red and blue swapped", {"colour": "rgb"}),
        (
            replace(IMAGENET, bgr=True, mean=IMAGENET.mean[::-1], std=IMAGENET.std[::-1]),
            "red and blue swapped, mean and std as well",
            {
                "colour": "rgb",
                "mean": "123.675,116.28,103.53",
                "std": "58.395,57.12,57.375",
            },
        ),
        (
            FROM_0_TO_1,
            "the mean and std of ImageNet",
            {"mean": "123.675,116.28,103.53", "std": "58.395,57.12,57.375"},
        ),
        (
            Normalisation(mean=(0.0,), std=(1.0,)),
            "the mean and std of ImageNet",
            {"mean": "123.675,116.28,103.53", "std": "58.395,57.12,57.375"},
        ),
    ],
)
def test_the_wrong_pixels_are_put_right(
    given: Normalisation, name: str, settings: dict[str, str], trained: nn.Module
) -> None:
    trial, found = found_in(trained, given)
    assert is_suspicious(trial.skill(trial.logits, np.arange(240)))
    assert found is not None
    assert (found.remedy.name, dict(found.remedy.settings)) == (name, settings)
    right, _ = found_in(trained, IMAGENET)
    assert (found.remedy.logits == right.logits[found.remedy.chosen]).all()


def test_a_network_that_normalises_itself_is_normalised_twice(trained: nn.Module) -> None:
    _, found = found_in(Normalises(trained), IMAGENET)
    assert found is not None
    assert dict(found.remedy.settings) == {"mean": "0", "std": "255"}
    assert found.skill.accuracy > 0.95
    assert str(found).startswith("With pixels from 0 to 1 and no other normalisation it would be ")
    assert str(found).endswith("Nothing was written: set mean to 0 and std to 255")


@pytest.mark.parametrize(
    ("labels", "name", "order"),
    [
        (("1", "10", "11", "2"), "the labels in natural order", LABELS),
        (LABELS[::-1], "the labels in natural order", LABELS),
        (("10", "1", "11", "2"), "the labels in natural order", LABELS),
    ],
)
def test_labels_in_another_order_are_put_right_by_its_name(
    labels: tuple[str, ...], name: str, order: tuple[str, ...], trained: nn.Module
) -> None:
    _, found = found_in(trained, IMAGENET, labels)
    assert found is not None
    assert found.remedy.name == name
    assert found.remedy.advice == f"give the labels in the order {'; '.join(order)}"
    assert found.skill.images == 240
    assert found.skill.accuracy > 0.95


def test_labels_in_no_usual_order_are_put_right_by_what_half_of_the_images_say(
    trained: nn.Module,
) -> None:
    mixed = nn.Sequential(trained, Chosen([2, 0, 3, 1])).eval()  # outputs stand for 10, 1, 11, 2
    _, found = found_in(mixed, IMAGENET)
    assert found is not None
    assert found.remedy.name == "the labels in another order"
    assert found.remedy.advice == "give the labels in the order 10; 1; 11; 2"
    assert found.skill.images == 120


class Chosen(nn.Module):
    """Gives its inputs in another order."""

    def __init__(self, order: list[int]) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.order]


def test_guesses_have_no_remedy_though_one_order_makes_most_of_them_right() -> None:
    labels, truth = tuple(f"class {k}" for k in range(60)), np.arange(60)
    silent = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 60)).eval()
    nn.init.zeros_(silent[2].get_parameter("weight"))
    imported = NormalisedNetwork(silent, FROM_0_TO_1, 3).eval()
    for seed in range(5):
        guesses = np.random.default_rng(seed).normal(size=(60, 60)).astype(np.float32)
        trial = Trial(Images(HELD_OUT.pixels[:60], truth), guesses, labels, "classification")
        assert find_remedy(imported, trial, lambda *_: None) is None
        order = matched_order(*marks(guesses, truth, "classification")[::-1], labels)
        assert trial.skill(reordered(guesses, labels, order), truth).accuracy > 0.5


def test_a_network_without_training_has_no_remedy() -> None:
    for seed in range(12):
        torch.manual_seed(seed)
        untrained = nn.Sequential(
            *(nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 4)),
        )
        _, found = found_in(untrained, IMAGENET)
        assert found is None


def test_of_many_labels_the_order_is_found_as_well() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((200, 4)) < 0.3).astype(np.int64)
    logits = (truth - 0.5).astype(np.float32)[:, [2, 0, 3, 1]]
    images = Images(np.zeros((200, 24, 24, 3), np.uint8), truth)
    imported = NormalisedNetwork(
        nn.Sequential(nn.Flatten(), nn.Linear(24 * 24 * 3, 4)), FROM_0_TO_1, 3
    ).eval()
    found = find_remedy(imported, Trial(images, logits, LABELS, "multilabel"), lambda *_: None)
    assert found is not None
    assert found.remedy.advice == "give the labels in the order 10; 1; 11; 2"
    assert found.skill.accuracy == 1.0


def test_a_gray_network_has_no_colours_to_swap() -> None:
    rng = np.random.default_rng(0)
    pixels, classes = rng.integers(0, 256, (80, 8, 8, 1), dtype=np.uint8), np.arange(80) % 2
    pixels[classes == 1] //= 3
    bright = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2)).eval()
    with torch.no_grad():  # wants pixels from 0 to 1: dark below 1/3
        linear = bright[2]
        assert isinstance(linear, nn.Linear)
        linear.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        linear.bias.copy_(torch.tensor([-1 / 3, 1 / 3]))
    imported = NormalisedNetwork(bright, Normalisation(mean=(0.0,), std=(1.0,)), 1).eval()
    logits = predict(imported, pixels)
    trial = Trial(Images(pixels, classes), logits, ("bright", "dark"), "classification")
    found = find_remedy(imported, trial, lambda *_: None)
    assert found is not None
    assert dict(found.remedy.settings) == {"std": "255"}
    assert found.skill.accuracy == 1.0
