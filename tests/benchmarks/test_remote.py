"""Another machine measures as this one does, keeps nothing, and says what it lacks."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import shapes
import tiny_models
from click.testing import CliRunner
from doubles.far_machine import Far, executable

from leansight.benchmarks import peaks as peaks_module
from leansight.benchmarks.measure import Settings, benchmark
from leansight.benchmarks.models import find_models
from leansight.benchmarks.picture import synthetic_image
from leansight.benchmarks.remote import RemoteMachine, machine_at
from leansight.benchmarks.ssh import RemoteError
from leansight.runtime.errors import BundleError, DataError
from leansight.runtime.interpreter import Format
from leansight.sdk.commands import cli
from leansight.sdk.commands.bench import command

MAIN = "from leansight.sdk.commands.cli import main; main()"
SSHD_PATH = f"{os.environ['PATH']}:/usr/sbin"
FAST = ("--runs", "8", "--most-seconds", "0")


def first_on_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def until(true: Callable[[], object], seconds: float = 30) -> None:
    """Wait; fail where it takes too long."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Far:
    """A machine behind an `ssh` that drops options and host, and runs the command here."""
    folder = tmp_path / "far"
    folder.mkdir()
    script = (
        'while [ "$1" != -- ]; do shift; done; shift 2\n'
        "echo Welcome; echo []\n"  # what a shell's start-up files may say is none of ours
        f'cd "{tmp_path}" && TMPDIR={folder} exec sh -c "$*"'
    )
    ssh = executable(tmp_path / "bin" / "ssh", script)
    first_on_path(monkeypatch, ssh.parent)
    return Far(folder, ssh)


def bench(*arguments: object, on: str = "pi@far", far: Far) -> list[dict[str, Any]]:
    words = [str(a) for a in arguments]
    options = ["--on", on, "--remote-python", far.python, "--json", *FAST]
    done = CliRunner().invoke(command, [*words, *options], catch_exceptions=False)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def bench_here(*arguments: object) -> list[dict[str, Any]]:
    done = CliRunner().invoke(
        command, [*map(str, arguments), "--json", *FAST], catch_exceptions=False
    )
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def test_a_video_is_brought_along_and_captured_there(
    tiny_bundle: Path, tmp_path: Path, far: Far
) -> None:
    video = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 12, (64, 48))
    for shade in (0, 90, 180):
        writer.write(np.full((48, 64, 3), shade, np.uint8))
    writer.release()
    rows = bench(tiny_bundle, "--video", video, "--format", "onnx", far=far)
    assert [row["latency_ms"]["capture"]["p50"] > 0 for row in rows] == [True]
    assert rows[0]["int8_peak_share"] > 0  # its graph was brought along as well
    assert rows[0]["interpreter"]["runtime"] == "ONNX Runtime"
    until(far.is_clean)


