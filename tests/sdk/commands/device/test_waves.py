"""Does a bundle reach all machines, or stop at the first that fails, and say so in one line?"""

import os
import shutil
import sys
import time
from pathlib import Path

import pytest
import tiny_models
from click.testing import CliRunner
from hostile.attacks import forge

from leansight.benchmarks.ssh import RemoteError
from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import LeansightError
from leansight.runtime.service.last_good import copy_bundle
from leansight.sdk.commands import cli
from leansight.sdk.commands.device.waves import Deployment, deploy

MACHINES = ("pi@a", "pi@b", "pi@c", "pi@d")
# So many bytes reach the other side, and what it says of them reaches nobody.
CUT = (
    'head -c {} | sh -c "$*" >/dev/null 2>&1\n'
    "echo 'client_loop: send disconnect: Broken pipe' >&2; exit 255"
)


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return Bundle.load(tiny_models.golden_bundle(tiny_bundle))


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of machines behind an `ssh` that stays here; on one, `HOST.sh` is run first."""
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(
        "#!/bin/sh\n"
        'while [ "$1" != -- ]; do shift; done; host=$2; shift 2\n'
        f"mkdir -p {tmp_path}/far/$host && cd {tmp_path}/far/$host || exit 255\n"
        "echo Welcome\n"  # what a shell's start-up files say is none of ours
        f'[ -f {tmp_path}/$host.sh ] && . {tmp_path}/$host.sh\nexec sh -c "$*"\n'
    )
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(ssh.parent), prepend=os.pathsep)
    return tmp_path / "far"


def to_all(bundle: Bundle, *, wave: int = 1, timeout_s: float = 60) -> Deployment:
    return deploy(
        bundle,
        MACHINES,
        ("--to", "signs"),
        wave=wave,
        remote_python=sys.executable,
        timeout_s=timeout_s,
    )


def reached(far: Path) -> list[str]:
    return sorted(path.name for path in far.iterdir())


def test_every_machine_gets_the_bundle(far: Path, bundle: Bundle) -> None:
    done = to_all(bundle, wave=3)
    assert (sorted(done.installed), done.failed, done.skipped) == ([*MACHINES], {}, [])
    for machine in MACHINES:
        assert Bundle.load(far / machine / "signs" / "current").digest == bundle.digest


@pytest.mark.parametrize(("wave", "left"), [(1, ["pi@c", "pi@d"]), (2, ["pi@d"])])
def test_where_one_fails_no_other_wave_begins(
    far: Path, bundle: Bundle, wave: int, left: list[str]
) -> None:
    (far.parent / "pi@b.sh").write_text("touch signs\n")  # a file is in the way
    done = to_all(bundle, wave=wave)
    assert (list(done.failed), done.skipped) == (["pi@b"], left)
    assert str(done.failed["pi@b"]).startswith("pi@b: ")
    assert reached(far) == sorted({*MACHINES} - {*left})


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'no route' >&2; exit 255", r"^pi@a is not reached: no route$"),
        ("exit 255", r"on pi@a was killed: is there enough memory\?$"),  # which ssh does not say
        ("echo 'Permission denied' >&2; exit 255", r"^pi@a accepts no key of this machine"),
        ("exit 127", r"^there is no .*python.* on pi@a"),
        ("echo 'leansight: no room' >&2; exit 1", r"^pi@a: no room$"),
        ("exit 0", r"^pi@a does not say that it has installed this bundle$"),
        ('echo \'{"digest": "another"}\'; exit 0', r"^pi@a does not say that it has"),
        ("echo '[1]'; exit 0", r"^pi@a does not say that it has"),
        ("head -c 60000 /dev/zero | tr '\\0' '['; exit 0", r"^pi@a does not say that it has"),
        ("printf '\\377\\n'; exit 0", r"^pi@a does not say that it has"),
        ("printf '\\377\\n' >&2; exit 255", r"^pi@a is not reached: \N{REPLACEMENT CHARACTER}$"),
        ("yes; exit 0", r"^pi@a does not say that it has"),
        ("yes >&2", r"^pi@a has not answered for 2 s$"),
        ("exec sleep 1000", r"^pi@a has not answered for 2 s$"),
        ("sleep 1000", r"^pi@a has not answered for 2 s$"),  # who holds the pipe is not its ssh
        (CUT.format("100"), r"^the connection to pi@a was lost \(client_loop: .*\): try again$"),
    ],
)
@pytest.mark.usefixtures("far")
def test_a_far_side_that_fails_lies_or_is_silent_ends_in_one_line(
    bundle: Bundle, script: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "pi@a.sh").write_text(script)
    done = to_all(bundle, timeout_s=2 if reason.endswith(" 2 s$") else 60)
    assert list(done.failed) == ["pi@a"]
    with pytest.raises(LeansightError, match=reason) as raised:
        raise done.failed["pi@a"]
    assert len(str(raised.value).splitlines()) == 1
    assert done.skipped == [*MACHINES[1:]]


def test_a_name_that_is_none_is_refused_before_anything_is_sent(far: Path, bundle: Bundle) -> None:
    with pytest.raises(RemoteError, match="is no machine"):
        deploy(bundle, ("pi@a", "-oProxyCommand=true"), ("--to", "signs"))
    assert not far.exists()


def test_what_arrived_in_part_is_not_installed_and_comes_whole_the_next_time(
    far: Path, bundle: Bundle, tmp_path: Path
) -> None:
    sent = to_all(bundle)
    assert not sent.failed
    old = bundle.digest
    script = tmp_path / "pi@a.sh"
    other = Bundle.load(
        forge(shutil.copytree(bundle.path, tmp_path / "b"), lambda m: m.update(name="other"))
    )
    copy_bundle(other, tmp_path / "whole.zip")
    whole = (tmp_path / "whole.zip").stat().st_size
    there = sorted((far / "pi@a").rglob("*"))
    for size in (0, 1, 100, whole // 2, whole - 1):
        script.write_text(CUT.format(size))
        assert list(to_all(other).failed) == ["pi@a"]
        assert Bundle.load(far / "pi@a" / "signs" / "current").digest == old
        assert sorted((far / "pi@a").rglob("*")) == there
    script.unlink()
    assert len(to_all(other).installed) == len(MACHINES)
    assert Bundle.load(far / "pi@a" / "signs" / "current").digest == other.digest


@pytest.mark.usefixtures("far")
def test_ctrl_c_ends_a_deployment_at_once(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "pi@a.sh").write_text(f"kill -INT {os.getpid()}\nsleep 1000")
    begun = time.monotonic()
    told = list[str]()
    with pytest.raises(KeyboardInterrupt):
        deploy(
            bundle,
            MACHINES,
            ("--to", "signs"),
            remote_python=sys.executable,
            told=lambda machine, _: told.append(machine),
        )
    assert time.monotonic() - begun < 30  # sleeps 1000
    assert told == []


@pytest.mark.usefixtures("far")
def test_the_command_says_what_became_of_each(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "pi@b.sh").write_text("printf 'leansight: \\033]0;owned\\007' >&2; exit 1\n")
    words = ["deploy", bundle.path, "--to", "signs", "--remote-python", sys.executable]
    on = [word for machine in MACHINES for word in ("--on", machine)]
    done = CliRunner().invoke(cli.leansight, [str(word) for word in (*words, *on)])
    assert done.exit_code == 1
    assert done.stdout == "pi@a: installed\n"
    assert done.stderr.splitlines() == [
        "leansight: pi@b: \\x1b]0;owned\\x07",
        "left as they were: pi@c, pi@d",
    ]


@pytest.mark.usefixtures("far")
def test_of_an_endless_line_the_command_shows_the_beginning_and_the_end(
    bundle: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "pi@a.sh").write_text(
        "exec >&2; printf 'leansight: begin'; head -c 60000 /dev/zero | tr '\\0' x\n"
        "echo end; exit 1"
    )
    words = ["deploy", bundle.path, "--to", "signs", "--on", "pi@a"]
    done = CliRunner().invoke(cli.leansight, [str(word) for word in words])
    (line,) = done.stderr.splitlines()
    assert line.startswith("leansight: pi@a: beginxxx")
    assert line.endswith("xxxend")
    assert len(line) < 2000
