"""What this machine lacks to emulate a Pi is said in one line, before anything is measured."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from doubles.far_machine import executable

from leansight.benchmarks.emulation import tools
from leansight.benchmarks.emulation.tools import EmulationError, require_tools, run_script
from leansight.sdk.commands import cli


def test_missing_tools_are_named_by_their_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("apt-get", "mmdebstrap", "cc", "qemu-aarch64"):
        executable(tmp_path / "bin" / name, "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(tools, "find_spec", lambda _: None)
    with pytest.raises(
        EmulationError,
        match=r"Type: sudo apt install --no-install-recommends "
        r"qemu-user-static bubblewrap gcc-aarch64-linux-gnu debian-archive-keyring$",
    ):
        require_tools(tmp_path / "no.gpg")


def test_a_compiler_for_the_pi_is_needed_where_nothing_is_compiled_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("apt-get", "mmdebstrap", "cc", "qemu-aarch64", "qemu-aarch64-static", "bwrap"):
        executable(tmp_path / "bin" / name, "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(tools, "find_spec", lambda _: None)
    (tmp_path / "key.gpg").touch()
    require_tools(tmp_path / "key.gpg", compiles=False)
    with pytest.raises(EmulationError, match=r"recommends gcc-aarch64-linux-gnu$"):
        require_tools(tmp_path / "key.gpg")
    executable(tmp_path / "bin" / "aarch64-linux-gnu-gcc", "")
    require_tools(tmp_path / "key.gpg")


def test_elsewhere_than_on_debian_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmulationError, match="on Debian or Ubuntu only"):
        require_tools(tmp_path / "no.gpg")


def test_nothing_is_measured_without_them(
    tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable(tmp_path / "bin" / "apt-get", "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    done = CliRunner().invoke(cli.leansight, ["bench", str(tiny_bundle), "--emulate", "pi4"])
    assert isinstance(done.exception, EmulationError)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo a; echo 'make-rootfs: no mirror' >&2; exit 1", "^script failed: no mirror$"),
        ("echo 'make-rootfs: no kernel' >&2; exit 3", "^this machine cannot do it: no kernel$"),
        ("exit 2", "^script failed: nothing was said$"),
    ],
)
def test_a_script_that_fails_says_its_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    executable(tmp_path / "script", script)
    monkeypatch.setattr(tools, "HERE", tmp_path)
    with pytest.raises(EmulationError, match=message):
        run_script("script", [])
