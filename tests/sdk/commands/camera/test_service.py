import getpass
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import tiny_models
from command_line import invoke, refusal

from leansight.runtime.bundle import Bundle
from leansight.runtime.installation.versions import Installation
from leansight.sdk.commands.camera import service
from leansight.sdk.system import systemd

Words = list[str]
NOBODY = "nobody"


def printed(*words: object) -> str:
    done = invoke("service", "install", "--print", "--user", NOBODY, *words)
    assert done.exit_code == 0, done.output
    return done.stdout


def values(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def test_the_unit_runs_the_stream_with_its_options(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hard").mkdir()
    text = printed(
        "tiny.bundle", "--source", "1", "--json-file", "a.jsonl", "--hard-examples", "hard"
    )
    program, *words = shlex.split(values(text, "ExecStart")[0])
    assert Path(program).exists()
    assert words[-8:] == [
        *("stream", str(tiny_bundle), "--source", "1"),
        *("--json-file", "a.jsonl", "--hard-examples", "hard"),
    ]
    assert values(text, "WorkingDirectory") == [str(tmp_path)]
    assert values(text, "ReadWritePaths") == [str(tmp_path), str(tmp_path / "hard")]
    assert values(text, "User") == [NOBODY]


def test_the_stream_may_switch_the_link_that_it_reads(tiny_bundle: Path, tmp_path: Path) -> None:
    installation = Installation(tmp_path / "signs")
    installation.install(Bundle.load(tiny_models.golden_bundle(tiny_bundle)))
    text = printed(installation.link)
    assert values(text, "ReadWritePaths") == [str(installation.folder)]
    assert values(text, "ExecStart")[0].endswith(f"stream {installation.link}")
    assert values(printed(tiny_bundle), "ReadWritePaths") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs services")
def test_a_folder_of_versions_that_is_roots_is_given_to_the_user(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = Installation(tmp_path / "signs")
    installation.install(Bundle.load(tiny_models.golden_bundle(tiny_bundle)))
    (tmp_path / "units").mkdir()
    Systemctl(tmp_path / "units", monkeypatch)
    done = invoke("service", "install", "--user", NOBODY, installation.link)
    assert done.exit_code == 0, done.output
    assert f"it may write {installation.folder}" in done.output
    assert installation.folder.owner() == NOBODY
    assert (installation.folder / "versions").owner() == "root"


def test_the_password_is_handed_over_by_systemd(tiny_bundle: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    for given in (["--mqtt-password-file", str(secret)], [f"--mqtt-password-file={secret}"]):
        text = printed(tiny_bundle, "--mqtt", "mqtt://pi@broker", *given)
        assert values(text, "LoadCredential") == [f"mqtt-password:{secret}"]
        assert "--mqtt-password-file" not in values(text, "ExecStart")[0]
        assert "LEANSIGHT_MQTT_PASSWORD_FILE=%d/mqtt-password" in values(text, "Environment")


def test_a_camera_that_hangs_restarts_the_machine_where_it_is_asked_for(tiny_bundle: Path) -> None:
    assert "reboot" not in printed(tiny_bundle)
    text = printed(tiny_bundle, "--reboot-when-stuck", "--memory-mb", "300")
    assert values(text, "FailureAction") == ["reboot-force"]
    assert values(text, "ExecStart")[0].endswith("--end-when-stuck")
    assert values(text, "MemoryMax") == ["300M"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--save", "no/a.mkv"], "there is no folder .*no: make it first"),
        (["--user", "no-such-user"], r"there is no user no-such-user here \(--user\)"),
        (["--user", "root"], r"name the user who is to run it, not root \(--user\)"),
        (["--name", "a/b"], r"'a/b' is no name of a service"),
    ],
)
def test_what_would_fail_at_boot_is_refused_at_once(
    tiny_bundle: Path,
    words: Words,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    user = [] if "--user" in words else ["--user", NOBODY]
    arguments = ["service", "install", "--print", *user, str(tiny_bundle), *words]
    assert re.search(message, refusal(arguments, monkeypatch, capsys))


def test_a_wrong_option_of_the_stream_is_refused_as_the_stream_refuses_it(
    tiny_bundle: Path,
) -> None:
    done = invoke("service", "install", "--print", "--user", NOBODY, tiny_bundle, "--sorce", "0")
    assert done.exit_code == 2
    assert "Usage: leansight stream" in done.output
    assert "No such option '--sorce'" in done.output


def test_a_damaged_bundle_is_refused(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiny_bundle / "model.onnx").write_bytes(b"damaged")
    line = refusal(["service", "install", "--print", str(tiny_bundle)], monkeypatch, capsys)
    assert "model.onnx" in line


def test_without_systemd_one_clear_line(
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(systemd, "_RUNNING", tmp_path / "absent")
    for words in (["install", str(tiny_bundle)], ["uninstall"]):
        line = refusal(["service", *words], monkeypatch, capsys)
        assert line.startswith("leansight: systemd does not run here")


class Systemctl:
    """Takes the place of systemctl, and of the folder of units."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        monkeypatch.setattr(service, "UNITS", folder)
        monkeypatch.setattr(service, "require_systemd", lambda: None)
        monkeypatch.setattr(service, "_TEMPORARY", ())  # as pytest's folders are
        monkeypatch.setattr(service, "systemctl", lambda *words: self.calls.append(" ".join(words)))


def test_install_and_uninstall_leave_nothing(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = tmp_path / "units"
    units.mkdir()
    systemctl = Systemctl(units, monkeypatch)
    done = invoke("service", "install", "--user", NOBODY, "--name", "signs", tiny_bundle)
    assert done.exit_code == 0, done.output
    assert systemctl.calls == ["daemon-reload", "enable signs", "restart --no-block signs"]
    assert [file.name for file in units.iterdir()] == ["signs.service"]
    assert "undo it:" in done.stdout
    assert "service uninstall --name signs" in done.stdout
    systemctl.calls.clear()
    assert invoke("service", "uninstall", "--name", "signs").exit_code == 0
    assert systemctl.calls == ["disable --now signs", "daemon-reload"]
    assert list(units.iterdir()) == []


@pytest.mark.parametrize(
    ("package", "extra", "words"),
    [
        ("starlette", "web", ["--web"]),
        ("prometheus_client", "metrics", ["--metrics"]),
        ("paho", "mqtt", ["--mqtt", "mqtt://broker.local"]),
    ],
)
def test_a_service_that_lacks_a_package_is_refused_not_started_again_and_again(
    package: str,
    extra: str,
    words: Words,
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    systemctl = Systemctl(tmp_path, monkeypatch)
    monkeypatch.setitem(sys.modules, package, None)
    arguments = ["service", "install", "--user", NOBODY, str(tiny_bundle), *words]
    line = refusal(arguments, monkeypatch, capsys)
    assert f"{package} is not installed. Type: pip install 'leansight[{extra}]'" in line
    assert systemctl.calls == []


def test_what_the_next_boot_removes_is_refused(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemctl = Systemctl(tmp_path / "units", monkeypatch)
    monkeypatch.setattr(service, "_TEMPORARY", (str(tmp_path),))
    done = invoke("service", "install", "--user", NOBODY, tiny_bundle)
    assert "is in a folder for temporary files" in str(done.exception)
    assert systemctl.calls == []


def test_a_unit_of_somebody_else_is_left_alone(
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "leansight.service").write_text("[Service]\nExecStart=/bin/true\n")
    systemctl = Systemctl(tmp_path, monkeypatch)
    for words in (["install", "--user", NOBODY, str(tiny_bundle)], ["uninstall"]):
        line = refusal(["service", *words], monkeypatch, capsys)
        assert "was not written by leansight: choose another name (--name)" in line
    assert systemctl.calls == []


def test_by_default_it_is_run_by_who_has_typed_sudo(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", NOBODY)
    done = invoke("service", "install", "--print", tiny_bundle)
    assert values(done.stdout, "User") == [NOBODY]
    assert getpass.getuser() != NOBODY
