"""tests/pi/installed_size.py counts what a package brought and what Python made of it."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).with_name("installed_size.py")


@pytest.fixture(scope="module")
def installed_size() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pi_installed_size", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def environment(folder: Path) -> Path:
    site = folder / "lib/python3.11/site-packages"
    for name, content in {
        "small/__init__.py": 1_000_000,
        "small/__pycache__/__init__.cpython-311.pyc": 500_000,  # compiled at the first use
        "small-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: small\nVersion: 1.0\n",
        "small-1.0.dist-info/RECORD": b"small/__init__.py,,\nsmall/absent.py,,\n",
        "large.libs/large.so": 3_000_000,
        "large-2.dist-info/METADATA": b"Metadata-Version: 2.1\nName: large\nVersion: 2\n",
        "large-2.dist-info/RECORD": b"large.libs/large.so,,\n",
        "pip/__init__.py": 9_000_000,
        "pip-23.dist-info/METADATA": b"Metadata-Version: 2.1\nName: pip\nVersion: 23\n",
        "pip-23.dist-info/RECORD": b"pip/__init__.py,,\n",
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(bytes(content) if isinstance(content, int) else content)
    return folder


def test_files_are_counted_with_what_python_compiled_of_them(
    installed_size: ModuleType, tmp_path: Path
) -> None:
    found = installed_size.sizes(environment(tmp_path))
    assert list(found) == ["pip 23", "large 2", "small 1.0"]
    assert found["small 1.0"] == (1_500_000, 500_000)


def test_the_sum_is_without_pip(installed_size: ModuleType, tmp_path: Path) -> None:
    text = installed_size.table(environment(tmp_path))
    lines = [line.split() for line in text.splitlines()[1:]]
    assert lines == [
        ["3.0", "0.0", "large", "2"],
        ["1.5", "0.5", "small", "1.0"],
        ["4.5", "0.5", "in", "all"],
    ]
