"""A full disk, a broken disk or a kill, at each system call of an installation."""

import shutil
from pathlib import Path

import pytest
import tiny_models
from hostile.attacks import forge
from hostile.faults import command, injections, run, writing_calls
from hostile.system_calls import needs_strace

from leansight.runtime.bundle import Bundle
from leansight.runtime.golden import check_golden
from leansight.runtime.installation.versions import Installation


@needs_strace
@pytest.mark.slow
def test_after_every_fault_the_old_or_the_new_version_works(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    new = tiny_models.golden_bundle(tiny_bundle)
    old = forge(shutil.copytree(new, tmp_path / "old"), lambda manifest: manifest.update(name="o"))
    Installation(tmp_path / "before" / "signs").install(Bundle.load(old))
    digests = {Bundle.load(path).digest for path in (old, new)}
    assert check_golden(new).holds  # it has run here: no process is started for it
    work = tmp_path / "work"
    install = command("install", new, "--to", "signs")

    def begin() -> None:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(tmp_path / "before", work, symlinks=True)

    begin()
    unbroken = run(install, tmp_path)
    assert unbroken.code == 0, unbroken.said
    calls = writing_calls(unbroken.trace, work)
    assert {"openat", "write", "fsync", "rename", "symlink"} <= {call.name for call in calls}
    for call, kind, inject in injections(calls):
        begin()
        end = run(install, tmp_path, inject=inject)
        assert end.is_plain, f"{call} {kind}: {end.said}"
        assert Bundle.load(work / "signs" / "current").digest in digests, f"{call} {kind}"
        again = run(install, tmp_path)
        assert again.code == 0, f"{call} {kind}: {again.said}"
        assert Bundle.load(work / "signs" / "current").digest == Bundle.load(new).digest
        names = {str(path.relative_to(work / "signs")) for path in (work / "signs").glob("*")}
        assert names == {"current", "versions"}, f"{call} {kind}: {names}"
        left = {path.name for path in (work / "signs" / "versions").iterdir()}
        assert len(left) <= 3, f"{call} {kind}: {left}"
        assert not any(name.startswith(".") for name in left), f"{call} {kind}: {left}"
