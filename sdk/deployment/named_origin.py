"""What the library of a named network knows of its images, beside what the user says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from leansight.runtime.errors import DataError
from leansight.runtime.preprocessing import CHANNELS, Fit, Interpolation
from leansight.sdk.deployment.imported_network import Origin
from leansight.sdk.models.named import (
    NamedNetwork,
    NetworkName,
    PublishedSettings,
    load_named,
    published_settings,
)
from leansight.sdk.system.console import tell


@dataclass(frozen=True, kw_only=True)
class NamedSource:
    """A network of timm or torchvision, and what is said of it; None where its library is asked.

    `weights`: a file of its state dict; None: the library's own, which are downloaded.
    """

    name: NetworkName
    weights: Path | None
    labels: Path | None = None
    colour: Literal["gray", "rgb", "bgr"] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size: int | tuple[int, int] | None = None
    fit: Fit | None = None
    interpolation: Interpolation = "area"
    overrides: tuple[str, ...] = ()


def complete(source: NamedSource) -> Origin:
    """Load the network, and tell what it is taken for.

    Raises:
        DataError: there is no such network, its weights do not fit or cannot be downloaded, or it
            needs labels or a normalisation that its library does not know.

    """
    published = published_settings(source.name)
    colour, size = source.colour or "rgb", source.size or published.size
    if not isinstance(size, int):
        raise DataError(f"{source.name} is built for squares: one side", parameter="size")
    mean, std = _normalisation(source, published)
    network = load_named(
        source.name,
        source.weights,
        size=size,
        channels=CHANNELS["gray" if colour == "gray" else "rgb"],
    )
    labels = source.labels or network.labels
    if not labels:
        raise DataError(
            f"{network.source} tells {network.classes} classes apart and does not say which: name "
            "a file of their labels, one a line, in the order of the outputs (after a training "
            "with torchvision's ImageFolder that of the folders' names)",
            parameter="labels",
        )
    origin = Origin(
        labels=labels,
        colour=colour,
        mean=mean,
        std=std,
        size=size,
        fit=source.fit or published.fit,
        interpolation=source.interpolation,
        overrides=source.overrides,
        network=network,
    )
    _tell(origin, network)
    return origin


def _normalisation(
    source: NamedSource, published: PublishedSettings
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation, in the order of the channels that the network takes."""
    if source.colour == "gray" and (source.mean is None or source.std is None):
        raise DataError(
            f"{source.name.library} knows a normalisation of three colours only: of gray pixels "
            "mean and deviation must be given",
            parameter="mean" if source.mean is None else "std",
        )
    order = slice(None, None, -1 if source.colour == "bgr" else 1)
    return source.mean or published.mean[order], source.std or published.std[order]


def _tell(origin: Origin, network: NamedNetwork) -> None:
    mean, std = (",".join(f"{n:g}" for n in numbers) for numbers in (origin.mean, origin.std))
    whose = origin.labels if isinstance(origin.labels, Path) else "ImageNet's"
    tell(f"{network.name}: weights {network.source}, {network.classes} classes, labels {whose}")
    seen = f"{origin.size}×{origin.size} {origin.colour}, {origin.fit}, mean {mean}, std {std}"
    tell(f"images: {seen} (what you did not say is {network.name.library}'s)")
