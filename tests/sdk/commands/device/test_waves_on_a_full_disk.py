"""A bundle is deployed to a machine whose disk is full, or nearly: a real one."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_models
from doubles.far_machine import ssh_to_here
from hostile.attacks import forge

from leansight.runtime.bundle import Bundle
from leansight.sdk.commands.device.waves import Deployment, deploy

HOST = "pi@full"
PAGE = 4096
DISK_PAGES = 256


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home folder of the machine, a file system of its own of 1 MB."""
    home = ssh_to_here(monkeypatch, tmp_path / "far") / HOST
    home.mkdir()
    size = f"size={DISK_PAGES * PAGE}"
    mount = ["mount", "-t", "tmpfs", "-o", size, "leansight-test", str(home)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a disk of 1 MB takes the right to mount one")
    yield home
    subprocess.run(["umount", "--lazy", str(home)], check=True)


def to_the_machine(bundle: Bundle) -> Deployment:
    on = (HOST,)
    return deploy(bundle, on, ("--to", "signs"), remote_python=sys.executable, timeout_s=60)


def content(disk: Path) -> list[Path]:
    return sorted(path.relative_to(disk) for path in disk.rglob("*"))


@pytest.mark.parametrize("free_pages", range(12))
def test_the_machine_has_the_new_version_or_the_old_one_and_nothing_else(
    disk: Path, tiny_bundle: Path, free_pages: int
) -> None:
    old = tiny_models.golden_bundle(tiny_bundle)
    changed = shutil.copytree(old, disk.parent / "new.bundle")
    new = Bundle.load(forge(changed, lambda manifest: manifest.update(name="newer")))
    assert not to_the_machine(Bundle.load(old)).failed
    film = disk / "film.mp4"
    film.touch()
    before = content(disk)
    film.write_bytes(bytes(shutil.disk_usage(disk).free - free_pages * PAGE))
    failed = to_the_machine(new).failed
    if free_pages in (0, 11):
        assert bool(failed) == (free_pages == 0)
    if failed:
        assert str(failed[HOST]).startswith(f"{HOST}: no space left on device: free some space")
        assert "\n" not in str(failed[HOST])
        assert content(disk) == before
        assert Bundle.load(disk / "signs" / "current").digest == Bundle.load(old).digest
        film.unlink()
        assert not to_the_machine(new).failed
    assert Bundle.load(disk / "signs" / "current").digest == new.digest
