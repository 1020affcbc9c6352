"""Print how much room each package of a virtual environment takes, in MB of a million bytes.

python tests/pi/installed_size.py ~/.cache/leansight/pi/venv-bookworm-arm64-*/

Python's compiled files (.pyc) are counted with their package. What a new environment has itself
(pip, and setuptools before Python 3.12) is not in the total.
"""

import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

OF_ENVIRONMENT = {"pip", "setuptools"}


def files_of(distribution: Distribution) -> Iterator[Path]:
    """Yield the files of a distribution that are there, also those compiled after installation."""
    for file in distribution.files or []:
        path = Path(str(distribution.locate_file(file)))
        if path.is_file():
            yield path.resolve()
        if path.suffix == ".py":
            cached = path.parent / "__pycache__"
            yield from (found.resolve() for found in cached.glob(f"{path.stem}.*.pyc"))


def sizes(environment: Path) -> dict[str, tuple[int, int]]:
    """Return the bytes of each distribution, `name version`, and how many of them are compiled."""
    found: dict[str, tuple[int, int]] = {}
    for site in sorted(environment.glob("lib/python3*/site-packages")):
        for distribution in distributions(path=[str(site)]):
            files = set(files_of(distribution))
            compiled = [file for file in files if file.suffix == ".pyc"]
            found[f"{distribution.name} {distribution.version}"] = (
                sum(file.stat().st_size for file in files),
                sum(file.stat().st_size for file in compiled),
            )
    return dict(sorted(found.items(), key=lambda item: -item[1][0]))


def table(environment: Path) -> str:
    """Return a line for each distribution, and one for all."""
    found = sizes(environment)
    own = {name: size for name, size in found.items() if name.split()[0] not in OF_ENVIRONMENT}
    own["in all"] = (sum(size for size, _ in own.values()), sum(pyc for _, pyc in own.values()))
    lines = [f"{size / 1e6:8.1f} {pyc / 1e6:6.1f}  {name}\n" for name, (size, pyc) in own.items()]
    return f"{environment}: MB, of which .pyc\n" + "".join(lines)


if __name__ == "__main__":
    sys.stdout.writelines(table(Path(argument)) for argument in sys.argv[1:])
