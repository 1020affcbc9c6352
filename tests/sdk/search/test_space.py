from dataclasses import replace
from typing import Any

import pytest
from fake_search import OWN, SPACE

from leansight.runtime.errors import DataError
from leansight.sdk.recipes.load import load_recipe, override
from leansight.sdk.search.space import Space, space_of, width_setting


def space(recipe: str = "traffic-signs-small", **given: Any) -> Space:  # noqa: ANN401 -- values of any option
    names = ("widths", "sizes", "shares", "precisions", "threads")
    options: dict[str, Any] = dict.fromkeys(names) | {"timed": True} | given
    return space_of(load_recipe(recipe), **options)


def test_without_options_the_run_and_smaller_ones_are_searched() -> None:
    found = space()
    recipe = load_recipe("traffic-signs-small")
    assert found.widths == (recipe.model.width, recipe.model.width // 2)
    assert found.sizes == (64, 48)
    assert found.shares == (0, 0.25, 0.5, 0.75)
    assert set(found.precisions) >= {"int8", "float32"}
    assert found.threads[0] == 1
    assert space(timed=False).threads == (1,)
    nearest = found.nearest(recipe)
    assert (nearest.width, nearest.size, nearest.share) == (recipe.model.width, 64, 0)


def test_a_network_without_a_width_has_none_to_choose() -> None:
    found = space("traffic-signs-resnet50")
    assert found.widths == ()
    assert all(point.width is None for point in found.points())
    assert "width" not in found.points()[0].run_name
    with pytest.raises(DataError, match="resnet50 has no width: leave them out"):
        space("traffic-signs-resnet50", widths=(8,))


def test_a_network_with_a_width_for_each_stage_keeps_their_proportion() -> None:
    recipe = load_recipe("traffic-signs-tiny", ["model.blocks=[1, 1]", "model.widths=[24, 40]"])
    options: dict[str, Any] = dict.fromkeys(("widths", "sizes", "shares", "precisions", "threads"))
    found = space_of(recipe, timed=False, **options)
    assert found.widths == (24, 12)
    assert found.nearest(recipe).width == 24
    changed = override(recipe, [width_setting(recipe.model, 12)])
    assert changed.model.stage_widths == (12, 20)
    staged = load_recipe("traffic-signs-small")
    assert width_setting(staged.model, 12) == "model.width=12"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shares": (0.5, 1.0)}, "shares must be from 0 to below 1"),
        ({"sizes": (0,)}, "sizes must be 1 or more"),
        ({"threads": (2, 2)}, "threads must be different values"),
        ({"precisions": ("int4",)}, "precisions must be of .*, not int4"),
    ],
)
def test_a_value_that_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        space(**given)


def test_precision_and_threads_are_no_other_training() -> None:
    other = replace(OWN, threads=4)
    assert (other.run_name, other.bundle_name) == (OWN.run_name, OWN.bundle_name)
    other = replace(OWN, precision="float32")
    assert other.run_name == OWN.run_name
    assert other.bundle_name != OWN.bundle_name
    assert len({p.bundle_name for p in SPACE.points()}) == len(SPACE.points())
