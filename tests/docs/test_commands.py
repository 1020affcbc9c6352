"""Every command that README.md and the pages show is one that exists, with its options."""

import ast
import importlib
import itertools
import os
import re
from pathlib import Path
from typing import Any

import click
import pytest
from shown_commands import PAGES, ROOT, ShownCommand, commands, fenced, spans

from leansight.sdk.commands.cli import leansight
from leansight.sdk.recipes.load import load_recipe

SHOWN = [command for page in PAGES for command in commands(page)]
PROSE = [(page, span) for page in PAGES for span in spans(page) if span.startswith("leansight ")]


def started_with(*starts: str) -> list[Any]:
    """Return the commands whose first words end in one of these, by their lines."""
    chosen = [c for c in SHOWN if any(s in " ".join(c.words[:2]) for s in starts)]
    return [pytest.param(command, id=str(command)) for command in chosen]


def find(words: tuple[str, ...]) -> tuple[click.Command, list[str]]:
    """Return the command of `leansight` that the words name, and the words left."""
    command: click.Command = leansight
    left = list(words[1:])
    while isinstance(command, click.Group) and left and not left[0].startswith("-"):
        found = command.get_command(click.Context(command), left[0])
        assert found is not None, f"there is no command {left[0]}"
        command, left = found, left[1:]
    return command, left


def parse(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> click.Context:
    """Parse a command line without running it; its files need not exist."""
    monkeypatch.setattr(click.Path, "convert", lambda _self, value, _param, _context: Path(value))
    command, left = find(words)
    return command.make_context(command.name, left)


@pytest.mark.parametrize("shown", started_with("leansight "))
def test_a_shown_command_is_parsed_by_the_real_command_line(
    shown: ShownCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = parse(shown.words, monkeypatch)
    own = str(parsed.params.get("recipe", "photos"))
    recipe = "photos" if own.endswith(".toml") else own
    assert load_recipe(recipe, _recipe_values(shown.words))


def _recipe_values(words: tuple[str, ...]) -> list[str]:
    """Return what --set and --grid give to the recipe, of each grid the first value."""
    pairs = [pair for pair in itertools.pairwise(words) if pair[0] in {"--set", "--grid"}]
    return [value.split(",")[0] if name == "--grid" else value for name, value in pairs]


@pytest.mark.parametrize(("page", "span"), PROSE)
def test_a_command_within_a_sentence_has_the_options_that_it_names(page: Path, span: str) -> None:
    words = tuple(word for word in span.split() if word not in {"…", "COMMAND"})
    command, left = find(words)
    known = {name for p in command.get_params(click.Context(command)) for name in p.opts}
    named = {word for word in left if word.startswith("--")}
    assert named <= known, page


@pytest.mark.parametrize("shown", started_with("scripts/"))
def test_a_shown_script_exists_with_its_options(shown: ShownCommand) -> None:
    script = ROOT / shown.words[0]
    assert os.access(script, os.X_OK)
    named = {word for word in shown.words if word.startswith("--")}
    assert named <= set(re.findall(r"--[a-z][a-z-]*", script.read_text()))


@pytest.mark.parametrize("shown", started_with("examples/"))
def test_a_shown_example_exists_with_its_options(shown: ShownCommand) -> None:
    example = ROOT / shown.words[1].removeprefix("leansight/")  # the clone's name on the Pi
    named = {word for word in shown.words if word.startswith("--")}
    added = ast.walk(ast.parse(example.read_text()))
    assert named <= {node.value for node in added if isinstance(node, ast.Constant)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_shown_python_imports_what_exists(page: Path) -> None:
    for block in fenced(page, "python"):
        for module, names in re.findall(r"^from (leansight\S*) import (.+)$", block, re.MULTILINE):
            for name in names.split(", "):
                assert hasattr(importlib.import_module(module), name)


def test_pages_show_each_command() -> None:
    shown = {command.words[1] for command in SHOWN if command.words[0] == "leansight"}
    assert shown == set(leansight.list_commands(click.Context(leansight)))


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("leansight trains photos/", "no command trains"),
        ("leansight train photos/ --out run/ --epoch 3", "No such option"),
        ("leansight train photos/ --out run/ --epochs few", "not a valid integer"),
        ("leansight prune run/ --out small/ --macs small", "not an amount"),
        ("leansight classify", "Missing parameter: bundle"),
    ],
)
def test_a_wrong_command_is_found(line: str, mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises((AssertionError, click.UsageError), match=mistake):
        parse(tuple(line.split()), monkeypatch)
