import pytest

from leansight.runtime.errors import DataError
from leansight.sdk.recipes.load import load_recipe

SMALL = "traffic-signs-small"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.width=0", "1 or more, not 0"),
        ("model.width=1000000", "at most 65536, not 1000000"),
        ("model.blocks=[1, 70000]", "at most 65536 together, not 70001"),
        ("model.blocks=[]", "a list of counts of 1 or more, not ()"),
        ("model.blocks=[1, 0]", "a list of counts of 1 or more, not (1, 0)"),
        ("model.dropout=1", "from 0 to below 1, not 1"),
        ("model.head=[0]", "a list of counts of 1 or more, not (0,)"),
        ("model.head_dropout=[0.5]", "one number for each of model.head, not (0.5,)"),
        ('model.bodies=["vgg19"]', "two or more for \"ensemble\", else none, not ('vgg19',)"),
        ("model.pretrained=true", "false: resnet-custom has no weights, not true"),
    ],
)
def test_values_out_of_range_are_named(override: str, expected: str) -> None:
    with pytest.raises(DataError) as error:
        load_recipe(SMALL, [override])
    name = override.partition("=")[0]
    assert str(error.value) == f"recipe {SMALL}: {name} must be {expected}"


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


@pytest.mark.parametrize(
    ("recipe", "overrides", "message"),
    [
        (SMALL, ["model.flatten=true"], "model.flatten must be false without a model.head, "),
        (
            "multilabel-ensemble",
            ["model.flatten=true", "model.head=[8]"],
            'model.flatten must be false without a model.head, and for "ensemble", not true',
        ),
        (
            "masks-cnn-published",
            ["model.kernels=[6]"],
            r"model.filters must be as many as model.kernels and model.pools: .*, not \(64, 32",
        ),
        (
            "masks-cnn-published",
            ["model.name=masks-cnn"],
            'for "unpadded-cnn", else none, not',
        ),
        ("masks-cnn", ["model.name=unpadded-cnn"], r'for "unpadded-cnn", else none, not \(\)'),
        (
            "masks-cnn-published",
            ["model.pools=[1,1,2,2,0]"],
            "model.pools must be a list of counts",
        ),
        (
            "driving-weather-published",
            ["model.pretrained=false"],
            "model.pretrained must be true: only pretrained weights expect a normalisation, not f",
        ),
        (
            "driving-weather",
            ["model.mean=[0.5, 0.5]", "model.deviation=[0.2, 0.2]"],
            "model.mean must be of red, green and blue, from 0 to 1, not",
        ),
        (
            "driving-weather",
            ["model.mean=[0.5, 0.5, 0.5]", "model.deviation=[0.2, 0.2, 0.0]"],
            "model.deviation must be of red, green and blue, from 1e-06 to 1, not",
        ),
        (
            "driving-weather",
            ["model.mean=[0.5, 0.5, 0.5]"],
            r"model.deviation must be given with model.mean, or neither, not \(\)",
        ),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(
    recipe: str, overrides: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_recipe(recipe, overrides)


PLAIN = ("model.name=plain-cnn", "model.blocks=[1, 2]")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.widths=[16]", r"one number for each of model\.blocks, not \(16,\)"),
        ("model.widths=[16, 0]", r"a list of counts of 1 or more, not \(16, 0\)"),
        ("model.stem_stride=3", "1 or 2, not 3"),
        ("model.block=bottleneck", "one of plain, residual, not 'bottleneck'"),
        ("model.downsampling=mean", "one of max-pool, stride, not 'mean'"),
        ("model.pretrained=true", "false: plain-cnn has no weights, not true"),
    ],
)
def test_a_plain_network_that_cannot_be_is_refused(override: str, expected: str) -> None:
    name = override.partition("=")[0]
    with pytest.raises(DataError, match=f"{name} must be {expected}$"):
        load_recipe(SMALL, [*PLAIN, override])


def test_a_width_beside_those_of_each_stage_is_refused() -> None:
    with pytest.raises(DataError, match=r"model\.width must be left out: model\.widths says it"):
        load_recipe(SMALL, [*PLAIN, "model.widths=[8, 16]", "model.width=24"])


@pytest.mark.parametrize(
    "override",
    [
        "model.widths=[16, 32, 64]",
        "model.stem_stride=2",
        "model.block=residual",
        "model.downsampling=stride",
        "model.body_batch_norm=true",
    ],
)
@pytest.mark.parametrize("network", ["resnet-custom", "masks-cnn", "resnet50"])
def test_only_the_plain_network_has_a_choice_of_its_shape(network: str, override: str) -> None:
    name = override.partition("=")[0]
    with pytest.raises(DataError, match=rf'{name} must be left out \(only "plain-cnn" has it\)'):
        load_recipe(SMALL, [f"model.name={network}", override])
