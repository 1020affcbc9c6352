"""scripts/build makes what a release would carry, and its check finds what is wrong."""

import importlib.util
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = "leansight/runtime/pixels/_prepare.abi3.so"


@pytest.fixture(scope="module")
def check_wheel() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_wheel", ROOT / "scripts/check_wheel.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(folder: Path, tag: str, **files: bytes) -> Path:
    path = folder / f"leansight-1-{tag}.whl"
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name.replace("_so", ".so").replace("_c", ".c"), content)
    return path


def elf(machine: int, glibc: bytes = b"2.4") -> bytes:
    return b"\x7fELF" + bytes(14) + bytes([machine, 0]) + b"\0GLIBC_2.2.5\0GLIBC_" + glibc + b"\0"


ARM = "cp311-abi3-manylinux_2_17_aarch64"


@pytest.mark.parametrize(
    ("tag", "files", "fault"),
    [
        (ARM, {"a_so": elf(183)}, None),
        (ARM, {"a_so": elf(183, b"2.17")}, None),
        (ARM, {"a_so": elf(183, b"2.34")}, "holds a library that needs glibc 2.34"),
        (ARM, {"a_so": elf(62)}, "holds a library that is not for aarch64"),
        (ARM, {"a_so": b"#!/bin/sh" + bytes(20)}, "holds a library that is not for aarch64"),
        (ARM, {}, "holds 0 libraries, not one"),
        (ARM, {"a_so": elf(183), "b_so": elf(183)}, "holds 2 libraries, not one"),
        ("cp311-cp311-linux_aarch64", {"a_so": elf(183)}, "has the tag cp311-cp311-linux_aarch64"),
        ("py3-none-any", {"a": b""}, None),
        ("py3-none-any", {"a_so": elf(62)}, "holds a.so"),
        ("py3-none-any", {"a_c": b""}, "holds sources: a.c"),
    ],
)
def test_a_wheel_holds_what_its_name_says(
    check_wheel: ModuleType, tmp_path: Path, tag: str, files: dict[str, bytes], fault: str | None
) -> None:
    assert check_wheel.fault_of(wheel(tmp_path, tag, **files)) == fault


def build(*options: str) -> subprocess.CompletedProcess[str]:
    command = [ROOT / "scripts/build", *options]
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_all_that_a_release_carries(tmp_path: Path) -> None:
    pytest.importorskip("ziglang", reason="pip install '.[dev]'")
    done = build(str(tmp_path))
    assert done.returncode == 0, done.stderr
    names = {path.name.split("-", 2)[-1]: path for path in tmp_path.iterdir()}
    (sources,) = tmp_path.glob("*.tar.gz")
    assert {name for name in names if name.endswith(".whl")} == {
        "py3-none-any.whl",
        *(f"cp311-abi3-manylinux_2_17_{cpu}.whl" for cpu in ("x86_64", "aarch64", "armv7l")),
    }
    contents = []
    for path in tmp_path.glob("*.whl"):
        with zipfile.ZipFile(path) as file:
            rest = (name for name in file.namelist() if ".dist-info/" not in name)
            contents.append(set(rest) - {LIBRARY})
    assert all(names == contents[0] for names in contents)
    with tarfile.open(sources) as file:
        inside = {name.partition("/")[2] for name in file.getnames()}
    assert {path.relative_to(ROOT).as_posix() for path in ROOT.glob("runtime/**/*.[ch]")} <= inside
    assert "setup.py" in inside


def test_a_wrong_option_is_named() -> None:
    done = build("--only", "arm")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "build: --only is x86_64, aarch64, armv7l, any, sdist or sbom; not 'arm'"
    )
