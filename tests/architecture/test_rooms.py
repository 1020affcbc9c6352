import ast
import configparser
import importlib
import json
import re
import shutil
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from house import FOLDERS, PACKAGES, ROOT, imports_of, name_of, package_of
from surface import declared

from leansight.sdk.commands.cli import COMMANDS

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SIGNS = sorted((ROOT / "examples" / "traffic_signs").glob("*.py"))
NOTEBOOK = ROOT / "examples" / "10_workstation.ipynb"
# The examples for a Pi, and what they import beside OpenCV, numpy and the runtime.
ON_PI = {
    "01_classify_a_photo.py": set[str](),
    "camera_stream.py": set[str](),
    "03_react_to_a_label.py": {"gpiozero"},
}
# Programs of an emulated Pi, beside the Python of their room.
EMULATION = ("count-instructions", "instruction_counter.c", "make-rootfs", "run-on-pi")
BUILT_FROM = [*FOLDERS, "setup.cfg", "pyproject.toml", "README.md", "LICENSE"]


def fresh(code: str) -> str:
    """Return what a new Python prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


# The rooms


def test_the_rooms_are_those_of_the_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    packages = setup["options"]["packages"].split()
    assert packages == [package_of(folder) for folder in PACKAGES]
    mapped = dict(line.split(" = ") for line in setup["options"]["package_dir"].split("\n")[1:])
    assert mapped == {f"leansight.{room}": room for room in FOLDERS}
    assert not (ROOT / "leansight").exists()


@pytest.mark.parametrize(
    "room",
    [
        "runtime",
        "benchmarks",
        pytest.param("exporters", marks=pytest.mark.slow),  # imports torch
        pytest.param("sdk", marks=pytest.mark.slow),
    ],
)
def test_every_file_is_importable_under_the_name_of_its_path(room: str) -> None:
    files = {f"{package_of(path.parent)}.{path.stem}": path for path in (ROOT / room).rglob("*.py")}
    code = (
        "import importlib, json, sys; "
        "names = json.loads(sys.argv[1]); "
        "print(json.dumps({name: importlib.import_module(name).__file__ for name in names}))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, json.dumps(list(files))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for name, path in files.items():
        assert Path(found[name]).resolve() == path.resolve()


def test_type_checkers_see_the_rooms_through_links() -> None:
    links = {link.name: link for link in (ROOT / ".typing" / "leansight").iterdir()}
    assert set(links) == set(FOLDERS)
    for room, link in links.items():
        assert link.is_symlink()
        assert not link.readlink().is_absolute()
        assert link.resolve() == (ROOT / room).resolve()


def test_every_sub_command_has_a_command_and_a_help_text() -> None:
    cli = importlib.import_module("leansight.sdk.commands.cli")
    for name, module in cli.COMMANDS.items():
        assert module.startswith("leansight.sdk.commands.")
        assert importlib.import_module(module).command.help, name


# What an import costs


def test_importing_the_runtime_loads_nothing_heavy() -> None:
    heavy = {"torch", "cv2", "ai_edge_litert", "onnx", "onnxruntime", "rich", "click", "sklearn"}
    loaded = fresh("import sys, leansight.runtime; print(*sys.modules)").split()
    assert "numpy" in loaded
    assert not heavy & set(loaded)
    assert not [name for name in loaded if name.startswith(("leansight.sdk", "leansight.exp"))]


def test_importing_the_runtime_costs_less_than_numpy() -> None:
    code = (
        "from time import perf_counter as now; a = now(); import numpy; b = now(); "
        "import leansight.runtime; c = now(); print((c - b) / (b - a))"
    )
    assert statistics.median(float(fresh(code)) for _ in range(5)) < 1


def test_every_help_text_is_there_on_a_pi_with_numpy_and_click_alone() -> None:
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "from leansight.sdk.commands.cli import COMMANDS, main\n"
        "for words in [['--version'], ['--help'], *([name, '--help'] for name in COMMANDS)]:\n"
        "    sys.argv = ['leansight', *words]\n"
        "    try: main()\n"
        "    except SystemExit as end: assert not end.code, words\n"
        "print(); print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    help_texts, loaded = fresh(code).rstrip("\n").rsplit("\n", 1)
    assert help_texts.count("Usage: leansight ") == 1 + len(COMMANDS)
    ours = {name for name in loaded.split() if "cython" not in name} - sys.stdlib_module_names
    assert ours == {"numpy", "click", "leansight"}


def test_the_command_lists_its_sub_commands() -> None:
    command = [Path(sys.executable).with_name("leansight"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    listed = done.stdout.split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in listed if line.startswith("  ")] == [
        *("data", "recipes", "train", "study", "prune", "optimize"),
        *("evaluate", "export", "certify", "classify", "stream", "label", "service"),
        *("bench", "check", "sign", "verify", "deploy", "install", "rollback"),
    ]


# Examples


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_an_example_reads_in_one_sitting(path: Path) -> None:
    docstring = ast.parse(path.read_text()).body[0]
    assert isinstance(docstring, ast.Expr), "an example begins with how to call it"
    assert docstring.end_lineno
    code = path.read_text().splitlines()[docstring.end_lineno :]
    assert len(code) <= 60


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_an_example_says_how_to_call_it_and_what_it_needs(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert f"python {path.name} " in text
    assert "Needs the extra" in text


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_an_example_imports_only_what_it_may(path: Path) -> None:
    on_pi = ON_PI.get(path.name)
    allowed = {"cv2", "numpy", "torch"} if on_pi is None else {"cv2", "numpy"} | on_pi
    for name, *_ in imports_of(path):
        top, *rest = name.split(".")
        assert top in sys.stdlib_module_names | allowed | {"leansight"}, name
        if top == "leansight" and on_pi is not None:
            assert rest[0] == "runtime", f"{name} is not on a Pi"


def code_of(path: Path) -> ast.Module:
    """Return a parsed script, or the parsed cells of a notebook."""
    text = path.read_text()
    if path.suffix == ".ipynb":
        cells = [c for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
    return ast.parse(text)


@pytest.mark.parametrize("path", [*EXAMPLES, NOTEBOOK, *SIGNS], ids=name_of)
def test_an_example_uses_the_public_surface_only(path: Path) -> None:
    packages = set()
    for node in ast.walk(code_of(path)):
        match node:
            case ast.ImportFrom(module="leansight", names=names):
                packages |= {alias.name for alias in names}
            case ast.ImportFrom(module=str(module), names=names) if module.startswith("leansight."):
                package = module.removeprefix("leansight.")
                assert package in FOLDERS, f"{module} is a room, not a public package"
                assert {alias.name for alias in names} <= set(declared(package)), module
    for node in ast.walk(code_of(path)):
        match node:
            case ast.Attribute(value=ast.Name(id=package), attr=name) if package in packages:
                assert name in declared(package), f"{package}.{name} is not public"


def test_the_table_of_examples_lists_each_once() -> None:
    table = (ROOT / "examples" / "README.md").read_text()
    names = re.findall(r"^\| \d+ \| \[`([^`]+)`\]\(([^)]+)\)", table, re.MULTILINE)
    assert all(shown == link for shown, link in names)
    assert sorted(shown for shown, _ in names) == sorted(p.name for p in [*EXAMPLES, NOTEBOOK])


# What is shipped


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The names in a wheel of this checkout, and in a wheel made from its sdist."""
    work = tmp_path_factory.mktemp("ship")
    source = work / "source"
    source.mkdir()
    for name in BUILT_FROM:  # a copy: setuptools writes where it builds
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source)
    names = {}
    # Without --wheel, `build` makes an sdist and the wheel from that.
    for way, options in (("wheel", ["--wheel"]), ("sdist", [])):
        out = work / way
        command = [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", out]
        done = subprocess.run([*command, source], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        (wheel,) = out.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            names[way] = set(archive.namelist())
    return names


@pytest.mark.slow
@pytest.mark.parametrize("way", ["wheel", "sdist"])
def test_the_wheel_holds_every_room_and_nothing_else(
    shipped: dict[str, set[str]], way: str
) -> None:
    expected = {
        f"leansight/{path.relative_to(ROOT)}"
        for room in FOLDERS
        for pattern in ("*.py", "py.typed", "*.toml", "*.html", "*.css", "*.js")
        for path in (ROOT / room).rglob(pattern)
    }
    expected |= {f"leansight/benchmarks/emulation/{name}" for name in EMULATION}
    # An emulated Pi compiles them once more, for its own processor.
    sources = [*(ROOT / "runtime/pixels").glob("*.[ch]")]
    expected |= {f"leansight/{source.relative_to(ROOT)}" for source in sources}
    assert any(name.endswith(".toml") for name in expected)
    assert len([name for name in expected if name.endswith("py.typed")]) == len(FOLDERS)
    assert {name for name in shipped[way] if ".dist-info/" not in name} == expected
    entry_points = [name for name in shipped[way] if name.endswith("/entry_points.txt")]
    licenses = [name for name in shipped[way] if name.endswith("/LICENSE")]
    assert len(entry_points) == len(licenses) == 1
