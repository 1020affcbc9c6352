import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.errors import DataError
from leansight.runtime.preprocessing import Clahe
from leansight.sdk.models import build_network, network_input
from leansight.sdk.recipe import Recipe, load_recipe, recipe_names

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


def small_network() -> nn.Module:
    recipe = load_recipe(SMALL)
    return build_network(recipe.model, classes=21, channels=recipe.preprocessing.channels).eval()


def test_the_small_network_has_545_thousand_parameters() -> None:
    parameters = list(small_network().parameters())
    assert sum(p.numel() for p in parameters) == 544_645
    # With batch norm folded, every convolution and dense layer has a bias per output channel.
    assert sum(p.numel() + len(p) for p in parameters if p.ndim > 1) == 540_821


def test_the_small_network_takes_258_million_multiply_accumulates() -> None:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        logits = small_network()(torch.zeros(1, 1, 64, 64))
    assert logits.shape == (1, 21)
    assert counter.get_total_flops() / 2 == pytest.approx(258.5e6, rel=2e-4)


def test_the_network_shapes_follow_the_recipe() -> None:
    recipe = load_recipe(
        SMALL, ["model.width=4", "model.blocks=[1, 2]", 'preprocessing.colour="rgb"']
    )
    network = build_network(recipe.model, classes=5, channels=recipe.preprocessing.channels)
    shapes: list[torch.Size] = []
    for stage in network.get_submodule("stages").children():
        stage.register_forward_hook(lambda _, __, output: shapes.append(output.shape))
    assert network.eval()(torch.zeros(2, 3, 16, 16)).shape == (2, 5)
    assert shapes == [(2, 16, 16, 16), (2, 32, 8, 8), (2, 32, 8, 8)]


def test_pixels_become_numbers_from_minus_one_to_just_below_one() -> None:
    given = torch.tensor([0, 1, 127, 128, 129, 255], dtype=torch.uint8)
    expected = Tensor([-1, -127 / 128, -1 / 128, 0, 1 / 128, 127 / 128])
    assert network_input(given).tolist() == expected.tolist()


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
    with pytest.raises(DataError, match=rf"--set {override}: expected KEY=VALUE, such as"):
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
        ("augmentation.flip=1", r"augmentation\.flip is unknown"),
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
        ("augmentation.rotation_degrees=-1", "from 0 to 180, not -1"),
        ("augmentation.rotation_degrees=181", "from 0 to 180, not 181"),
        ("augmentation.scale=1", "from 0 to below 1, not 1"),
        ("augmentation.shift=-0.1", "from 0 to 1, not -0.1"),
        ("augmentation.exposure=1.1", "from 0 to 1, not 1.1"),
        ("augmentation.contrast=nan", "from 0 to 1, not nan"),
        ("augmentation.blur_probability=2", "from 0 to 1, not 2"),
        ("model.name=vgg", "one of resnet-custom, not 'vgg'"),
        ("model.width=0", "1 or more, not 0"),
        ("model.blocks=[]", "a list of counts of 1 or more, not ()"),
        ("model.blocks=[1, 0]", "a list of counts of 1 or more, not (1, 0)"),
        ('model.blocks=["a"]', "a list of counts of 1 or more, not ('a',)"),
        ("model.dropout=1", "from 0 to below 1, not 1"),
        ("training.epochs=0", "1 or more, not 0"),
        ("training.batch_size=0", "1 or more, not 0"),
        ("training.learning_rate=0", "above 0, not 0"),
        ("training.learning_rate=nan", "above 0, not nan"),
        ("training.momentum=1", "from 0 to below 1, not 1"),
        ("training.half_size_share=1", "from 0 to below 1, not 1"),
        ("training.optimiser=adagrad", "one of sgd, adamw, not 'adagrad'"),
        ("training.label_smoothing=1", "from 0 to below 1, not 1"),
        ("training.weight_decay=-1", "0 or more, not -1"),
        ("training.patience=-1", "0 or more, not -1"),
        ("training.schedule=cosine", "one of one-cycle, constant, not 'cosine'"),
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
        ("augmentation.shift=yes", "a number, not 'yes'"),
        ("model.blocks=3", "a list, not 3"),
        ("decision.threshold=high", "a number, not 'high'"),
        ("name=1", "a text, not 1"),
    ],
)
def test_values_of_another_type_are_named(override: str, expected: str) -> None:
    with pytest.raises(DataError) as error:
        load_recipe(SMALL, [override])
    assert str(error.value) == f"recipe {SMALL}: {override.partition('=')[0]} must be {expected}"


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
        (b'name = "a"\ndescription = "b"', "'size'"),
        (OWN.encode() + b"crop = 3", r"preprocessing\.crop is unknown"),
    ],
)
def test_a_recipe_file_that_is_wrong_is_named(own: Path, content: bytes, message: str) -> None:
    own.write_bytes(content)
    with pytest.raises(DataError, match=rf"recipe .*mine\.toml: .*({message})"):
        load_recipe(str(own))
