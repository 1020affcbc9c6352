"""Does the Ansible role put a bundle to work on all machines, or leave what is at work there?"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_models
from command_line import MAIN
from hostile.attacks import forge, replace

from leansight.runtime.bundle import Bundle
from leansight.runtime.installation.versions import Installation

FLEET = Path(__file__).parents[2] / "examples" / "fleet"
HOSTS = ("garden", "gate", "yard")

pytestmark = pytest.mark.skipif(
    shutil.which("ansible-playbook") is None, reason="Ansible is not installed: ansible-core"
)


@pytest.fixture
def good(tiny_bundle: Path) -> Path:
    return tiny_models.golden_bundle(tiny_bundle)


def play(folder: Path, bundle: Path, **variables: str) -> tuple[int, str]:
    """Run the playbook against three "machines" that are folders here; return code and output."""
    command = folder / "leansight"
    command.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{MAIN}' \"$@\"\n")
    command.chmod(0o755)
    lines = [f"{host} leansight_folder={folder / host}" for host in HOSTS]
    shared = f"ansible_connection=local ansible_python_interpreter={sys.executable}"
    (folder / "inventory.ini").write_text(
        "\n".join(["[cameras]", *(f"{x} {shared}" for x in lines)])
    )
    values = {
        "leansight_command": str(command),
        "leansight_bundle": str(zipped(bundle)),
    } | variables
    words = ["ansible-playbook", "-i", folder / "inventory.ini", FLEET / "playbook.yml"]
    environment = {**os.environ, "ANSIBLE_HOME": str(folder / "ansible"), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(
        [*words, "-e", json.dumps(values)], capture_output=True, text=True, check=False,
        timeout=300, env=environment,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def zipped(bundle: Path) -> Path:
    return Path(shutil.make_archive(str(bundle), "zip", bundle))


def at_work(folder: Path) -> list[str]:
    links = [folder / host / "current" for host in HOSTS]
    return [Bundle.load(link).name for link in links if link.exists()]


def recap(said: str) -> list[str]:
    """Return what Ansible counts of each machine: changed=1, ..."""
    counted = said.split("PLAY RECAP")[1].splitlines()
    return [word for line in counted for word in line.split() if word.startswith("changed=")]


@pytest.mark.slow
def test_all_machines_get_a_bundle_once(good: Path, tmp_path: Path) -> None:
    code, said = play(tmp_path, good)
    assert code == 0, said
    assert at_work(tmp_path) == ["tiny"] * 3
    assert recap(said) == ["changed=1"] * 3
    sha256 = hashlib.sha256(good.with_suffix(".bundle.zip").read_bytes()).hexdigest()
    code, said = play(tmp_path, good, leansight_sha256=sha256)
    assert (code, recap(said)) == (0, ["changed=0"] * 3), said


@pytest.mark.slow
def test_a_bundle_that_fails_on_the_first_machine_reaches_no_other(
    good: Path, tmp_path: Path
) -> None:
    Installation(tmp_path / "garden").install(Bundle.load(good))
    other = forge(Path(shutil.copytree(good, tmp_path / "other.bundle")), rename)
    bad = replace(other, "model.tflite", b"no model")
    code, said = play(tmp_path, bad)
    assert code != 0
    assert "does not begin as TFL3 files do" in said
    assert at_work(tmp_path) == ["tiny"]
    code, said = play(tmp_path, good, leansight_sha256="0" * 64)
    assert code != 0
    assert "the zip has the SHA-256" in said


def rename(manifest: dict[str, object]) -> None:
    manifest["name"] = "other"
