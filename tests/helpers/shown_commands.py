"""The command lines that the pages show, in their fenced bash blocks."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [
    ROOT / "README.md",
    ROOT / "examples" / "traffic_signs" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
_FENCED: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN: Final = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")


@dataclass(frozen=True)
class ShownCommand:
    """One command of a page: its words, and the file that `>` writes, if any."""

    page: Path
    words: tuple[str, ...]
    output: str = ""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {shlex.join(self.words)}"


def fenced(page: Path, language: str) -> list[str]:
    """Return the contents of a page's fenced blocks of a language."""
    return [text for kind, text in _FENCED.findall(page.read_text()) if kind == language]


def commands(page: Path) -> list[ShownCommand]:
    """Return the commands of a page in the order in which they are shown."""
    blocks = (block.replace("\\\n", " ") for block in fenced(page, "bash"))
    lines = [line for block in blocks for line in block.splitlines()]
    return [command for line in lines for command in _commands(page, line)]


def spans(page: Path) -> list[str]:
    """Return what a page shows as code within its sentences."""
    return [" ".join(span.split()) for span in _SPAN.findall(_FENCED.sub("", page.read_text()))]


def _commands(page: Path, line: str) -> Iterator[ShownCommand]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, "&&"]:
        if word != "&&":
            words.append(word)
            continue
        if words:
            *command, output = words if ">" in words else [*words, ">", ""]
            yield ShownCommand(page, tuple(command[:-1]), output)
        words = []
