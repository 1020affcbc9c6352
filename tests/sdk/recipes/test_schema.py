import json
import math
import subprocess
import sys
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.errors import DataError
from leansight.runtime.preprocessing import Clahe
from leansight.sdk.augmentation.catalogue import CHANGES
from leansight.sdk.augmentation.change import Change
from leansight.sdk.commands.cli import leansight
from leansight.sdk.recipes.load import load_recipe, recipe_names
from leansight.sdk.recipes.schema import Recipe, Training

SMALL = "traffic-signs-small"

OWN = """
name = "mine"
description = "my own"

[preprocessing]
size = 32
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "mine.toml").write_text(OWN)
    return tmp_path / "mine.toml"


# Shipped recipes


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


def test_both_of_s2s_train_alike() -> None:
    small, big = load_recipe("masks-cnn"), load_recipe("masks-transfer")
    assert small.training == big.training
    assert small.split == big.split
    assert small.preprocessing == big.preprocessing
    assert small.augmentation == big.augmentation


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


def test_s3s_augmentation() -> None:
    assert changes("driving-weather", "affine")[0].rotation_degrees == 5
    assert round(changes("driving-weather", "crop")[0].padding * 224) == 10
    assert changes("driving-weather", "mirror")[0].probability == 0.5


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


# The command


def recipes(*arguments: str) -> Result:
    result = CliRunner().invoke(leansight, ["recipes", *arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_list_names_every_recipe_with_its_system() -> None:
    lines = recipes().stdout.splitlines()
    rows = {line.split()[0]: line.split() for line in lines[2:] if not line.startswith(" ")}
    assert list(rows) == recipe_names()
    assert rows["masks-transfer"][1:] == [
        *("S2", "classification", "inception_resnet_v2", "256×256", "rgb"),
    ]
    assert rows["photos"][1] == "-"
    assert load_recipe("photos").description in recipes().stdout
    assert max(map(len, lines)) <= 100


def test_the_list_as_json() -> None:
    rows = json.loads(recipes("--json").stdout)
    assert [row["name"] for row in rows] == recipe_names()
    assert {row["system"] for row in rows} == {"", "S1", "S2", "S3", "S4", "S5"}
    assert set(rows[0]) == {"name", "system", "task", "model", "input", "description"}


@pytest.mark.parametrize("name", recipe_names())
def test_a_printed_recipe_is_one_to_start_from(name: str, tmp_path: Path) -> None:
    own = tmp_path / "my-recipe.toml"
    own.write_text(recipes(name).stdout)
    assert load_recipe(str(own)) == load_recipe(name)


def test_a_recipe_as_json() -> None:
    assert Recipe.from_dict(json.loads(recipes(SMALL, "--json").stdout)) == load_recipe(SMALL)


def test_a_recipe_that_is_not_there() -> None:
    with pytest.raises(DataError, match=rf"^no recipe signs: there are .*, {SMALL}, or give a"):
        recipes("signs")


def test_listing_recipes_imports_no_torch() -> None:
    code = (
        "import sys; from leansight.sdk.commands.cli import leansight; "
        "leansight(['recipes'], standalone_mode=False); "
        "sys.exit(bool({'torch', 'timm', 'matplotlib', 'cv2'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode
        == 0
    )


# Overrides


def test_overrides_take_numbers_texts_lists_and_tables() -> None:
    recipe = load_recipe(
        SMALL,
        [
            "training.epochs=3",
            "training.learning_rate=0.5",
            "training.learning_rate=1",
            "training.class_weights=false",
            "split.by=image",
            'training.schedule="constant"',
            "model.blocks=[1, 2]",
            "preprocessing.clahe={ clip_limit = 3 }",
            "preprocessing.clahe.tiles=2",
            "name=a=b",
        ],
    )
    assert recipe.training.epochs == 3
    assert recipe.training.learning_rate == 1  # the last one counts
    assert recipe.training.class_weights is False
    assert recipe.split.by == "image"
    assert recipe.training.schedule == "constant"
    assert recipe.model.blocks == (1, 2)
    assert recipe.preprocessing.clahe == Clahe(clip_limit=3, tiles=2)
    assert recipe.name == "a=b"
    assert recipe.training.momentum == load_recipe(SMALL).training.momentum


def test_an_override_leaves_the_shipped_recipe_alone() -> None:
    before = load_recipe(SMALL)
    load_recipe(SMALL, ["training.epochs=99"])
    assert load_recipe(SMALL) == before


@pytest.mark.parametrize("override", ["training.epochs", "=3", ""])
def test_an_override_is_key_and_value(override: str) -> None:
    with pytest.raises(DataError, match=rf"^{override}: expected KEY=VALUE, such as"):
        load_recipe(SMALL, [override])


def test_a_value_has_no_keys_of_its_own() -> None:
    with pytest.raises(DataError, match=r"training\.epochs\.x=3: epochs is a value, not a table"):
        load_recipe(SMALL, ["training.epochs.x=3"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainning.epochs=3", r"trainning is unknown; expected one of name, .*training"),
        ("training.epoch=3", r"training\.epoch is unknown; expected one of epochs,.* batch_size"),
        ("training..epochs=3", r"training\. is unknown"),
        (
            'augmentation=[{change="mirror", flip=1}]',
            r"augmentation\[0\]\.flip is unknown; expected one of probability, labels, swapped",
        ),
        ("data.layouts=csv", r"data\.layouts is unknown; expected one of layout"),
        ("distillation.teacher=x", r"distillation\.teacher is unknown"),
        ("preprocessing.clahe.tile=4", r"preprocessing\.clahe\.tile is unknown"),
        ("decision.treshold=1", r"decision\.treshold is unknown"),
    ],
)
def test_unknown_keys_are_named_with_the_known_ones(override: str, message: str) -> None:
    with pytest.raises(DataError, match=f"^recipe {SMALL}: {message}"):
        load_recipe(SMALL, [override])


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("split.by=frame", "one of video, image, not 'frame'"),
        ("split.validation=0", "between 0 and 1, not 0"),
        ("split.validation=1.0", "between 0 and 1, not 1.0"),
        ("split.seed=-1", "from 0 to 4294967295, not -1"),
        ("preprocessing.size=0", "a whole number from 1, not 0"),
        ("preprocessing.colour=blue", "one of gray, rgb, not 'blue'"),
        ("preprocessing.fit=wide", "one of stretch, letterbox, centre-crop, not 'wide'"),
        ("preprocessing.clahe.clip_limit=0", "above 0, not 0"),
        ("preprocessing.clahe.tiles=0", "a whole number from 1, not 0"),
        ("task=detection", "one of classification, multilabel, not 'detection'"),
        (
            "data.layout=coco",
            "one of auto, folders, gtsrb, belgiumts, bdd100k, csv, not 'coco'",
        ),
        ("data.per_class=-1", "0 or more, not -1"),
        ("data.rarest_repeats=0", "1 or more, not 0"),
        ("split.test=0.8", "from 0 to below 0.8, not 0.8"),
        ("split.test=-0.1", "from 0 to below 0.8, not -0.1"),
        ("split.folds=1", "0, or 2 or more, not 1"),
        ("split.folds=-2", "0, or 2 or more, not -2"),
        ("split.fold=1", "from 0 to 0, not 1"),
        ("split.fold=-1", "from 0 to 0, not -1"),
        ("shift=[]", "a list of changes: training.choose_by needs it, not []"),
        ("model.width=0", "1 or more, not 0"),
        ("model.blocks=[]", "a list of counts of 1 or more, not ()"),
        ("model.blocks=[1, 0]", "a list of counts of 1 or more, not (1, 0)"),
        ("model.dropout=1", "from 0 to below 1, not 1"),
        ("model.head=[0]", "a list of counts of 1 or more, not (0,)"),
        ("model.head_dropout=[0.5]", "one number for each of model.head, not (0.5,)"),
        ('model.bodies=["vgg19"]', "two or more for \"ensemble\", else none, not ('vgg19',)"),
        ("model.pretrained=true", "false: resnet-custom has no weights, not true"),
        ("training.epochs=0", "1 or more, not 0"),
        ("training.batch_size=0", "1 or more, not 0"),
        ("training.learning_rate=0", "above 0, not 0"),
        ("training.learning_rate=nan", "above 0, not nan"),
        ("training.momentum=1", "from 0 to below 1, not 1"),
        ("training.half_size_share=1", "from 0 to below 1, not 1"),
        ("training.optimiser=adagrad", "one of sgd, adam, nadam, adamw, not 'adagrad'"),
        ("training.choose_by=f1", "one of accuracy, shifted accuracy, loss, not 'f1'"),
        ("training.precision=int8", "one of auto, float32, bfloat16, not 'int8'"),
        ("training.scene_scale=0.5", "1 or more, not 0.5"),
        ("training.layer_decay=0", "above 0, not 0"),
        ("training.drop_factor=0", "above 0, not 0"),
        ("training.average_decay=1", "from 0 to below 1, not 1"),
        ("training.probability_clamp=0.5", "from 0 to below 0.5, not 0.5"),
        ("training.min_delta=-1", "0 or more, not -1"),
        ("training.unfreeze_epoch=-1", "0 or more, not -1"),
        ("training.plateau_patience=-1", "0 or more, not -1"),
        ("training.trainable_layers=-2", "-1 or more, not -2"),
        ("distillation.share=1.1", "from 0 to 1, not 1.1"),
        ("distillation.temperature=0", "above 0, not 0"),
        ("decision.label_thresholds.stop=3", "from 0 to 1, or 2 for never, not 3"),
        ("decision.label_thresholds.stop=high", "a number, not 'high'"),
        ("decision.label_thresholds=1", "a table, not 1"),
        ("training.label_smoothing=1", "from 0 to below 1, not 1"),
        ("training.weight_decay=-1", "0 or more, not -1"),
        ("training.patience=-1", "0 or more, not -1"),
        ("training.schedule=cosine", "one of one-cycle, constant, plateau, steps, not 'cosine'"),
        ("training.seed=4294967296", "from 0 to 4294967295, not 4294967296"),
        ("decision.threshold=1.5", "from 0 to 1, not 1.5"),
        ("decision.temperature=0", "above 0, not 0"),
    ],
)
def test_values_out_of_range_are_named(override: str, expected: str) -> None:
    with pytest.raises(DataError) as error:
        load_recipe(SMALL, [override])
    name = override.partition("=")[0].removeprefix("preprocessing." if "clahe" in override else "")
    assert str(error.value) == f"recipe {SMALL}: {name} must be {expected}"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.epochs=three", "a whole number, not 'three'"),
        ("training.epochs=2.5", "a whole number, not 2.5"),
        ("training.epochs=true", "a whole number, not True"),
        ("training.learning_rate=fast", "a number, not 'fast'"),
        ("training.learning_rate=[1]", "a number, not [1]"),
        ("training.class_weights=False", "true or false, not 'False'"),
        ("training.class_weights=1", "true or false, not 1"),
        ("training.schedule=1", "a text, not 1"),
        ("training=fast", "a table, not 'fast'"),
        ("split=2", "a table, not 2"),
        ("preprocessing=32", "a table, not 32"),
        ("preprocessing.size=big", "a whole number, not 'big'"),
        ("preprocessing.clahe=2", "a table, not 2"),
        ("preprocessing.clahe.tiles=4.5", "a whole number, not 4.5"),
        ("augmentation=1", "a list, not 1"),
        ("preprocessing.difference_of_gaussians=1", "true or false, not 1"),
        ("model.bodies=vgg19", "a list, not 'vgg19'"),
        ("model.blocks=3", "a list, not 3"),
        ("decision.threshold=high", "a number, not 'high'"),
        ("name=1", "a text, not 1"),
    ],
)
def test_values_of_another_type_are_named(override: str, expected: str) -> None:
    with pytest.raises(DataError) as error:
        load_recipe(SMALL, [override])
    assert str(error.value) == f"recipe {SMALL}: {override.partition('=')[0]} must be {expected}"


# Lists


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("augmentation=[1]", r'augmentation\[0\] must be a table with change = "NAME", not 1'),
        (
            "augmentation=[{probability=1}]",
            r"augmentation\[0\] must be a table with change = \"NAME\", not \{'probability': 1\}",
        ),
        (
            'augmentation=[{change="noise"}, {change="fog"}]',
            r"augmentation\[1\]: no change 'fog'; there are mirror, affine, .*erase",
        ),
        (
            'augmentation=[{change="affine", shift="yes"}]',
            r"augmentation\[0\]\.shift must be a number, not 'yes'",
        ),
        (
            'augmentation=[{change="affine", shift=-1}]',
            "augmentation affine: shift must be 0 or more, not -1",
        ),
        (
            'augmentation=[{change="mirror", labels="stop"}]',
            r"augmentation\[0\]\.labels must be a list, not 'stop'",
        ),
        (
            'augmentation=[{change="mirror", swapped=[["a", 1]]}]',
            r"augmentation\[0\]\.swapped\[0\]\[1\] must be a text, not 1",
        ),
        (
            'augmentation=[{change="mirror", swapped=[["a", "b", "c"]]}]',
            "augmentation mirror: swapped holds pairs of class names",
        ),
        ('shift=[{change="fog"}]', r"shift\[0\]: no change 'fog'"),
        ('model.blocks=["a"]', r"model\.blocks\[0\] must be a whole number, not 'a'"),
        ("model.blocks=[3, 1.5]", r"model\.blocks\[1\] must be a whole number, not 1\.5"),
        ("training.drop_epochs=[true]", r"drop_epochs\[0\] must be a whole number, not True"),
    ],
)
def test_a_wrong_entry_of_a_list_is_named(override: str, message: str) -> None:
    with pytest.raises(DataError, match=f"^recipe {SMALL}: .*{message}"):
        load_recipe(SMALL, [override])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.bodies=[]"], 'model.bodies must be two or more for "ensemble", else none'),
        (['model.bodies=["vgg19"]'], 'model.bodies must be two or more for "ensemble", else none'),
        (['model.bodies=["vgg19", "ensemble"]'], "model.bodies must be one of resnet50, .*, not"),
        (['model.bodies=["vgg19", "masks-cnn"]'], "model.bodies must be one of resnet50, .*, not"),
        (["model.name=resnet50"], 'model.bodies must be two or more for "ensemble", else none'),
    ],
)
def test_only_an_ensemble_has_bodies(overrides: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_recipe("multilabel-ensemble", overrides)


def test_folds_are_counted_from_zero() -> None:
    assert load_recipe(SMALL, ["split.folds=3", "split.fold=2"]).split.fold == 2
    with pytest.raises(DataError, match=r"split\.fold must be from 0 to 2, not 3"):
        load_recipe(SMALL, ["split.folds=3", "split.fold=3"])


def test_a_list_of_changes_replaces_the_recipes_own() -> None:
    recipe = load_recipe(SMALL, ['augmentation=[{change="noise", sigma=3}, {change="stroke"}]'])
    assert [change.kind for change in recipe.augmentation] == ["noise", "stroke"]
    assert recipe.augmentation[0] == CHANGES["noise"](sigma=3)  # type: ignore[call-arg]
    assert load_recipe(SMALL, ["augmentation=[]"]).augmentation == ()


AMOUNTS = {
    "labels": st.lists(st.text(max_size=4), max_size=2).map(tuple),
    "swapped": st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=2).map(tuple),
    "distribution": st.sampled_from(["uniform", "normal"]),
    "fill": st.sampled_from(["edge", "black"]),
    "darkest": st.floats(0, 100),
    "brightest": st.floats(100, 255),
}


@st.composite
def any_change(draw: st.DrawFn) -> Change:
    kind = draw(st.sampled_from(sorted(CHANGES)))
    names = [field.name for field in fields(CHANGES[kind])]
    values = {name: draw(AMOUNTS.get(name, st.floats(0, 0.25))) for name in names}
    return CHANGES[kind](**values)


@settings(max_examples=100, deadline=None)
@given(st.lists(any_change(), max_size=4), st.lists(any_change(), min_size=1, max_size=2))
def test_any_changes_survive_json(augmentation: list[Change], shift: list[Change]) -> None:
    values = load_recipe(SMALL).to_dict()
    made = Recipe.from_dict(
        values | {"augmentation": augmented(augmentation), "shift": augmented(shift)}
    )
    assert list(made.augmentation) == augmentation
    assert list(made.shift) == shift
    assert Recipe.from_dict(json.loads(json.dumps(made.to_dict()))) == made


def augmented(changes: list[Change]) -> list[dict[str, Any]]:
    return [{"change": change.kind, **vars(change)} for change in changes]


@settings(max_examples=100, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "epochs": st.integers(-2, 5),
            "learning_rate": st.floats(-1, 1) | st.just(math.nan),
            "momentum": st.floats(-1, 2),
            "probability_clamp": st.floats(-1, 1),
            "seed": st.integers(-5, 2**32 + 5),
        },
    )
)
def test_training_is_either_in_range_or_refused(values: dict[str, float]) -> None:
    fits = (
        values.get("epochs", 1) >= 1
        and values.get("learning_rate", 1) > 0
        and 0 <= values.get("momentum", 0) < 1
        and 0 <= values.get("probability_clamp", 0) < 0.5
        and 0 <= values.get("seed", 0) < 2**32
    )
    if fits:
        assert Training(**values).epochs == values.get("epochs", 12)  # type: ignore[arg-type]
    else:
        with pytest.raises(ValueError, match=rf"training\.({'|'.join(values)}) must be "):
            Training(**values)  # type: ignore[arg-type]


# Files


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(DataError, match=rf"^no recipe signs: there are .*{SMALL}.*\.toml file$"):
        load_recipe("signs")


def test_a_recipe_of_ones_own(own: Path) -> None:
    recipe = load_recipe(str(own), ["training.epochs=3"])
    assert (recipe.name, recipe.preprocessing.shape) == ("mine", (1, 32, 32, 3))
    assert recipe.preprocessing.clahe is None
    assert recipe.decision == DecisionPolicy(threshold=0, temperature=1)
    assert recipe.training.epochs == 3


def test_a_recipe_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"recipe .*none\.toml does not exist"):
        load_recipe(str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = ", "Invalid value"),
        (b"\xff\xfe", "can't decode"),
        (b"", "missing .* 'name'|'size'"),
        (b"[preprocessing]\nsize = 8", "'name' and 'description'"),
        (b'name = "a"\ndescription = "b"', "missing .* 'preprocessing'"),
        (b'name = "a"\ndescription = "b"\n[preprocessing]\n', "missing .* 'size'"),
        (OWN.encode() + b"crop = 3", r"preprocessing\.crop is unknown"),
    ],
)
def test_a_recipe_file_that_is_wrong_is_named(own: Path, content: bytes, message: str) -> None:
    own.write_bytes(content)
    with pytest.raises(DataError, match=rf"recipe .*mine\.toml: .*({message})"):
        load_recipe(str(own))
