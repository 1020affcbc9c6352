"""Fuzz one target with atheris in this process, which ends with the first finding."""

import random
import sys
import traceback
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import atheris
import targets

FINDING = "finding.txt"  # in the scratch folder: what was raised


def main(name: str, scratch: Path, libfuzzer: list[str]) -> None:
    """Give mutants of the corpus to a target, guided by the lines of ours that they reach."""
    targets.prepare()
    with atheris.instrument_imports(include=["leansight"]):
        import limits

        target = targets.TARGETS[name](scratch)

    def test_one_input(data: bytes) -> None:
        try:
            limits.hold(lambda: target.read(data), target.refusals)
        except BaseException:
            (scratch / FINDING).write_text(traceback.format_exc())
            raise

    def mutant(data: bytes, most_bytes: int, seed: int) -> bytes:
        chance = random.Random(seed)  # noqa: S311 -- no secret
        if target.mutate is None or chance.random() < 0.5:
            return bytes(atheris.Mutate(data, most_bytes))
        change = lambda some: bytes(atheris.Mutate(some, max(64, 2 * len(some))))  # noqa: E731
        return target.mutate(data, chance, change)[:most_bytes]

    atheris.Setup([sys.argv[0], *libfuzzer], test_one_input, custom_mutator=mutant)
    atheris.Fuzz()


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of zipfile: names that are there twice
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
