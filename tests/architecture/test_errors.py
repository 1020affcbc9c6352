"""A library speaks of its parameters; what they are called in a terminal, the commands know."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import FILES, name_of, room_of

COMMANDS = "sdk/commands"
FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")
# Options of other programs, which a file of ours starts or tells how to start.
PIP = {"--quiet", "--disable-pip-version-check", "--no-cache-dir"}
OF_OTHER_PROGRAMS = {
    "benchmarks/boards/carried.py": PIP,
    "benchmarks/emulation/emulated_pi.py": {*PIP, "--cpu", "--bind"},  # of run-on-pi beside it
    "benchmarks/emulation/tools.py": {"--no-install-recommends"},  # of apt
    "benchmarks/peers/catalogue.py": PIP,
    "runtime/errors.py": {"--system-site-packages"},  # of python -m venv
    "runtime/extras.py": {"--force-reinstall", "--reinstall"},  # of pip and of apt
    "runtime/installation/trial.py": {"--property"},  # of systemctl
    "sdk/deployment/deploy.py": {"--json"},  # of leansight install there
    "sdk/studies/executors.py": {"--head"},  # ray start --head
    "sdk/system/systemd.py": {"--version"},  # of systemctl
}
LIBRARY = [path for path in FILES if not room_of(path).startswith(COMMANDS)]


def constants_of(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield the constants of a file but its docstrings, those inside of f-strings too."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        statement.value
        for node in ast.walk(tree)
        if isinstance(node, documented)
        for statement in node.body
        if isinstance(statement, ast.Expr)
    }
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    yield from (node for node in constants if node not in docstrings)


def flags_of(code: str) -> list[str]:
    return [f for node in constants_of(ast.parse(code)) for f in FLAG.findall(str(node.value))]


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_a_library_file_names_no_flag_of_the_command_line(path: Path) -> None:
    allowed = OF_OTHER_PROGRAMS.get(name_of(path), set())
    assert not [flag for flag in flags_of(path.read_text()) if flag not in allowed]


@pytest.mark.parametrize(
    ("code", "flags"),
    [
        ('raise ValueError("choose another --out")', ["--out"]),
        ('f"more than {limit} (--max-drop)"', ["--max-drop"]),
        ('options = ["--keras-python", python]', ["--keras-python"]),
        ('def f():\n    """Takes --out."""\n    return 1 -- 2  # --size', []),
        ('separator = ["ssh", "--", host]', []),
    ],
)
def test_flags_are_found_in_what_a_user_may_read(code: str, flags: list[str]) -> None:
    assert flags_of(code) == flags
