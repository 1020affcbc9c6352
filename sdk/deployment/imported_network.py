"""A network from elsewhere: its file, its labels, what its pixels want."""

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from torch import nn

from leansight.exporters.importers.keras import convert_keras
from leansight.exporters.importers.normalisation import Normalisation, normalised
from leansight.exporters.importers.onnx_reader import OnnxClassifier, read_onnx
from leansight.exporters.importers.torch_program import convert_program, write_network
from leansight.runtime.decision import DecisionPolicy, Task
from leansight.runtime.errors import DataError
from leansight.runtime.onnx_file import weight_files
from leansight.runtime.preprocessing import CHANNELS, Fit, Interpolation, Preprocessing
from leansight.runtime.system.whole_files import scratch_folder
from leansight.sdk.data.class_names import read_labels
from leansight.sdk.data.samples import Split
from leansight.sdk.deployment.export_run import package_versions
from leansight.sdk.models.named import NamedNetwork
from leansight.sdk.recipes.load import override
from leansight.sdk.recipes.schema import Recipe
from leansight.sdk.system.console import tell
from leansight.sdk.system.progress import step_bars

TENSORFLOW_FILES: Final = frozenset({".keras", ".h5", ".hdf5", ".tflite"})
PROGRAM_FILES: Final = frozenset({".pt2"})
# What overrides can change: the rest of a recipe is about training.
_TABLES: Final = ("data", "split", "preprocessing", "decision", "task")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a network from elsewhere does not say of itself.

    `labels`: in the order of its outputs, or a file of one a line. `colour`: the order of the
    channels that it wants; `size`: of its images in pixels, the side of a square or (height,
    width) (None: as the file says); `mean` and `std`: see `Normalisation`. `output`: the name of
    the output that gives a number for each class, where an ONNX file has several. `overrides`
    change the recipe by which images are read and split (KEY=VALUE). `python` has TensorFlow, for
    what it reads. `network`: of timm or torchvision, with its weights; then there is no file to
    read.
    """

    labels: Path | tuple[str, ...]
    colour: Literal["gray", "rgb", "bgr"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    python: Path = Path(sys.executable)
    size: int | tuple[int, int] | None = None
    output: str | None = None
    fit: Fit = "stretch"
    interpolation: Interpolation = "area"
    overrides: tuple[str, ...] = ()
    network: NamedNetwork | None = None

    @property
    def labels_source(self) -> str:
        """How messages call what the labels are from."""
        return str(self.labels) if isinstance(self.labels, Path) else "ImageNet's list"

    @property
    def normalisation(self) -> Normalisation:
        """What is done to the pixels; DataError if it does not fit."""
        try:
            return Normalisation(mean=self.mean, std=self.std, bgr=self.colour == "bgr")
        except ValueError as error:
            raise DataError(str(error)) from error


def is_foreign(path: Path) -> bool:
    """Whether `path` is a network of another framework, and not a run."""
    known = {".onnx", *TENSORFLOW_FILES, *PROGRAM_FILES}
    return path.suffix.lower() in known or (path / "saved_model.pb").is_file()


@dataclass(frozen=True, kw_only=True)
class ImportedNetwork:
    """A network that was read: `module` as the exporters take it, `recipe` for its images."""

    path: Path
    origin: Origin
    classifier: OnnxClassifier
    module: nn.Module
    labels: tuple[str, ...]
    recipe: Recipe

    def provenance(self, split: Split, calibration: int, difference: float) -> dict[str, Any]:
        """Return where the bundle comes from; `difference` of torch from the file as it came."""
        return {
            "origin": _origin(self.path, self.origin, self.classifier) | {"difference": difference},
            "recipe": {key: self.recipe.to_dict()[key] for key in _TABLES},
            "images": {
                "validation": len(split.validation),
                "test": len(split.test),
                "calibration": calibration,
            },
            "versions": package_versions(),
        }


def read_network(path: Path, origin: Origin, threshold: float | None) -> ImportedNetwork:
    """Read the network; DataError if its labels, its task or its overrides do not fit."""
    labels = read_labels(origin.labels) if isinstance(origin.labels, Path) else origin.labels
    normalisation = origin.normalisation
    classifier = _read_classifier(path, origin)
    for note in classifier.notes:
        tell(f"{path} {note}")
    recipe = _recipe(path, origin, classifier, threshold)
    _require_outputs(classifier, labels, origin.labels_source, recipe.task)
    plain = not any(normalisation.mean) and all(std == 1 for std in normalisation.std)
    if classifier.takes_bytes and not plain:
        raise DataError(
            f"{path} takes pixels as they are, uint8 from 0 to 255: set mean to 0 and std to 1",
            parameter="mean",
        )
    try:
        module = normalised(classifier.network, normalisation, channels=classifier.channels)
    except ValueError as error:
        raise DataError(str(error)) from error
    return ImportedNetwork(
        path=path,
        origin=origin,
        classifier=classifier,
        module=module,
        labels=labels,
        recipe=recipe,
    )


def _read_classifier(path: Path, origin: Origin) -> OnnxClassifier:
    channels = CHANNELS["gray" if origin.colour == "gray" else "rgb"]
    if origin.network is None and not path.exists():
        raise DataError(f"{path} does not exist")
    if path.suffix.lower() == ".onnx":
        return read_onnx(path, size=origin.size, channels=channels, output=origin.output)
    with scratch_folder() as folder:
        file = folder / "model.onnx"
        with step_bars() as progress:
            step = f"reading with {'torch' if _is_torch(path, origin) else 'TensorFlow'}"
            progress(step, 0, 1)
            _write_onnx(path, origin, file)
            progress(step, 1, 1)
        return read_onnx(
            file, size=origin.size, channels=channels, name=str(path), output=origin.output
        )


def _is_torch(path: Path, origin: Origin) -> bool:
    return origin.network is not None or path.suffix.lower() in PROGRAM_FILES


def _write_onnx(path: Path, origin: Origin, file: Path) -> None:
    if (network := origin.network) is not None:
        shape = (1, network.channels, network.size, network.size)
        write_network(network.module, shape, file)
    elif path.suffix.lower() in PROGRAM_FILES:
        convert_program(path, file)
    else:
        convert_keras(path, file, keras_python=origin.python)


def _recipe(
    path: Path, origin: Origin, classifier: OnnxClassifier, threshold: float | None
) -> Recipe:
    """Return what is needed of a recipe; DataError where an override does not fit."""
    recipe = Recipe(
        name=_name(path, origin),
        description=f"A network from {path.name}",
        task="multilabel" if _has_many_labels(classifier) else "classification",
        preprocessing=Preprocessing(
            size=classifier.size,
            colour="gray" if origin.colour == "gray" else "rgb",
            fit=origin.fit,
            interpolation=origin.interpolation,
        ),
    )
    for change in origin.overrides:
        table = change.partition("=")[0].partition(".")[0].strip()
        if table not in _TABLES:
            raise DataError(
                f"{change}: of a network that is trained already, {', '.join(_TABLES)} can be set",
                parameter="overrides",
            )
    recipe = override(recipe, origin.overrides)
    expected = replace(recipe.preprocessing, size=classifier.size).shape
    expected = (*expected[:3], classifier.channels)
    if recipe.preprocessing.shape != expected:
        raise DataError(
            f"the images are set to {recipe.preprocessing.shape}, the network takes {expected}",
            parameter="overrides",
        )
    if threshold is None:
        return recipe
    return replace(recipe, decision=DecisionPolicy(threshold=threshold))


def _name(path: Path, origin: Origin) -> str:
    return path.stem if origin.network is None else origin.network.name.name


def _has_many_labels(classifier: OnnxClassifier) -> bool:
    return classifier.end == "sigmoid" and classifier.outputs > 1


def _require_outputs(
    classifier: OnnxClassifier, labels: Sequence[str], source: str, task: Task
) -> None:
    if classifier.logits() != len(labels):
        raise DataError(
            f"{classifier.name} gives {classifier.outputs} numbers for an image, {source} has "
            f"{len(labels)} labels: one for each is expected"
            + (", or two for a single one" if classifier.outputs == 1 else "")
        )
    many = classifier.end in {"sigmoid", "logits"} and classifier.outputs > 1
    if task == "multilabel" and not many:
        raise DataError(
            f"{classifier.name} tells classes apart: leave out task=multilabel",
            parameter="overrides",
        )
    if task == "classification" and _has_many_labels(classifier):
        raise DataError(
            f"{classifier.name} ends in a sigmoid for each label: leave out task=classification",
            parameter="overrides",
        )


def _origin(path: Path, origin: Origin, classifier: OnnxClassifier) -> dict[str, Any]:
    return {
        "file": path.name,
        **_digest(path, origin.network),
        "channels": origin.colour,
        "mean": list(origin.mean),
        "std": list(origin.std),
        "ends_in": classifier.end,
        "notes": list(classifier.notes),
    }


def _digest(path: Path, network: NamedNetwork | None) -> dict[str, str]:
    if network is not None:
        return {"weights": network.source, "sha256": network.sha256}
    return {"sha256": file_digest(path)}


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a network's file and those of its weights, or of all in a folder."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    if path.suffix.lower() == ".onnx":
        files += weight_files(path)
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
