"""Check that a wheel that scripts/build made holds what its name says.

python scripts/check_wheel.py WHEEL...
"""

import re
import sys
import zipfile
from pathlib import Path
from typing import Final

# What an ELF header calls the processors (its 19th byte), by the names in wheels' tags.
MACHINES: Final = {"x86_64": 62, "aarch64": 183, "armv7l": 40}
TAG: Final = re.compile(r"cp311-abi3-manylinux_(\d+)_(\d+)_(\w+)")
PURE_TAG: Final = "py3-none-any"


def fault_of(path: Path) -> str | None:
    """Return what is wrong with a wheel, or None."""
    tag = "-".join(path.stem.split("-")[2:])
    with zipfile.ZipFile(path) as wheel:
        libraries = {name: wheel.read(name) for name in wheel.namelist() if name.endswith(".so")}
        sources = [
            name
            for name in wheel.namelist()
            # An emulated Pi's instruction counter, and what is counted, are compiled where used.
            if name.endswith((".c", ".h"))
            and not name.startswith(
                ("leansight/benchmarks/emulation/", "leansight/runtime/pixels/")
            )
        ]
    if sources:
        return f"holds sources: {', '.join(sources)}"
    if tag == PURE_TAG:
        return f"holds {', '.join(libraries)}" if libraries else None
    named = TAG.fullmatch(tag)
    if named is None:
        return f"has the tag {tag}"
    if len(libraries) != 1:
        return f"holds {len(libraries)} libraries, not one"
    (library,) = libraries.values()
    return _fault_of_library(library, (int(named[1]), int(named[2])), named[3])


def _fault_of_library(library: bytes, glibc: tuple[int, int], machine: str) -> str | None:
    if library[:4] != b"\x7fELF" or library[18] != MACHINES.get(machine):
        return f"holds a library that is not for {machine}"
    versions = re.findall(rb"\0GLIBC_(\d+)\.(\d+)", library)
    newest = max((int(major), int(minor)) for major, minor in versions)
    if newest > glibc:
        return f"holds a library that needs glibc {newest[0]}.{newest[1]}"
    return None


if __name__ == "__main__":
    faults = {path: fault_of(Path(path)) for path in sys.argv[1:]}
    for path, fault in faults.items():
        if fault:
            print(f"{path} {fault}", file=sys.stderr)
    sys.exit(any(faults.values()))
