"""Does a service decide whether a bundle stays, and does one line say what became of it?"""

import io
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from click.testing import CliRunner
from hostile.attacks import forge

from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import BundleError, DataError, LeansightError
from leansight.sdk.commands import cli

HEALTHY = "ActiveState=active\nStatusText=running, 9.8 frames/s"
LOST = "ActiveState=active\nStatusText=reconnecting: the process of the model crashed"


@pytest.fixture
def old(tiny_bundle: Path) -> Path:
    return tiny_models.golden_bundle(tiny_bundle)


@pytest.fixture
def new(old: Path) -> Path:
    path = shutil.copytree(old, old.with_name("new.bundle"))
    return forge(path, lambda manifest: manifest.update(name="new"))


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: Path) -> Path:
    """A `systemctl` that notes restarts in `restarts`; a service is healthy with the old bundle."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "systemctl"
    digest = Bundle.load(old).digest
    program.write_text(
        f'#!/bin/sh\ncase $1 in restart) echo "$2" >> {tmp_path}/restarts;;\n'
        f"show) if grep -q {digest} {tmp_path}/signs/current/bundle.json; "
        f"then cat <<'E'\n{HEALTHY}\nE\nelse cat <<'E'\n{LOST}\nE\nfi;; esac\n"
    )
    program.chmod(0o755)
    sudo = tmp_path / "bin" / "sudo"
    sudo.write_text('#!/bin/sh\nshift\nexec "$@"\n')
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    return tmp_path / "restarts"


def leansight(*words: object, stdin: bytes = b"") -> str:
    done = CliRunner().invoke(
        cli.leansight, [str(word) for word in words], input=io.BytesIO(stdin), catch_exceptions=True
    )
    if done.exception is not None:
        raise done.exception
    return done.output


def current(tmp_path: Path) -> str:
    return Bundle.load(tmp_path / "signs" / "current").name


def test_a_bundle_is_installed_and_taken_back(old: Path, new: Path, tmp_path: Path) -> None:
    signs = tmp_path / "signs"
    assert leansight("install", old, "--to", signs) == (
        f"tiny is at work: {signs}/current (version 1)\n"
    )
    leansight("install", new, "--to", signs)
    assert current(tmp_path) == "new"
    assert leansight("rollback", signs) == f"tiny is at work: {signs}/current (version 1)\n"
    with pytest.raises(BundleError, match="keeps no version before"):
        leansight("rollback", signs)


def test_a_zip_comes_on_standard_input(old: Path, tmp_path: Path) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", old))
    out = leansight("install", "-", "--to", tmp_path / "signs", "--json", stdin=packed.read_bytes())
    digest = Bundle.load(old).digest
    assert out == f'{{"version": 1, "digest": "{digest}"}}\n'
    with pytest.raises(BundleError, match="neither a bundle folder nor a sound zip"):
        leansight("install", "-", "--to", tmp_path / "signs", stdin=b"no zip")
    assert current(tmp_path) == "tiny"


def test_a_healthy_service_keeps_the_bundle(systemd: Path, old: Path, tmp_path: Path) -> None:
    leansight("install", old, "--to", tmp_path / "signs", "--service", "garden", "--trial", "1")
    assert (current(tmp_path), systemd.read_text()) == ("tiny", "garden\n")


def test_a_service_that_is_not_healthy_gets_the_old_bundle_back(
    systemd: Path, old: Path, new: Path, tmp_path: Path
) -> None:
    signs = tmp_path / "signs"
    leansight("install", old, "--to", signs)
    words: list[Any] = ["install", new, "--to", signs, "--service", "garden", "--trial", "1"]
    with pytest.raises(LeansightError, match=r"^the service garden says .*: version 1"):
        leansight(*words)
    assert (current(tmp_path), systemd.read_text()) == ("tiny", "garden\ngarden\n")


@pytest.mark.usefixtures("systemd")
def test_without_an_old_bundle_the_new_one_stays_and_is_named(new: Path, tmp_path: Path) -> None:
    with pytest.raises(LeansightError, match=r"says 'reconnecting.*there is no version to go back"):
        leansight("install", new, "--to", tmp_path / "signs", "--service", "s", "--trial", "1")
    assert current(tmp_path) == "new"


@pytest.mark.usefixtures("systemd")
def test_a_name_that_is_an_option_is_no_service(old: Path, tmp_path: Path) -> None:
    leansight("install", old, "--to", tmp_path / "signs")
    with pytest.raises(BundleError, match="no version"):
        leansight("rollback", tmp_path / "signs", "--service", "--now")
    with pytest.raises((DataError, LeansightError), match=r"'--now' is no name of a service"):
        leansight("install", old, "--to", tmp_path / "other", "--service", "--now")
