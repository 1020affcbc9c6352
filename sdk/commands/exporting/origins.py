"""What RUN|MODEL of `leansight export` is, and whether all that it needs was given."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from leansight.runtime.errors import DataError
from leansight.runtime.extras import check_installed
from leansight.sdk.commands.options.export import ImportOptions
from leansight.sdk.commands.options.images import videos_override

if TYPE_CHECKING:
    from leansight.sdk.deployment.imported_network import Origin
    from leansight.sdk.models.named import NetworkName

_TORCH_FILES = frozenset({".pt", ".pth", ".ckpt", ".safetensors"})


def require_named(
    name: "NetworkName", imported: ImportOptions, data: Path | None
) -> "tuple[Origin, Path]":
    """Return the network that MODEL names, and where its images are."""
    check_installed("timm", "torchvision", extra="train")
    if data is None:
        raise DataError(f"{name} is a network from elsewhere, which needs --data")
    from leansight.sdk.deployment.named_origin import NamedSource, complete

    source = NamedSource(
        name=name,
        weights=imported.weights,
        labels=imported.labels,
        colour=imported.colour,
        mean=imported.mean,
        std=imported.std,
        size=imported.size,
        fit=imported.fit,
        interpolation=imported.interpolation or "area",
        overrides=(*imported.overrides, *videos_override(imported.videos)),
    )
    return complete(source), data


def require_all(model: Path, imported: ImportOptions, data: Path | None) -> "tuple[Origin, Path]":
    """Return what MODEL is and where its images are; DataError if something was not imported."""
    if not model.exists():
        raise DataError(f"{model} does not exist")
    if imported.weights is not None:
        raise DataError(f"{model} holds its weights: leave out --weights")
    labels, colour, mean, std = imported.labels, imported.colour, imported.mean, imported.std
    if data is None or labels is None or colour is None or mean is None or std is None:
        needed = {"data": data, "labels": labels, "colour": colour, "mean": mean, "std": std}
        missing = ", ".join(f"--{name}" for name, value in needed.items() if value is None)
        raise DataError(f"{model} is a network from elsewhere, which needs {missing}")
    from leansight.sdk.deployment.imported_network import Origin

    origin = Origin(
        labels=labels,
        colour=colour,
        mean=mean,
        std=std,
        size=imported.size,
        output=imported.output,
        fit=imported.fit or "stretch",
        interpolation=imported.interpolation or "area",
        overrides=(*imported.overrides, *videos_override(imported.videos)),
        python=imported.keras_python or Path(sys.executable),
    )
    return origin, data


def require_run(model: Path, imported: ImportOptions) -> None:
    """Raise DataError for a file that is no network, or options that are not of a run."""
    if model.is_file():
        hint = (
            "of torch weights the network is missing: name it, as in timm:resnet18 --weights "
            f"{model}, or hand it to leansight.exporters.export_network"
            if model.suffix.lower() in _TORCH_FILES
            else "those are .onnx, .pt2, .keras, .h5, .tflite and SavedModel folders"
        )
        raise DataError(f"{model} is no network that can be read: {hint}")
    if imported.options:
        raise DataError(f"{', '.join(imported.options)}: a run has its own. Leave it out")
