"""The wheel that is brought along holds what measures, as packaging tools read it."""

import subprocess
import sys
import zipfile
from email import message_from_bytes
from importlib.metadata import version
from pathlib import Path

import numpy as np

from leansight.benchmarks.boards.wheel import pack_wheel


def test_the_wheel_runs_by_itself_and_brings_no_more_than_it_needs(tmp_path: Path) -> None:
    wheel = pack_wheel(tmp_path)
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
        names = archive.namelist()
        info = f"leansight-{version('leansight')}.dist-info"
        metadata = message_from_bytes(archive.read(f"{info}/METADATA"))
        listed = [line.split(",")[0] for line in archive.read(f"{info}/RECORD").decode().split()]
    assert {"pi", "onnx"} <= set(metadata.get_all("Provides-Extra", []))
    assert sorted(listed) == sorted(names)
    assert not [name for name in names if "__pycache__" in name]
    assert not [name for name in names if name.startswith(("leansight/sdk", "leansight/exp"))]
    # -S: no leansight that is installed here comes before it.
    packages = str(Path(np.__file__).parents[1])
    code = (
        f"import sys; sys.path[:0] = [{str(unpacked)!r}, {packages!r}]\n"
        "import leansight.benchmarks.remote_worker as found, importlib.metadata as metadata\n"
        "print(found.__file__, metadata.version('leansight'))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [
        f"{unpacked}/leansight/benchmarks/remote_worker.py",
        version("leansight"),
    ]


def test_a_library_for_another_processor_takes_the_place_of_the_one_here(tmp_path: Path) -> None:
    library = tmp_path / "_prepare.abi3.so"
    library.write_bytes(b"for ARM")
    with zipfile.ZipFile(pack_wheel(tmp_path, prepare=library)) as archive:
        libraries = {name for name in archive.namelist() if name.endswith(".so")}
        assert libraries == {"leansight/runtime/pixels/_prepare.abi3.so"}
        assert archive.read(libraries.pop()) == b"for ARM"
        listed = archive.read(next(n for n in archive.namelist() if n.endswith("RECORD"))).decode()
    assert listed.count("_prepare") == 1
