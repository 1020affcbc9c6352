"""The reference of the `leansight` command: what `--help` shows, from click itself."""

import html
import inspect
import re
from collections.abc import Iterator

import click

from leansight.sdk.commands.cli import leansight


def lines() -> Iterator[str]:
    """Yield Markdown: a section for each command, with every argument and option."""
    context = click.Context(leansight, info_name="leansight", **leansight.context_settings)
    for command in _commands(context):
        yield from _reference(command)


def _commands(context: click.Context) -> Iterator[click.Context]:
    """Yield the contexts of the commands below a group, a group before its own."""
    assert isinstance(context.command, click.Group)
    for name in context.command.list_commands(context):
        command = context.command.get_command(context, name)
        assert command is not None
        inner = click.Context(command, parent=context, info_name=name)
        yield inner
        if isinstance(command, click.Group):
            yield from _commands(inner)
        for word, below in getattr(command, "sub_commands", {}).items():
            yield click.Context(below, parent=inner, info_name=word)


def _reference(context: click.Context) -> Iterator[str]:
    command, path = context.command, context.command_path
    yield from (f"## {path} {{ #{path.replace(' ', '-')} }}", "")
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield from _paragraph(paragraph)
    yield from ("```text", " ".join([path, *command.collect_usage_pieces(context)]), "```", "")
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record and record[1]:
            yield from (f"`{record[0]}`", f":   {_text(record[1])}", "")
    if command.epilog:
        word, _, example = command.epilog.partition(": ")
        yield from (f"{word}:", "", "```bash", example, "```", "")


def _paragraph(text: str) -> Iterator[str]:
    """Return a paragraph of a help text; one that click must not wrap becomes code."""
    kept, _, rest = text.partition("\b\n")
    if kept:
        yield from (_text(text), "")
        return
    language = "bash" if rest.startswith("leansight") else "text"
    yield from (f"```{language}", *rest.splitlines(), "```", "")


def _text(text: str) -> str:
    """Return plain text as Markdown, in which backticks mark code as they do in the text."""
    parts = " ".join(text.split()).split("`")
    plain = (html.escape(part, quote=False) for part in parts[::2])
    parts[::2] = (re.sub(r"([\\*_\[\]])", r"\\\1", part) for part in plain)
    return "`".join(parts)
