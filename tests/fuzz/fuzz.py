"""Look for files that crash, hang, fill the memory, or are accepted though they were changed.

See scripts/fuzz. With FILE, that file alone is read, and how it ends is told.
"""

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent))

import targets

ROOT: Final = targets.HERE.parents[1]
FOUND: Final = ROOT / ".cache" / "fuzz"  # what nights have found: mutants that reach new lines
IN_MEMORY: Final = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 -- own folder
HANG_S: Final = 300  # by the clock, where the machine has other work to do
LONGEST_BYTES: Final = 1 << 16
_RUNS: Final = re.compile(r"stat::number_of_executed_units: *(\d+)")
_SHOWN_LINES: Final = 40


def main() -> None:
    """Fuzz the chosen targets in turn; exit with 1 after a finding."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=60, metavar="SECONDS")
    parser.add_argument(
        "target", nargs="?", metavar="TARGET", choices=targets.TARGETS, help="default: all"
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE")
    parser.add_argument("--mutants", type=int, help="stop after so many, whatever the time")
    parser.add_argument(
        "--seed", type=int, default=0, help="of chance (default: another each time)"
    )
    asked = parser.parse_args()
    if asked.file:
        sys.exit(read_one(asked.target, asked.file))
    if importlib.util.find_spec("atheris") is None:
        sys.exit("fuzz: atheris is not installed (Linux on x86-64): pip install atheris")
    chosen = [asked.target] if asked.target else list(targets.TARGETS)
    seconds = max(1, round(asked.seconds / len(chosen)))
    bad = [name for name in chosen if not fuzz(name, seconds, asked.mutants, asked.seed)]
    sys.exit(bool(bad))


def fuzz(name: str, seconds: int, mutants: int | None, seed: int) -> bool:
    """Fuzz a target for so long; return whether nothing was found, and print it."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="leansight-fuzz-", dir=IN_MEMORY) as scratch:
        folder = Path(scratch)
        (folder / "corpus").mkdir()
        for file, content in targets.seeds(name).items():
            (folder / "corpus" / file).write_bytes(content)
        for attack in targets.attacks(name):
            shutil.copy(attack, folder / "corpus")
        (FOUND / name).mkdir(parents=True, exist_ok=True)
        limit = f"-runs={mutants}" if mutants else f"-max_total_time={seconds}"
        options = (
            *(limit, f"-seed={seed}", f"-timeout={HANG_S}", f"-artifact_prefix={folder}/"),
            *(
                f"-max_len={LONGEST_BYTES}",
                "-rss_limit_mb=0",
                "-mutate_depth=2",
                "-print_final_stats=1",
            ),
            *(FOUND / name, folder / "corpus"),
        )
        command = [sys.executable, targets.HERE / "fuzz_one.py", name, folder, *map(str, options)]
        ran = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env={**os.environ, "OPENCV_LOG_LEVEL": "OFF"},
        )
        runs = _RUNS.search(ran.stderr)
        took = f"{int(runs[1]):,} mutants" if runs else "no mutants"
        print(f"{name}: {took} in {time.monotonic() - begun:.0f} s", flush=True)
        if ran.returncode == 0 and runs:
            return True
        raised = folder / "finding.txt"
        said = raised.read_text() if raised.exists() else ran.stdout + ran.stderr
        print("\n".join(said.splitlines()[-_SHOWN_LINES:]))
        tell_findings(name, folder)
    return False


def tell_findings(name: str, folder: Path) -> None:
    """Keep what was found, and print how to read it again."""
    for found in (*folder.glob("crash-*"), *folder.glob("timeout-*")):
        kept = FOUND / f"{name}-{found.name}"
        shutil.copy(found, kept)
        print(f"its bytes: {found.read_bytes().hex()}")
        print(f"again: scripts/fuzz 0 {name} {kept}", flush=True)


def read_one(name: str, path: Path) -> int:
    """Give one file to a target; 0, or an error of Python."""
    targets.prepare()
    import limits

    with tempfile.TemporaryDirectory() as scratch:
        target = targets.TARGETS[name](Path(scratch))
        data = path.read_bytes()
        said = limits.hold(lambda: target.read(data), target.refusals)
    print(f"refused: {said}" if said else "accepted")
    return 0


if __name__ == "__main__":
    main()
