import json
import math
from dataclasses import replace
from operator import attrgetter
from typing import Any

import pytest

from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.preprocessing import Clahe
from leansight.sdk.recipes.load import load_recipe, recipe_names
from leansight.sdk.recipes.schema import Recipe

SMALL = "traffic-signs-small"


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_load_under_their_own_name(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_survive_json(name: str) -> None:
    recipe = load_recipe(name)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_the_small_recipe_is_system_s1s() -> None:
    recipe = load_recipe(SMALL)
    assert recipe.preprocessing.shape == (1, 64, 64, 1)
    assert recipe.preprocessing.clahe == Clahe(clip_limit=2.0, tiles=4)
    assert recipe.decision == DecisionPolicy(threshold=0.75)
    assert recipe.split.by == "video"


def changes(name: str, kind: str) -> list[Any]:
    return [change for change in load_recipe(name).augmentation if change.kind == kind]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "traffic-signs-resnet50",
            {
                "preprocessing.size": 64,
                "preprocessing.clahe": Clahe(clip_limit=2.0, tiles=4),
                "split.by": "video",
                "model.name": "resnet50",
                "model.pretrained": True,
                "model.head": (1024, 512),
                "model.head_dropout": (0.5, 0.5),
                "training.optimiser": "sgd",
                "training.learning_rate": 1e-4,
                "training.batch_size": 16,
                "training.epochs": 50,
                "training.class_weights": True,
            },
        ),
        (
            "traffic-signs-resnet50-scratch",
            {
                "model.name": "resnet50",
                "model.pretrained": False,
                "model.head": (1024, 512),
                "training.learning_rate": 1e-3,
                "training.epochs": 100,
            },
        ),
        (
            "masks-transfer",
            {
                "preprocessing.size": 256,
                "preprocessing.channels": 3,
                "split.validation": 0.1,
                "model.name": "inception_resnet_v2",
                "model.pretrained": True,
                "model.head": (100, 10),
                "model.head_dropout": (0.5, 0.2),
                "model.head_batch_norm": True,
                "training.trainable_layers": -1,
                "training.optimiser": "nadam",
                "training.learning_rate": 1e-3,
                "training.batch_size": 16,
                "training.schedule": "plateau",
                "training.drop_factor": 0.1,
                "training.plateau_patience": 3,
                "training.patience": 10,
                "training.min_delta": 0.001,
                "training.seed": 0xC0FEBABE,
                "split.seed": 0xC0FEBABE,
            },
        ),
        (
            "driving-weather",
            {
                "data.per_class": 4800,
                "preprocessing.size": 224,
                "model.name": "resnet50",
                "model.pretrained": True,
                "training.find_learning_rate": True,
                "training.schedule": "one-cycle",
                "training.epochs": 10,
            },
        ),
        (
            "masks-transfer-published",
            {
                "preprocessing.size": 256,
                "model.name": "inception_resnet_v2",
                "model.flatten": True,
                "model.head": (100, 10),
                "model.head_dropout": (0.5, 0.2),
                "model.head_batch_norm": True,
                "model.dropout": 0,
            },
        ),
        (
            "masks-cnn-published",
            {
                "preprocessing.size": 256,
                "model.filters": (64, 32, 32, 32, 16),
                "model.kernels": (6, 3, 3, 3, 3),
                "model.pools": (1, 1, 2, 2, 3),
                "model.flatten": True,
                "model.head": (32, 32, 32, 10),
                "model.head_dropout": (0, 0, 0.2, 0),
                "model.dropout": 0,
            },
        ),
        (
            "driving-weather-published",
            {
                "data.per_class": 4800,
                "preprocessing.size": 224,
                "preprocessing.fit": "centre-crop",
                "model.name": "resnet50",
                "model.pretrained": True,
                "model.data_normalisation": True,
                "training.find_learning_rate": True,
                "training.schedule": "one-cycle",
                "training.epochs": 10,
                "training.class_weights": False,
            },
        ),
        (
            "symbols-mobilenet",
            {
                "preprocessing.size": 224,
                "split.folds": 5,
                "model.name": "mobilenetv1_100",
                "model.head": (),
                "training.trainable_layers": 0,
                "training.optimiser": "adam",
                "training.epochs": 20,
            },
        ),
        (
            "symbols-resnet50",
            {
                "preprocessing.size": 256,
                "split.folds": 5,
                "model.head": (1024, 1024),
                "model.head_dropout": (0.05, 0.05),
                "training.optimiser": "adam",
                "training.learning_rate": 1e-3,
                "training.schedule": "steps",
                "training.drop_epochs": (5, 10, 15),
                "training.epochs": 20,
            },
        ),
        (
            "multilabel-frozen",
            {
                "task": "multilabel",
                "preprocessing.size": 128,
                "split.validation": 1500 / 20000,
                "split.test": 1500 / 20000,
                "model.name": "resnext50_32x4d",
                "model.pretrained": True,
                "training.trainable_layers": 0,
                "training.probability_clamp": 0.005,
                "training.optimiser": "adam",
                "training.learning_rate": 1e-3,
            },
        ),
        (
            "multilabel-hidden",
            {
                "task": "multilabel",
                "model.name": "resnext50_32x4d",
                "model.head": (256,),
                "training.trainable_layers": 0,
                "training.probability_clamp": 0.005,
            },
        ),
        (
            "multilabel-ensemble",
            {
                "task": "multilabel",
                "model.bodies": ("resnext101_32x8d", "densenet201"),
                "model.head": (),
                "training.trainable_layers": 0,
                "training.probability_clamp": 0.005,
            },
        ),
        (
            "multilabel-scratch",
            {"task": "multilabel", "model.name": "mixed-blocks", "training.trainable_layers": -1},
        ),
        (
            "photos",
            {
                "system": "",
                "split.by": "image",
                "preprocessing.clahe": None,
                "preprocessing.shape": (1, 224, 224, 3),
                "model.name": "efficientnet_lite0",
                "model.pretrained": True,
                "training.optimiser": "adamw",
                "training.schedule": "one-cycle",
            },
        ),
    ],
)
def test_a_recipe_is_what_its_authors_published(name: str, expected: dict[str, object]) -> None:
    recipe = load_recipe(name)
    assert {key: attrgetter(key)(recipe) for key in expected} == expected


