"""What each package promises to its users: its public names, read from the source alone.

`python tests/architecture/surface.py > tests/architecture/public_surface.txt` writes it anew.
"""

import ast
import sys
import textwrap
from collections.abc import Iterator
from typing import NamedTuple

from house import FOLDERS, ROOT, file_of

Function = ast.FunctionDef | ast.AsyncFunctionDef
WIDTH = 100
# What Python calls when a value is called, entered, or gone through.
SPOKEN = frozenset({"__call__", "__enter__", "__init__", "__iter__"})


class PublicName(NamedTuple):
    """A name that a package gives, and what is written where it comes from."""

    name: str
    definition: ast.stmt
    docstring: str


def init_of(package: str) -> ast.Module:
    """Return the parsed `__init__` of a package, such as `runtime`."""
    return ast.parse((ROOT / package / "__init__.py").read_text())


def declared(package: str) -> list[str]:
    """Return its `__all__`."""
    for node in init_of(package).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    raise LookupError(f"{package} has no __all__")


def modules_of(package: str) -> dict[str, str]:
    """Return the module of each name that its `__init__` imports from inside the package."""
    return {
        alias.asname or alias.name: node.module
        for node in ast.walk(init_of(package))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if alias.name in declared(package)
    }


def public_names(package: str) -> Iterator[PublicName]:
    """Yield what is in `__all__`, by name."""
    modules = modules_of(package)
    for name in sorted(declared(package), key=str.lower):
        file = file_of(f"{modules[name]}.{name}")
        assert file
        body = ast.parse(file.read_text()).body
        at = next(i for i, node in enumerate(body) if name in _defined_by(node))
        yield PublicName(name, body[at], _docstring(body, at))


def _defined_by(node: ast.stmt) -> list[str]:
    match node:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            return [node.name]
        case ast.Assign():
            return [ast.unparse(target) for target in node.targets]
        case ast.AnnAssign():
            return [ast.unparse(node.target)]
    return []


def _docstring(body: list[ast.stmt], at: int) -> str:
    """Return the docstring of a class or a function, or the string below an assignment."""
    match body[at], body[at + 1 : at + 2]:
        case (ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef()) as node, _:
            return ast.get_docstring(node) or ""
        case _, [ast.Expr(value=ast.Constant(value=str(text)))]:
            return text
    return ""


def public_methods(node: ast.ClassDef) -> list[Function]:
    """Return the methods and properties that a user may call."""
    methods = [child for child in node.body if isinstance(child, Function)]
    return [m for m in methods if not m.name.startswith("_") or m.name in SPOKEN]


def lines_of(definition: ast.stmt) -> list[str]:
    """Return a definition without what it does: signature, fields, public methods."""
    match definition:
        case ast.ClassDef():
            return _class_lines(definition)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return _function_lines(definition)
    return [ast.unparse(definition)]


def _class_lines(node: ast.ClassDef) -> list[str]:
    bases = ", ".join(map(ast.unparse, node.bases))
    fields = [ast.unparse(f) for f in node.body if isinstance(f, ast.AnnAssign)]
    public = [field for field in fields if not field.startswith("_")]
    methods = [line for m in public_methods(node) for line in _function_lines(m)]
    return [
        *(f"@{ast.unparse(decorator)}" for decorator in node.decorator_list),
        f"class {node.name}" + f"({bases})" * bool(bases),
        *(f"    {line}" for line in [*public, *methods]),
    ]


def _function_lines(node: Function) -> list[str]:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return [
        *(f"@{ast.unparse(decorator)}" for decorator in node.decorator_list),
        f"def {node.name}({ast.unparse(node.args)}){returns}",
    ]


def surface() -> str:
    """Return the public names of all packages with their signatures, as text."""
    lines = []
    for package in FOLDERS:
        lines += [f"# leansight.{package}", ""]
        for public in public_names(package):
            lines += [*lines_of(public.definition), ""]
    return "\n".join(_wrapped(line) for line in lines)


def _wrapped(line: str) -> str:
    indent = " " * (len(line) - len(line.lstrip()) + 8)
    return textwrap.fill(
        line,
        WIDTH,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


if __name__ == "__main__":
    sys.stdout.write(surface())
