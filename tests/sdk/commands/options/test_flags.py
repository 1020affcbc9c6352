from pathlib import Path

import click
import pytest
import shapes
from click.testing import CliRunner
from command_line import refusal

from leansight.runtime.errors import DataError
from leansight.sdk.commands.options.flags import FlagNamingGroup, flag_of, line_of


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes.write_data_set(tmp_path_factory.mktemp("data") / "shapes")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["--set", "training.epochs"],
            "training.epochs: expected KEY=VALUE, such as training.epochs=3 (--set)",
        ),
        (["--recipe", "nothing"], ", or give a .toml file (--recipe)"),
        (
            ["--test-on", "x"],
            "no country x: the data has no countries (--test-on)",
        ),
    ],
)
def test_an_error_names_the_flag_of_the_option_to_blame(
    options: list[str],
    line: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["train", str(data), "--out", str(tmp_path / "run"), *options]
    assert refusal(arguments, monkeypatch, capsys).endswith(line)


def test_a_study_names_a_flag_that_is_called_otherwise_than_its_parameter(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["study", str(data), "--out", str(tmp_path / "study"), "--grid", "model.width=4,4"]
    line = refusal(arguments, monkeypatch, capsys)
    assert line == "leansight: model.width=4,4: a value is there twice (--grid)"


@pytest.mark.parametrize(
    ("parameter", "flag"),
    [("out", "--out"), ("overrides", "--set"), ("max_drop", "--max-drop"), ("folder", None)],
)
def test_an_option_is_found_by_its_name_or_its_flag(parameter: str, flag: str | None) -> None:
    @click.command()
    @click.argument("folder")
    @click.option("-o", "--out")
    @click.option("--set", "overrides")
    @click.option("--max-drop", "points")
    def command() -> None: ...

    assert flag_of(command, parameter) == flag


def test_a_command_in_a_group_in_a_group_names_its_own_flag() -> None:
    @click.group(cls=FlagNamingGroup)
    def outer() -> None: ...

    @outer.group(cls=FlagNamingGroup)
    def inner() -> None: ...

    @inner.command()
    @click.option("--ray", "address")
    def deep(address: str) -> None:
        raise DataError(f"{address} is no address", parameter="address")

    done = CliRunner().invoke(outer, ["inner", "deep", "--ray", "x"])
    assert isinstance(done.exception, DataError)
    assert line_of(done.exception) == "leansight: x is no address (--ray)"