@pytest.mark.parametrize(
    "name", ["masks-transfer", "masks-cnn-published", "masks-transfer-published"]
)
def test_all_of_s2s_train_alike(name: str) -> None:
    first, other = load_recipe("masks-cnn"), load_recipe(name)
    assert first.training == other.training
    assert first.split == other.split
    assert first.preprocessing == other.preprocessing
    assert first.augmentation == other.augmentation


def test_s5s_hidden_layer_is_all_that_its_recipe_changes() -> None:
    without, hidden = load_recipe("multilabel-frozen"), load_recipe("multilabel-hidden")
    named = replace(hidden, name=without.name, description=without.description)
    assert replace(named, model=replace(hidden.model, head=())) == without


def test_a_teacher_of_signs_has_not_seen_what_its_pupil_is_validated_on() -> None:
    assert load_recipe(SMALL).split == load_recipe("traffic-signs-resnet50").split


def test_s2s_augmentation() -> None:
    (affine,) = changes("masks-transfer", "affine")
    assert (affine.rotation_degrees, affine.shift, affine.zoom) == (10, 0.25, 0.1)
    assert math.tan(math.radians(affine.shear_degrees)) == pytest.approx(0.2, abs=0.001)
    assert affine.fill == "black"
    (colour,) = changes("masks-transfer", "colour")
    assert (colour.hue, colour.brightness, colour.saturation, colour.contrast) == (
        *(0.1, 0.2, 0.2, 0.2),
    )
    assert len(changes("masks-transfer", "mirror")) == 1


@pytest.mark.parametrize("name", ["driving-weather", "driving-weather-published"])
def test_s3s_augmentation(name: str) -> None:
    assert changes(name, "affine")[0].rotation_degrees == 5
    assert round(changes(name, "crop")[0].padding * 224) == 10
    assert changes(name, "mirror")[0].probability == 0.5


@pytest.mark.parametrize("name", [n for n in recipe_names() if n.startswith("multilabel-")])
def test_s5s_augmentation_draws_each_of_six_by_itself(name: str) -> None:
    amounts = ("shift", "rotation_degrees", "zoom", "shear_degrees")
    moves = changes(name, "affine")
    assert [[a for a in amounts if getattr(move, a)] for move in moves] == [[a] for a in amounts]
    assert {move.distribution for move in moves} == {"normal"}
    assert all(0 < change.probability < 1 for change in load_recipe(name).augmentation)
    assert [c.kind for c in load_recipe(name).augmentation[4:]] == ["mirror", "noise"]


@pytest.mark.parametrize("name", ["symbols-mobilenet", "symbols-resnet50"])
def test_s4_augments_nothing(name: str) -> None:
    assert load_recipe(name).augmentation == ()