# Real servers


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the key pairs host, other-host, user and stranger."""
    folder = tmp_path_factory.mktemp("keys")
    if not shutil.which("ssh-keygen"):
        pytest.skip("no OpenSSH client here: apt install openssh-client")
    for name in ("host", "other-host", "user", "stranger"):
        generate = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
        subprocess.run(generate, check=True)
    return folder


def started_sshd(keys: Path, temporary: Path, folder: Path) -> tuple["subprocess.Popen[str]", int]:
    program = shutil.which("sshd", path=SSHD_PATH)
    if program is None:
        pytest.skip("no OpenSSH server here: apt install openssh-server")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # it insists
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {keys / 'host'}\n"
        f"AuthorizedKeysFile {keys / 'user.pub'}\nPidFile none\nStrictModes no\nUsePAM no\n"
        f"PermitRootLogin yes\nPasswordAuthentication no\nSetEnv TMPDIR={temporary}\n"
    )
    server = subprocess.Popen(
        [program, "-D", "-e", "-f", config], stderr=subprocess.PIPE, text=True
    )
    assert server.stderr is not None
    assert "Server listening" in server.stderr.readline()
    return server, port


def started_asyncssh(
    keys: Path, temporary: Path, folder: Path
) -> tuple["subprocess.Popen[str]", int]:
    del folder
    if importlib.util.find_spec("asyncssh") is None:
        pytest.skip("no asyncssh here: pip install asyncssh")
    script = Path(__file__).parents[1] / "helpers" / "programs" / "ssh_server.py"
    server = subprocess.Popen(
        [sys.executable, script, keys / "host", keys / "user.pub", temporary],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    port = server.stdout.readline()
    assert port, server.communicate()
    return server, int(port)


def started_any(keys: Path, temporary: Path, folder: Path) -> tuple["subprocess.Popen[str]", int]:
    start = started_sshd if shutil.which("sshd", path=SSHD_PATH) else started_asyncssh
    return start(keys, temporary, folder)


each_server = pytest.mark.parametrize(
    "served",
    [pytest.param(started_sshd, id="OpenSSH"), pytest.param(started_asyncssh, id="asyncssh")],
    indirect=True,
)


@pytest.fixture
def served(
    request: pytest.FixtureRequest, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Far]:
    """A machine "far" behind a real server, and the real `ssh` with a configuration of its own."""
    real = shutil.which("ssh")
    assert real is not None
    temporary = tmp_path / "far"
    temporary.mkdir()
    server, port = getattr(request, "param", started_any)(keys, temporary, tmp_path)
    (tmp_path / "known_hosts").write_text(f"far {(keys / 'host.pub').read_text()}")
    (tmp_path / "ssh_config").write_text(
        f"Host far\nHostName 127.0.0.1\nPort {port}\nHostKeyAlias far\nIdentitiesOnly yes\n"
        f"IdentityFile {keys / 'user'}\nUserKnownHostsFile {tmp_path / 'known_hosts'}\n"
        "GlobalKnownHostsFile none\n"
    )
    # ssh finds a user's configuration by the user's name, not by $HOME.
    ssh = executable(tmp_path / "bin" / "ssh", f'exec {real} -F {tmp_path / "ssh_config"} "$@"')
    first_on_path(monkeypatch, ssh.parent)
    try:
        yield Far(temporary, ssh)
    finally:
        server.terminate()
        server.communicate()


@each_server
def test_over_ssh_it_is_the_same_model_on_the_same_machine(served: Far, tiny_bundle: Path) -> None:
    there = bench(tiny_bundle, far=served, on="far")
    here = bench_here(tiny_bundle)
    assert [row["format"] for row in there] == ["tflite", "onnx"]
    for far_row, row in zip(there, here, strict=True):
        assert far_row["macs"] == tiny_models.STRIPES_MACS
        assert far_row["parameters"] == tiny_models.STRIPES_PARAMETERS
        same = ("name", "format", "size_bytes", "bundle_digest", "machine", "threads", "runs")
        assert [far_row[key] for key in same] == [row[key] for key in same]
        assert far_row["peak_rss_bytes"] == pytest.approx(row["peak_rss_bytes"], rel=0.25)
        # The same unit: on a busy machine one is ten times the other by chance.
        assert 0.01 < far_row["start_ms"] / row["start_ms"] < 100
        far_total, total = far_row["latency_ms"]["total"], row["latency_ms"]["total"]
        assert 0.01 < far_total["p50"] / total["p50"] < 100
    until(served.is_clean)  # the server's own process ends after our command


def replaced(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.usefixtures("served")
def test_a_key_that_is_refused(tmp_path: Path, keys: Path) -> None:
    replaced(tmp_path / "ssh_config", str(keys / "user"), str(keys / "stranger"))
    with refused(r"^far accepts no key of this machine. Type: ssh-copy-id far$"):
        connect("far")


@pytest.mark.usefixtures("served")
def test_a_host_that_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").write_text("")
    with refused(r"^far is not known here yet. Type: ssh far, and compare the key that it shows$"):
        connect("far")


@pytest.mark.usefixtures("served")
def test_a_host_that_is_another_one(tmp_path: Path, keys: Path) -> None:
    (tmp_path / "known_hosts").write_text(f"far {(keys / 'other-host.pub').read_text()}")
    with refused(r"^far shows another host key than it used to. If .* type: ssh far, and do as"):
        connect("far")


@pytest.mark.usefixtures("served")
def test_a_host_that_does_not_answer(tmp_path: Path) -> None:
    config = (tmp_path / "ssh_config").read_text()
    (tmp_path / "ssh_config").write_text("Host far\nPort 1\n" + config)  # the first value counts
    with refused(r"^far is not reached: .*port 1: Connection refused$"):
        connect("far")


def test_a_connection_that_breaks_leaves_nothing(served: Far, tiny_bundle: Path) -> None:
    """Broken in the middle of a long answer."""
    process = endless(tiny_bundle, far=served)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (ssh,) = [int(child) for child in children]
    os.kill(ssh, signal.SIGKILL)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert said == "leansight: the connection to far was lost (nothing was said): try again\n"
    until(served.is_clean)


# What every machine can test: an `ssh` that stays here


def test_a_connection_that_breaks_at_the_end_loses_no_measured_model(
    far: Far, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken where the machine's own peak is to be measured, after all models."""

    def lost_meanwhile(_: Format) -> bytes:
        for process in far.processes():
            os.kill(process, signal.SIGKILL)
        until(lambda: not far.processes())
        return b"a graph"

    with RemoteMachine("pi@far", remote_python=far.python) as machine:
        monkeypatch.setattr(peaks_module, "peak_graph", lost_meanwhile)
        models, quick = find_models([tiny_bundle]), Settings(frames=1, precision=None)
        found = benchmark(models, [synthetic_image()], quick, on=machine)
    assert [result.format for result in found.results] == ["tflite", "onnx"]
    assert found.failures == ()
    assert found.conditions.peaks is not None
    for reason in (found.conditions.peaks.failure, found.conditions.energy):
        assert reason.startswith("the connection to pi@far was lost")


