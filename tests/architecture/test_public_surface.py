"""What users may rely on: the names that each package gives, and their signatures."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from house import FOLDERS, ROOT
from surface import declared, modules_of, public_methods, public_names, surface

SURFACE = Path(__file__).with_name("public_surface.txt")
LAZY = [package for package in FOLDERS if package != "runtime"]
HEAVY = {"torch", "cv2", "onnx", "onnxruntime", "ai_edge_litert", "rich", "click", "sklearn"}


def fresh(code: str) -> str:
    """Return what a new Python prints."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def table_of(package: str) -> dict[str, str]:
    """Return the module of each name as `import_on_first_use` is told, inside the package."""
    tree = ast.parse((ROOT / package / "__init__.py").read_text())
    (told,) = (node for node in ast.walk(tree) if isinstance(node, ast.Dict))
    return {
        name: module for module, names in ast.literal_eval(told).items() for name in names.split()
    }


def test_names_and_signatures_are_those_that_were_reviewed() -> None:
    assert surface() == SURFACE.read_text(), (
        "the public surface has changed. If that is meant, say so in CHANGELOG.md, and: "
        "python tests/architecture/surface.py > tests/architecture/public_surface.txt"
    )


@pytest.mark.parametrize("package", FOLDERS)
def test_a_package_imports_what_it_declares(package: str) -> None:
    assert sorted(modules_of(package)) == sorted(set(declared(package)))


@pytest.mark.parametrize("package", LAZY)
def test_a_name_comes_at_run_time_from_where_a_type_checker_sees_it(package: str) -> None:
    table = {
        name: module if module.startswith("leansight.") else f"leansight.{package}.{module}"
        for name, module in table_of(package).items()
    }
    assert table == modules_of(package)


@pytest.mark.parametrize("package", FOLDERS)
def test_a_public_name_says_what_it_is(package: str) -> None:
    for public in public_names(package):
        assert public.docstring, f"leansight.{package}.{public.name} has no docstring"
        if isinstance(public.definition, ast.ClassDef):
            for method in public_methods(public.definition):
                is_known = method.name in {"__enter__", "__init__", "__iter__"}
                assert is_known or ast.get_docstring(method), f"{public.name}.{method.name}"


@pytest.mark.parametrize("package", LAZY)
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    loaded = fresh(f"import sys, leansight.{package}; print(*sys.modules)").split()
    assert not HEAVY & set(loaded)
    ours = [name for name in loaded if name.startswith(f"leansight.{package}")]
    assert ours == [f"leansight.{package}"]


@pytest.mark.parametrize(
    "package",
    [
        "runtime",
        "benchmarks",
        pytest.param("exporters", marks=pytest.mark.slow),  # imports torch
        pytest.param("sdk", marks=pytest.mark.slow),
    ],
)
def test_every_public_name_can_be_imported(package: str) -> None:
    found = fresh(
        f"import json; from leansight.{package} import *; "
        "print(json.dumps(sorted(name for name in globals() if not name.startswith('__'))))"
    )
    assert set(json.loads(found)) == {*declared(package), "json"}


@pytest.mark.parametrize("package", LAZY)
def test_a_package_lists_its_names_and_refuses_others(package: str) -> None:
    module = importlib.import_module(f"leansight.{package}")
    assert set(declared(package)) <= set(dir(module))
    with pytest.raises(AttributeError, match=f"'leansight.{package}' has no attribute 'nothing'"):
        _ = module.nothing


def test_a_missing_library_is_named_with_the_extra_that_brings_it() -> None:
    said = fresh(
        "import sys; sys.modules['torch'] = None\n"
        "try: from leansight.exporters import export_network\n"
        "except ImportError as error: print(error)"
    )
    assert said == "torch is not installed. Type: pip install 'leansight[export]'\n"
