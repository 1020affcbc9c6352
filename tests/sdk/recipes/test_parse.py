import pytest

from leansight.runtime.errors import DataError
from leansight.sdk.augmentation.catalogue import CHANGES
from leansight.sdk.recipes.load import load_recipe

SMALL = "traffic-signs-small"


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


def test_a_list_of_changes_replaces_the_recipes_own() -> None:
    recipe = load_recipe(SMALL, ['augmentation=[{change="noise", sigma=3}, {change="stroke"}]'])
    assert [change.kind for change in recipe.augmentation] == ["noise", "stroke"]
    assert recipe.augmentation[0] == CHANGES["noise"](sigma=3)  # type: ignore[call-arg]
    assert load_recipe(SMALL, ["augmentation=[]"]).augmentation == ()