# The other machine's Python: other clock, other memory, other cores.
SITE = """
import os, time
os.cpu_count = lambda: 77
ballast = b"x" * 150_000_000
now = time.monotonic_ns
time.monotonic_ns = lambda: now() + 10**17
"""


def python_that(begins: str, folder: Path) -> str:
    """Return a Python that runs this code first, in every process."""
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(begins)
    paths = f"{folder / 'site'}${{PYTHONPATH:+:$PYTHONPATH}}"
    script = f'PYTHONPATH={paths} exec {sys.executable} "$@"'
    return str(executable(folder / "python", script))


def test_clock_memory_and_name_are_the_other_machines(
    far: Far, tmp_path: Path, tiny_tflite: bytes
) -> None:
    model = tmp_path / "tiny.tflite"
    model.write_bytes(tiny_tflite)
    far.python = python_that(SITE, tmp_path)
    (row,), (here,) = bench(model, far=far), bench_here(model)
    assert row["name"] == "tiny.tflite"
    assert row["machine"].endswith(", 77 cores")
    assert 0.1 < row["start_ms"] / here["start_ms"] < 10
    assert row["peak_rss_bytes"] == pytest.approx(here["peak_rss_bytes"], abs=30e6)
    assert far.is_clean()


def test_a_zip_arrives_whole(far: Far, tiny_bundle: Path) -> None:
    zipped = shutil.make_archive(str(tiny_bundle), "zip", tiny_bundle)
    (row,) = bench(zipped, "--format", "tflite", far=far)
    assert row["macs"] == tiny_models.STRIPES_MACS
    assert far.is_clean()


def test_a_model_that_does_not_run_there_is_called_as_it_is_here(far: Far, tmp_path: Path) -> None:
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(tiny_models.stripes_tflite()[:200])
    with pytest.raises(BundleError, match=rf"^pi@far: {cut} is not a TFLite model that can run"):
        bench(cut, far=far)
    assert far.is_clean()


def test_a_process_that_dies_there_is_named(far: Far, tiny_bundle: Path, tmp_path: Path) -> None:
    kill = "if 'leansight.benchmarks.worker' in sys.orig_argv: os.kill(os.getpid(), 9)"
    far.python = python_that(f"import os, sys\n{kill}\n", tmp_path)
    with pytest.raises(BundleError, match=r"^pi@far: tiny.bundle: its process was killed by SIGK"):
        bench(tiny_bundle, "--format", "tflite", far=far)
    assert far.is_clean()


