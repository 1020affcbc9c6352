"""What prepares pictures on an emulated Pi is leansight's own C, compiled as users get it."""

import re
from pathlib import Path

import pytest
from doubles.far_machine import executable

from leansight.benchmarks.emulation.pi_library import FLAGS, compile_for_pi
from leansight.benchmarks.emulation.tools import EmulationError, compiler_for_pi

ROOT = Path(__file__).parents[3]
AARCH64 = 183  # EM_AARCH64 of the ELF specification


def test_it_is_compiled_as_setup_compiles_it() -> None:
    (listed,) = re.findall(
        r"extra_compile_args=\[(.*?)\]", (ROOT / "setup.py").read_text(), re.DOTALL
    )
    assert list(FLAGS) == re.findall(r'"(.*?)"', listed)


def test_it_is_a_library_for_a_64_bit_pi(tmp_path: Path) -> None:
    if not compiler_for_pi():
        pytest.skip("no compiler for ARM: pip install '.[dev]'")
    library = compile_for_pi(tmp_path).read_bytes()
    assert (library[:4], library[18]) == (b"\x7fELF", AARCH64)
    assert b"leansight_prepare_2\0" in library


def test_a_compiler_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "echo 'note: x' >&2; echo 'resize.c:1: error: no NEON' >&2; exit 1"
    executable(tmp_path / "bin" / "aarch64-linux-gnu-gcc", said)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    with pytest.raises(EmulationError, match=r"compiled for a Pi: resize\.c:1: error: no NEON$"):
        compile_for_pi(tmp_path)
