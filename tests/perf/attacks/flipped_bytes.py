"""Change each byte of a bundle, one at a time, and let leansight and a bare interpreter read it.

    python tests/perf/attacks/flipped_bytes.py [BUNDLE] [--share 1.0] [--seed 1]

leansight has to refuse each, but for a space of the manifest that becomes another one. The
interpreter is asked about the same model files, without a bundle: how often does it crash, hang,
refuse, or give another answer without a word?
"""

import argparse
import os
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from hostile_models import GIGABYTE, HANG_S, end_of, tiny_bundle

from leansight.runtime.bundle import Bundle
from leansight.runtime.interpreter import FORMATS, Format, load_interpreter
from leansight.runtime.system.python_child import limit_this_process

SAME = "accepted, the content is the same"


class AnotherAnswer(Exception):  # noqa: N818 -- it is counted by its name
    """A model that is not as it was gives something else."""


def main() -> None:
    """Print a line for each file; exit with 1 if leansight has accepted anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument("--share", type=float, default=1.0, help="share of the bytes, drawn")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    chance = np.random.default_rng(asked.seed)
    ours = Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        bundle = Bundle.load(asked.bundle or tiny_bundle(Path(name)))
        copy = Path(name) / "flipped.bundle"
        copy.mkdir()
        contents = bundle.contents()
        for file, data in contents.items():
            (copy / file).write_bytes(data)
        for file, data in contents.items():
            flips = [
                (at, int(chance.integers(1, 256)))
                for at in range(len(data))
                if chance.random() < asked.share
            ]
            ends = Counter(_read(copy, file, data, *flip) for flip in flips)
            print(f"{file}: {len(flips)} bytes, leansight: {dict(ends)}", flush=True)
            ours += ends
            stem, _, suffix = file.partition(".")
            for chosen in FORMATS:
                if (stem, suffix) == ("model", chosen):
                    print(f"  the interpreter alone: {_bare(data, chosen, flips)}", flush=True)
    print(f"leansight: {dict(ours)}")
    sys.exit(not set(ours) <= {"BundleError", SAME})


def _read(copy: Path, file: str, data: bytes, at: int, mask: int) -> str:
    """Return the class of the error with which the bundle is refused, or what was accepted."""
    unchanged = Bundle.load(copy)
    (copy / file).write_bytes(_flipped(data, at, mask))
    try:
        end = SAME if Bundle.load(copy) == unchanged else "accepted"
    except Exception as error:  # noqa: BLE001 -- it is counted
        end = type(error).__name__
    (copy / file).write_bytes(data)
    return end


def _bare(data: bytes, chosen: Format, flips: list[tuple[int, int]]) -> dict[str, int]:
    wanted = _answer(data, chosen)
    ends = Counter[str]()
    for flip in flips:
        ends[end_of(partial(_compare, _flipped(data, *flip), chosen, wanted), HANG_S)] += 1
    return dict(ends)


def _compare(data: bytes, chosen: Format, wanted: bytes) -> None:
    """Raise AnotherAnswer if the model gives something else, or what it raises of itself."""
    limit_this_process(more_bytes=2 * GIGABYTE)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if _answer(data, chosen) != wanted:
        raise AnotherAnswer


def _answer(data: bytes, chosen: Format) -> bytes:
    run = load_interpreter(data, chosen)
    pixels = np.arange(np.prod(run.input_shape)) * 7 % 256
    return np.asarray(run(pixels.reshape(run.input_shape).astype(np.uint8))).tobytes()


def _flipped(data: bytes, at: int, mask: int) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


if __name__ == "__main__":
    main()