def endless(bundle: Path, *, far: Far, on: str = "far") -> "subprocess.Popen[str]":
    """Start a bench that runs for hours; return when the other machine has all that it needs."""
    options = ["--on", on, "--remote-python", far.python, "--runs", "1000000000"]
    command = [sys.executable, "-c", MAIN, "bench", str(bundle), "--format", "onnx", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until(lambda: list(far.folder.glob("*/0/images.npz")))
    until(lambda: len(far.processes()) >= 2)  # the launcher and the worker
    time.sleep(0.5)  # it measures, or is about to: either way nothing may stay
    return process


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_bench_leaves_nothing(
    far: Far, tiny_bundle: Path, how: signal.Signals
) -> None:
    process = endless(tiny_bundle, far=far)
    process.send_signal(how)
    process.communicate(timeout=30)
    assert process.returncode != 0
    if how == signal.SIGINT:
        assert far.is_clean()  # when the command ends, not some time later
    until(far.is_clean)


# What the other machine lacks


def refused(message: str) -> "pytest.RaisesExc[RemoteError]":
    return pytest.raises(RemoteError, match=message)


def connect(on: str | None, python: str = "python3") -> None:
    with machine_at(on, python):
        pass


@pytest.mark.usefixtures("far")
def test_a_python_that_is_not_there() -> None:
    with refused(r"^there is no env/bin/python on pi@far: name another, such as venv/bin/"):
        connect("pi@far", "~/env/bin/python")


def test_leansight_is_not_there(far: Far, tmp_path: Path) -> None:
    bare = executable(tmp_path / "bare" / "python3", f'exec {sys.executable} -S "$@"')
    version = r"0\.\d+\.\d+"
    line = rf"{bare} -m pip install 'leansight\[pi\]=={version}'$"
    with refused(rf"^pi@far has no leansight {version} for {bare}\. Type there: {line}"):
        connect("pi@far", str(bare))
    replaced(far.ssh, "exec sh", f"PATH={bare.parent}:$PATH exec sh")
    with refused(
        r"Type there: python3 -m venv venv && venv/bin/pip .*; and name venv/bin/python here$"
    ):
        connect("pi@far")


@pytest.mark.usefixtures("far")
def test_another_leansight_is_there(tmp_path: Path) -> None:
    said = '{"leansight": "0.0.1", "machine": "a board", "empty_bytes": null}'
    old = executable(tmp_path / "python", f"echo '{said}'; cat")
    with refused(r"^pi@far has leansight 0\.0\.1, this machine .*: both must be the same. Type th"):
        connect("pi@far", str(old))


@pytest.mark.usefixtures("far")
def test_a_python_that_is_too_old(tmp_path: Path) -> None:
    old = executable(tmp_path / "python", "echo 'Unknown option: -P' >&2; exit 2")
    with refused(r"python on pi@far is older than Python 3.11: name another"):
        connect("pi@far", str(old))


@pytest.mark.usefixtures("far")
def test_anything_else_is_told_as_it_was_said(tmp_path: Path) -> None:
    broken = executable(tmp_path / "python", "echo 'out of luck' >&2; exit 3")
    with refused(r"python on pi@far ended with code 3: out of luck$"):
        connect("pi@far", str(broken))


def test_no_ssh_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with refused(r"^ssh is not installed here. Type: sudo apt install openssh-client$"):
        connect("pi@far")


@pytest.mark.parametrize("destination", ["", "-oProxyCommand=true"])
def test_a_name_that_is_none(destination: str) -> None:
    with refused(r"is no machine: name one such as pi@raspberrypi.local$"):
        connect(destination)


def test_a_python_of_no_machine() -> None:
    with refused(r"^python3 is the Python of another machine: name the machine, such as pi@"):
        connect(None)


@pytest.mark.usefixtures("far")
def test_a_refusal_is_one_line_and_exit_code_1(tiny_bundle: Path) -> None:
    words = ["bench", str(tiny_bundle), "--on", "pi@far", "--remote-python", "no-python"]
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("leansight: there is no no-python on pi@far: ")
    assert len(done.stderr.splitlines()) == 1


# Pruning until it is fast enough there

# A machine on which each step takes a nanosecond for each byte of the model.
BYTE_CLOCK = """
import itertools, pathlib, sys, time
if "leansight.benchmarks.worker" in sys.orig_argv:
    bundle = sys.orig_argv[sys.orig_argv.index("leansight.benchmarks.worker") + 1]
    size = pathlib.Path(bundle, "model.tflite").stat().st_size
    time.perf_counter_ns = itertools.count(step=size).__next__
"""


def leansight(*arguments: object) -> None:
    done = CliRunner().invoke(cli.leansight, [str(a) for a in arguments])
    assert done.exit_code == 0, (done.output, done.exception)


@pytest.mark.slow
def test_a_network_is_pruned_until_it_is_fast_enough_there(far: Far, tmp_path: Path) -> None:
    data = shapes.write_data_set(tmp_path / "shapes")
    recipe = shapes.RECIPE.replace("width = 4", "width = 16").replace("epochs = 10", "epochs = 2")
    (tmp_path / "tiny.toml").write_text(recipe)
    run, out = tmp_path / "run", tmp_path / "fast"
    leansight("train", data, "--recipe", tmp_path / "tiny.toml", "--workers", 0, "--out", run)
    allowed = ("--accept-untrained", "--max-drop", 100, "--max-class-drop", 100)
    leansight("export", run, *allowed, "--out", f"{run}.bundle")
    whole = (tmp_path / "run.bundle" / "model.tflite").stat().st_size
    far.python = python_that(BYTE_CLOCK, tmp_path)
    leansight(
        "prune", run, "--latency", f"{0.6 * whole / 1e6}ms", "--on", "pi@far",
        "--remote-python", far.python, "--images", 16, "--epochs", 1, "--workers", 0, "--out", out,
    )  # fmt: skip
    leansight("export", out, *allowed, "--out", f"{out}.bundle")
    (row,) = bench(f"{out}.bundle", "--format", "tflite", far=far)
    assert row["latency_ms"]["inference"]["p50"] == pytest.approx(row["size_bytes"] / 1e6)
    # The shipped file says what it is in some bytes more than those that were tried.
    assert 0.3 * whole < row["size_bytes"] < 0.6 * whole + 3000
    assert far.is_clean()


@pytest.mark.parametrize("target", [("--macs", "1M"), ("--share", "0.5"), ("--size", "9KB")])
def test_only_latency_is_of_a_machine(target: tuple[str, str], tmp_path: Path) -> None:
    words = ["prune", str(tmp_path), *target, "--on", "pi@far", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(cli.leansight, words)
    assert isinstance(done.exception, DataError)
    assert "a machine is for the latency" in str(done.exception)
