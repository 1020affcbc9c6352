"""What fuzzing has found stays refused: in one line, within a second and 64 MB."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import limits
import pytest
import targets

ATTACKS = [(name, path) for name in targets.TARGETS for path in targets.attacks(name)]
# What is in a corpus to be refused: HEIC without a picture, and a key that is no signature.
REFUSED = {("image", "HEIC"), ("signature", "signer.pem")}
# What is harmless and can be read: its second header is no part of the picture.
READ = {"png-with-a-second-header.bin"}


@pytest.mark.parametrize(("name", "path"), ATTACKS, ids=lambda value: getattr(value, "name", value))
def test_an_attack_is_refused_or_harmless(name: str, path: Path, tmp_path: Path) -> None:
    target, data = targets.TARGETS[name](tmp_path), path.read_bytes()
    said = limits.hold(lambda: target.read(data), target.refusals)
    assert bool(said) == (path.name not in READ)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_whole_file_is_accepted(name: str, tmp_path: Path) -> None:
    target = targets.TARGETS[name](tmp_path)
    for file, data in targets.seeds(name).items():
        said = limits.hold(lambda data=data: target.read(data), target.refusals)
        assert bool(said) == ((name, file) in REFUSED), (file, said)


@pytest.mark.parametrize("name", ["bundle", "folder", "signature"])
def test_a_flipped_byte_is_refused(name: str, tmp_path: Path) -> None:
    target = targets.TARGETS[name](tmp_path)
    for file, data in targets.seeds(name).items():
        for at in range(1, len(data), 97):
            flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            said = limits.hold(lambda flipped=flipped: target.read(flipped), target.refusals)
            assert said or name != "folder", (file, at)


def test_what_is_raised_otherwise_is_a_finding() -> None:
    def run_out(error: type[Exception]) -> None:
        raise error

    with pytest.raises(KeyError):
        limits.hold(lambda: run_out(KeyError), (ValueError,))
    with pytest.raises(limits.BrokenPromiseError, match="MB"):
        limits.hold(lambda: b"x" * (100 << 20), (ValueError,))
    assert limits.hold(lambda: run_out(ValueError), (ValueError,)) == "leansight: "


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
def test_mutants_are_counted() -> None:
    command = [sys.executable, targets.HERE / "fuzz.py", "9", "tflite", "--mutants", "300"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("tflite: 3")
