from pathlib import Path

import pytest

from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.errors import DataError
from leansight.runtime.preprocessing import Clahe
from leansight.sdk.recipes.load import load_recipe

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
