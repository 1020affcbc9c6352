"""A Markdown extension: a line such as `::: command-line` becomes a generated reference."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import command_line
import recipe_fields
from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor

DIRECTIVES: Final[Mapping[str, Callable[[], Iterator[str]]]] = {
    "::: command-line": command_line.lines,
    "::: recipe-fields": recipe_fields.lines,
}
# Before fenced code blocks (25) are read: the references hold some.
PRIORITY: Final = 40


class Directives(Preprocessor):
    """Put each reference in its directive's place."""

    def run(self, lines: list[str]) -> list[str]:
        """Return the page's lines with the directives replaced."""
        return [
            new for line in lines for new in (DIRECTIVES[line]() if line in DIRECTIVES else [line])
        ]


class DirectivesExtension(Extension):
    """What Markdown registers."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 -- Markdown's name
        """Add the preprocessor."""
        md.preprocessors.register(Directives(md), "directives", PRIORITY)


def makeExtension() -> Extension:  # noqa: N802 -- Markdown's name
    """Return the extension; Markdown calls it by this name."""
    return DirectivesExtension()
