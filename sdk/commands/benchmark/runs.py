"""Runs among the models: each is exported on the way, as `leansight export` would."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from leansight.benchmarks.models import Model, find_models
from leansight.runtime.errors import DataError, LeansightError
from leansight.runtime.extras import check_installed
from leansight.runtime.interpreter import Format, has_interpreter
from leansight.sdk.commands.options.modules import EXPORT_MODULES
from leansight.sdk.system.console import tell

_OF_A_RUN: Final = ("run.json", "start.json")
_EXTRAS: Final[dict[Format, str]] = {"tflite": "litert", "onnx": "onnx"}


def models_of(
    paths: Sequence[Path],
    wanted: Format | None,
    labels: tuple[str, ...],
    scratch: Path,
    *,
    trust: Path | None = None,
) -> list[Model]:
    """Return the models of bundles, bare files and runs; `scratch` takes the bundles of runs.

    `trust` is a policy, see `Bundle.load`.

    Raises:
        BundleError: a path is no model, or has not the wanted format.
        LeansightError: a run cannot be exported; nothing else is measured then.

    """
    bundles = {path: _exported(path, scratch / str(n)) for n, path in enumerate(_runs(paths))}
    models = find_models([bundles.get(path, path) for path in paths], wanted, labels, trust=trust)
    ends = [path.resolve().name for path in bundles]
    names = {
        bundle: str(path) if ends.count(path.resolve().name) > 1 else path.resolve().name
        for path, bundle in bundles.items()
    }
    return [model.renamed(names.get(model.path, model.name)) for model in models]


def runnable_here(models: Sequence[Model]) -> list[Model]:
    """Leave out the formats of a bundle that nothing installed runs, if it has another; say so."""
    runnable = {model.path for model in models if has_interpreter(model.format)}
    found = []
    for model in models:
        if has_interpreter(model.format) or model.digest is None or model.path not in runnable:
            found.append(model)
        else:
            extra = _EXTRAS[model.format]
            tell(
                f"{model.name} ({model.format}) is left out: nothing that runs it is installed "
                f"here. To measure it: pip install 'leansight[{extra}]'"
            )
    return found


def _runs(paths: Sequence[Path]) -> list[Path]:
    found = [path for path in paths if any((path / name).is_file() for name in _OF_A_RUN)]
    return list(dict.fromkeys(found))


def _exported(run: Path, bundle: Path) -> Path:
    """Export a run as an int8 bundle, and say so."""
    check_installed(*EXPORT_MODULES, extra="export")
    from leansight.sdk.deployment.export_run import export_run
    from leansight.sdk.deployment.options import DeploymentOptions

    typed = shlex.join(["leansight", "export", str(run), "--out", f"{run.resolve().name}.bundle"])
    tell(f"{run} is a run: its int8 export is measured, and not kept (to keep it: {typed})")
    try:
        export_run(run, DeploymentOptions(), out=bundle)
    except LeansightError as error:
        raise DataError(f"{run} cannot be exported: {error}") from error
    return bundle
