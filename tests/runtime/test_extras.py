import importlib.machinery
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from leansight.runtime.errors import BrokenPackageError, MissingExtraError
from leansight.runtime.extras import onnx_runtime, require, without_onnx_runtime_log
from leansight.runtime.interpreter import load_interpreter

Install = Callable[[str, str], None]
REINSTALL = r"Type: pip install --force-reinstall 'leansight\[fakes\]'$"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Write a module that is found before all others; `sys.modules` is as before in the end."""
    monkeypatch.syspath_prepend(tmp_path)
    before = dict(sys.modules)

    def write(name: str, lines: str) -> None:
        path = (tmp_path / name.replace(".", "/")).with_suffix(".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(lines)
        for loaded in (name, name.partition(".")[0]):
            sys.modules.pop(loaded, None)

    yield write
    for added in sys.modules.keys() - before.keys():
        del sys.modules[added]
    sys.modules.update(before)


def fake() -> object:
    return require("fake_cv2", package="Fake CV", extra="fakes", system_package="python3-fake")


def test_an_absent_package_is_called_missing() -> None:
    lines = r"^Fake CV is not installed. Type: pip install 'leansight\[fakes\]', or: sudo apt "
    with pytest.raises(MissingExtraError, match=lines + "install python3-fake"):
        fake()


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("import absent_dependency", "No module named 'absent_dependency'"),
        ("import numpy.absent", r"No module named 'numpy\.absent'"),
        ("raise OSError('libGL.so.1: no such file\\nmore')", r"libGL\.so\.1: no such file"),
        ("import numpy; numpy.gone", "module 'numpy' has no attribute 'gone'"),
        ("raise RuntimeError", "RuntimeError"),
        ("assert 0, 'A sentence.'", "A sentence"),
        ("def", "invalid syntax.*"),
    ],
)
def test_a_package_whose_import_fails_is_not_called_missing(
    install: Install, lines: str, reason: str
) -> None:
    install("fake_cv2", lines)
    expected = rf"^Fake CV is installed but cannot be imported: {reason}\. {REINSTALL}"
    with pytest.raises(BrokenPackageError, match=expected):
        fake()


@pytest.mark.parametrize(
    "reason",
    [
        "numpy.core.multiarray failed to import",
        "_ARRAY_API not found",
        "module compiled against ABI version 0x1000009 but this version of numpy is 0x2000000",
        "\\nA module that was compiled using NumPy 1.x cannot be run in\\nNumPy 2.4.6.",
    ],
)
def test_a_package_built_for_numpy_1_says_so_in_one_line(
    install: Install, capsys: pytest.CaptureFixture[str], reason: str
) -> None:
    noise = "import sys; sys.stderr.write('A page of advice\\n' * 40)\n"
    install("fake_cv2", f"{noise}raise ImportError({reason!r}.replace('\\\\n', chr(10)))")
    expected = (
        r" \(it was built for numpy 1, and numpy 2\.4\.6 is installed\)\. "
        r"Type: pip install 'numpy<2'$"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "__version__", "2.4.6")
        with pytest.raises(BrokenPackageError, match=expected) as caught:
            fake()
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().err == ""


def test_numpy_1_is_not_blamed_for_being_2(install: Install) -> None:
    install("fake_cv2", "raise ImportError('numpy.core.multiarray failed to import')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "__version__", "1.24.2")
        with pytest.raises(BrokenPackageError, match=rf"failed to import\. {REINSTALL}"):
            fake()


def test_a_package_of_apts_is_put_right_by_apt(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("fake_cv2", "raise ImportError('libblas.so.3: no such file')")
    place = importlib.machinery.ModuleSpec(
        "fake_cv2", None, origin="/usr/lib/python3/dist-packages/fake_cv2.so"
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda _: place)
    with pytest.raises(
        BrokenPackageError, match=r"Type: sudo apt install --reinstall python3-fake$"
    ):
        fake()


def test_what_a_package_says_when_its_import_succeeds_is_shown(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("fake_cv2", "import sys; sys.stderr.write('no GPU here\\n')")
    assert fake() is fake() is sys.modules["fake_cv2"]
    assert capsys.readouterr().err == "no GPU here\n"


def test_ctrl_c_during_an_import_is_no_broken_package(install: Install) -> None:
    install("fake_cv2", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        fake()


@pytest.mark.parametrize(
    ("module", "package"),
    [("ai_edge_litert", "LiteRT"), ("tflite_runtime", "tflite-runtime")],
)
def test_a_broken_interpreter_is_not_called_missing(
    install: Install,
    monkeypatch: pytest.MonkeyPatch,
    tiny_tflite: bytes,
    module: str,
    package: str,
) -> None:
    install(f"{module}.interpreter", "raise ImportError('libatomic.so.1: no such file')")
    (Path(sys.path[0]) / module / "__init__.py").touch()
    if module != "ai_edge_litert":
        monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    line = rf"^{package} is installed but cannot be imported: libatomic\.so\.1: no such file\. "
    with pytest.raises(BrokenPackageError, match=line):
        load_interpreter(tiny_tflite, "tflite")


def test_a_broken_onnx_runtime_is_not_called_missing(install: Install) -> None:
    install("onnxruntime", "raise OSError('libre2.so.11: no such file')")
    with pytest.raises(BrokenPackageError, match=r"^ONNX Runtime is installed but .*libre2"):
        onnx_runtime()


def test_what_debians_onnx_runtime_prints_of_its_operators_is_dropped(
    capfd: pytest.CaptureFixture[str],
) -> None:
    registered = (
        b"Schema error: Trying to register schema with name Abs (domain:  version: 1) from file "
        b"./onnx/defs/math/old.cc line 2729, but it is already registered from file "
        b"./onnx/defs/math/old.cc line 2729\n\n"
    )
    with without_onnx_runtime_log():
        os.write(2, registered * 2 + b"Schema error: Abs has no such attribute\n" + registered)
    assert capfd.readouterr().err == "Schema error: Abs has no such attribute\n"


WITHOUT_TELEMETRY = """
import os, sys
from pathlib import Path
from leansight.runtime.classifier import Classifier
Classifier.load(sys.argv[1], model_format="onnx").warm_up()
print(len(list(Path("/proc/self/task").iterdir())), flush=True)
child = os.fork()
if child:
    print(os.waitpid(child, 0)[1])
"""


def test_onnx_runtime_sends_nothing_and_leaves_no_thread(
    tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path
) -> None:
    """With its telemetry it writes below the home folder, and a fork of it never ends."""
    home = tmp_path_factory.mktemp("home")
    environment = {name: v for name, v in os.environ.items() if not name.startswith("ORT_")}
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TELEMETRY, str(tiny_bundle)],
        env=environment | {"HOME": str(home), "XDG_CACHE_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    threads, ended = ran.stdout.split()
    assert (threads, ended) == ("1", "0")
    assert not list(home.rglob("*"))
