"""A full disk, a broken disk or a kill, while a version is put on trial, started and taken back."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from hostile.attacks import forge
from hostile.faults import injections, run, writing_calls
from hostile.system_calls import needs_strace

from leansight.runtime.bundle import Bundle
from leansight.runtime.golden import check_golden
from leansight.runtime.installation.versions import Installation
from leansight.runtime.service.stream_trial import StreamTrial

SHARE = 0.2  # of the faults


def _tell(line: str) -> None:
    sys.stderr.write(f"leansight: {line}\n")


@needs_strace
@pytest.mark.slow
def test_after_every_fault_a_version_works_and_its_trial_can_be_decided(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    new = Bundle.load(tiny_models.golden_bundle(tiny_bundle))
    path = shutil.copytree(new.path, tmp_path / "old")
    old = Bundle.load(forge(path, lambda manifest: manifest.update(name="old")))
    Installation(tmp_path / "before" / "signs").install(old)
    assert check_golden(new.path).holds  # it has run here: no process is started for it
    work = tmp_path / "work"
    signs = Installation(work / "signs")

    def put_on_trial_and_start() -> None:
        os.environ["NOTIFY_SOCKET"] = "/run/nobody"
        installation = Installation(Path("signs"))
        try:
            with installation.alone():
                installation.install(new, trial_s=60)
        except (OSError, ValueError) as error:
            _tell(str(error))
            sys.exit(1)
        for _ in range(3):  # the third start takes it back
            StreamTrial.of(installation.link, end=sys.exit, tell=_tell)

    def begin() -> None:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(tmp_path / "before", work, symlinks=True)

    begin()
    unbroken = run(put_on_trial_and_start, tmp_path)
    assert unbroken.code == 0, unbroken.said
    calls = writing_calls(unbroken.trace, work)
    drawn = np.random.default_rng(1)
    for call, kind, inject in injections(calls):
        if drawn.random() >= SHARE:
            continue
        begin()
        end = run(put_on_trial_and_start, tmp_path, inject=inject)
        assert end.is_plain, f"{call} {kind}: {end.said}"
        at_work = Bundle.load(signs.link).digest
        assert at_work in {old.digest, new.digest}, f"{call} {kind}"
        assert at_work == old.digest or signs.pending_trial() is not None, f"{call} {kind}"
        again = run(put_on_trial_and_start, tmp_path)
        assert again.code == 0, f"{call} {kind}: {again.said}"
        assert Bundle.load(signs.link).digest == old.digest, f"{call} {kind}"
        names = {path.name for path in signs.folder.iterdir()}
        assert names == {"current", "versions"}, f"{call} {kind}: {names}"
