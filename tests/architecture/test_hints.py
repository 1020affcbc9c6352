"""What leansight tells people to install exists, and brings what is missing."""

import ast
import configparser
import importlib
import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from house import FILES, ROOT, name_of, package_of
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# `leansight[pi]`, `./leansight[pi]`, `.[all,weights]` and a wheel's file name with an extra.
NAMED = re.compile(r"(?:leansight|[\"']\.)\[([a-z][\w,-]*)\]")
CALLS = {"require", "check_installed", "import_on_first_use"}
# Who lacks either is told of the extra that brings the other.
INSTEAD_OF = {"PIL": "cv2"}


def read_extras() -> dict[str, list[Requirement]]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return {
        name: [Requirement(line) for line in lines.splitlines() if line and line[0] != "#"]
        for name, lines in setup["options.extras_require"].items()
    }


EXTRAS = read_extras()


def brought_by(extra: str) -> set[str]:
    """Return the distributions that an extra names itself, and through other extras."""
    brought: set[str] = set()
    for requirement in EXTRAS[extra]:
        brought.add(canonicalize_name(requirement.name))
        for other in requirement.extras:
            brought |= brought_by(other)
    return brought


def files_of_people() -> Iterator[Path]:
    """Yield every file of the checkout that can name an extra: code, pages, scripts, settings."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.split("\0"):
        path = ROOT / name
        binary = path.suffix in {".png", ".jpg", ".npz", ".svg", ".tflite", ".onnx", ".zip", ".bin"}
        if name and path.is_file() and not binary and path != Path(__file__):
            yield path


def calls() -> Iterator[tuple[str, str, str]]:
    """Yield for each call that can raise MissingExtraError its place, a module and the extra."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id=function)) if function in CALLS:
                    extra = next((k.value for k in node.keywords if k.arg == "extra"), None)
                    place = f"{name_of(path)}:{node.lineno}"
                    for module in modules_of(node, path):
                        if isinstance(extra, ast.Constant) and extra.value is not None:
                            yield place, module, str(extra.value)


def modules_of(call: ast.Call, path: Path) -> Iterator[str]:
    """Yield the modules that a call names, in constants or in a tuple of another file."""
    for argument in call.args:
        match argument:
            case ast.Constant(value=str(module)):
                yield module.partition(".")[0]
            case ast.Starred(value=ast.Name(id=name)):
                file = importlib.import_module(f"{package_of(path.parent)}.{path.stem}")
                yield from getattr(file, name)


def test_every_extra_that_is_named_exists() -> None:
    named = {
        (name_of(path), extra)
        for path in files_of_people()
        for extras in NAMED.findall(path.read_text())
        for extra in extras.split(",")
    }
    assert len(named) > 20
    assert {(name, extra) for name, extra in named if extra not in EXTRAS} == set()


def test_the_extras_of_calls_exist_and_bring_the_missing_module() -> None:
    found = list(calls())
    assert len(found) > 20
    distributions = packages_distributions()
    for place, missing, extra in found:
        assert extra in EXTRAS, place
        module = INSTEAD_OF.get(missing, missing)
        names = {canonicalize_name(name) for name in distributions.get(module, [module])}
        assert names & brought_by(extra), f"{place}: [{extra}] does not bring {module}"


def test_a_name_of_an_extra_is_found_in_what_people_type() -> None:
    lines = "pip install './leansight[pi]' '.[all,weights]' 'leansight[pi-min]==1' x[0] a.[b]"
    assert NAMED.findall(lines) == ["pi", "all,weights", "pi-min"]
