"""Several machines at once: kept apart, and one that is lost does not stop the others."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from doubles.far_machine import executable, ssh_to_here

from leansight.benchmarks import remote
from leansight.sdk.commands import cli
from leansight.sdk.commands.bench import command

FAST = ("--runs", "8", "--most-seconds", "0", "--format", "onnx")


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return ssh_to_here(monkeypatch, tmp_path / "machines")


def python_where(folder: Path, host: str, script: str) -> Path:
    """Write a Python that does this on one host, and is a Python on the others."""
    return executable(
        folder / "python", f'case "$PWD" in */{host}) {script};; esac\nexec {sys.executable} "$@"'
    )


def bench(bundle: Path, python: object, *hosts: str, options: Sequence[object] = ()) -> Result:
    on = [word for host in hosts for word in ("--on", host)]
    words = [bundle, *on, "--remote-python", python, *FAST, *options]
    return CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)


@pytest.mark.usefixtures("homes")
def test_machines_are_kept_apart(tiny_bundle: Path, tmp_path: Path) -> None:
    files = {flag: tmp_path / f"bench.{flag}" for flag in ("out", "html", "csv", "markdown")}
    options = [word for flag, file in files.items() for word in (f"--{flag}", file)]
    done = bench(tiny_bundle, sys.executable, "pi@a", "pi@b", options=options)
    assert done.exit_code == 0, done.stderr
    assert "pi@a: " in done.stdout
    assert "pi@b: " in done.stdout
    assert "faster" not in done.stdout  # the same model on two machines is no comparison
    found = json.loads(files["out"].read_text())
    assert [m["results"][0]["on"] for m in found["machines"]] == ["pi@a", "pi@b"]
    assert [m["comparisons"] for m in found["machines"]] == [[], []]
    assert len(files["csv"].read_text().splitlines()) == 3
    for name in ("html", "markdown"):
        assert "pi@a: " in files[name].read_text()
        assert "pi@b: " in files[name].read_text()
    compared = CliRunner().invoke(command, ["compare", *[str(files["out"])] * 2])
    assert compared.exit_code == 0
    assert "pi@b: tiny.bundle (onnx)" in compared.stdout


def far_end_that(begins: str, folder: Path) -> str:
    """Return a shell command: the far end, after this code."""
    program = folder / "far_end.py"
    program.write_text(
        "import errno, os, pathlib, sys\n"
        f"from leansight.benchmarks import remote_worker as far\n{begins}\nsys.exit(far.main())\n"
    )
    return f"exec {sys.executable} {program}"


_DIES = """
serve = far._Workers.serve
def dying(self, request):
    if "frames" in request.get("request", {}):
        os._exit(3)
    return serve(self, request)
far._Workers.serve = dying
"""
_IS_FULL = """
def full(self, data):
    raise OSError(errno.ENOSPC, "No space left on device")
pathlib.Path.write_bytes = full
"""


@pytest.mark.usefixtures("homes")
def test_a_machine_that_is_lost_midway_is_a_line_and_exit_code_1(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    python = python_where(tmp_path, "pi@b", far_end_that(_DIES, tmp_path))
    done = bench(tiny_bundle, python, "pi@a", "pi@b")
    assert done.exit_code == 1
    assert "pi@a: " in done.stdout
    assert "pi@b gave no results: the connection to pi@b was lost" in " ".join(done.stdout.split())


@pytest.mark.usefixtures("homes")
def test_a_silent_machine_is_given_up(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        remote, "_SILENCE_S", 10.0
    )  # more than pi@a takes to greet, beside other tests
    python = python_where(tmp_path, "pi@b", "sleep 100; exit")
    done = bench(tiny_bundle, python, "pi@a", "pi@b")
    assert done.exit_code == 1
    assert "pi@b gave no results: has been silent for 10 s: it hangs" in " ".join(
        done.stdout.split()
    )


@pytest.mark.usefixtures("homes")
def test_a_full_disk_there_is_said(tiny_bundle: Path, tmp_path: Path) -> None:
    python = python_where(tmp_path, "pi@b", far_end_that(_IS_FULL, tmp_path))
    words = ["bench", tiny_bundle, "--on", "pi@b", "--remote-python", python, *FAST]
    done = CliRunner().invoke(cli.leansight, [str(word) for word in words])
    assert str(done.exception) == ("pi@b: its disk is full: free some space there (see: df -h)")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--install"], "--install is for other machines"),
        (["--on", "pi@a", "--wheel", "x.whl"], "--wheel is what --install and"),
        (["--on", "pi@a", "--on", "pi@a"], "name each machine once"),
        (["--image", "a.png", "--video", "a.mp4"], "--image or --video: give one of them"),
    ],
)
def test_options_that_do_not_go_together(tiny_bundle: Path, words: list[str], message: str) -> None:
    done = CliRunner().invoke(command, [str(tiny_bundle), *words])
    assert done.exit_code == 2
    assert message in done.stderr
