"""`leansight recipes` lists and prints what ships."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from leansight.runtime.errors import DataError
from leansight.sdk.commands.cli import leansight
from leansight.sdk.recipes.load import load_recipe, recipe_names
from leansight.sdk.recipes.schema import Recipe

SMALL = "traffic-signs-small"


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
    with pytest.raises(DataError, match=rf"^no recipe signs: there are .*, {SMALL}, .*, or give a"):
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
