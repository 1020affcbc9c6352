"""Networks of timm and torchvision by their names, with weights from a file or a download."""

import contextlib
import difflib
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from torch import nn

from leansight.runtime.errors import DataError
from leansight.runtime.preprocessing import Fit
from leansight.runtime.system.whole_files import raise_error_of_disk
from leansight.sdk.models.backbones import LEVELS, RGB, Weights, used_keys
from leansight.sdk.models.pretrained import hub_source
from leansight.sdk.models.weights_file import fill, first_line, read_weights, without_prefix

Library = Literal["timm", "torchvision"]
IMAGENET_CLASSES: Final = 1000
_PROBED_CLASSES: Final = 1009  # a prime that is no network's number of channels
_FITS: Final[Mapping[str, Fit]] = {"squash": "stretch", "border": "letterbox"}  # timm's words


@dataclass(frozen=True, kw_only=True)
class NetworkName:
    """A network of a library, such as timm:resnet18, timm:resnet18.a1_in1k, torchvision:swin_t."""

    library: Library
    name: str

    def __str__(self) -> str:
        """Return it as it is typed."""
        return f"{self.library}:{self.name}"


@dataclass(frozen=True, kw_only=True)
class PublishedSettings:
    """How a library's own weights see images: (pixel - mean) / std, of pixels from 0 to 255.

    `size`: side in pixels; `mean`, `std`: of red, green and blue.
    """

    size: int
    fit: Fit
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class NamedNetwork:
    """A network with its weights: (N, channels, size, size) float32 -> logits (N, classes).

    `source`: the file of the weights, or where they were downloaded; `sha256`: of their numbers.
    `labels`: ImageNet's, where it has as many classes; else none.
    """

    name: NetworkName
    module: nn.Module
    classes: int
    size: int
    channels: int
    source: str
    sha256: str
    labels: tuple[str, ...]


def parse_name(text: str) -> NetworkName | None:
    """Return the network that LIBRARY:NAME names, None for what has no such beginning."""
    library, _, name = text.partition(":")
    if library == "timm":
        return NetworkName(library="timm", name=name)
    return NetworkName(library="torchvision", name=name) if library == "torchvision" else None


def published_settings(name: NetworkName) -> PublishedSettings:
    """Return how the library's own weights see images.

    Raises:
        DataError: the library has no such network; similar names are told.

    """
    _require_known(name)
    if name.library == "timm":
        config = _timm_config(name.name)
        return PublishedSettings(
            size=config["input_size"][-1],
            fit=_FITS.get(config["crop_mode"], "centre-crop"),
            mean=_of_pixels(config["mean"]),
            std=_of_pixels(config["std"]),
        )
    transforms = _torchvision_weights(name.name).transforms()
    return PublishedSettings(
        size=transforms.crop_size[0],
        fit="centre-crop",
        mean=_of_pixels(transforms.mean),
        std=_of_pixels(transforms.std),
    )


def load_named(
    name: NetworkName, file: Path | None, *, size: int, channels: int = RGB
) -> NamedNetwork:
    """Build a network for as many classes as its weights have, and fill it.

    Without a file the library's own weights are downloaded, unless they were before.

    Raises:
        DataError: there is no such network, the weights do not fit, or there is no download.

    """
    _require_known(name)
    if name.library == "torchvision" and channels != RGB:
        raise DataError(f"{name} takes three channels: choose rgb or bgr", parameter="colour")
    weights = read_weights(file) if file else _download(name)
    probed = _build(name, _PROBED_CLASSES, size, channels, weights)
    weights = without_prefix(weights, probed)
    what = f"{file or 'what was downloaded'} does not fit {name}"
    classes = _count_classes(probed, weights, what)
    module = _build(name, classes, size, channels, weights)
    fill(module, weights, what)
    digest = hashlib.sha256()
    for key in sorted(weights):
        digest.update(np.ascontiguousarray(weights[key].float().numpy()).tobytes())
    return NamedNetwork(
        name=name,
        module=module.eval(),
        classes=classes,
        size=size,
        channels=channels,
        source=file.name if file else "download",
        sha256=hashlib.sha256(file.read_bytes()).hexdigest() if file else digest.hexdigest(),
        labels=_imagenet_labels() if classes == IMAGENET_CLASSES else (),
    )


def _require_known(name: NetworkName) -> None:
    known = _known_names(name.library)
    plain = name.name.partition(".")[0] if name.library == "timm" else name.name
    if plain in known:
        return
    near = difflib.get_close_matches(plain, known, n=3, cutoff=0.5)
    others = [
        f"{library}:{plain}"
        for library in get_args(Library)
        if library != name.library and plain in _known_names(library)
    ]
    choices = [*others, *(f"{name.library}:{one}" for one in near)]
    hint = f": did you mean {' or '.join(choices)}?" if choices else ""
    raise DataError(f"{name.library} has no network {plain!r}{hint}")


def _known_names(library: Library) -> Sequence[str]:
    if library == "timm":
        import timm

        return list(timm.list_models())
    import torchvision

    return list(torchvision.models.list_models(module=torchvision.models))


def _timm_config(name: str) -> dict[str, Any]:
    import timm

    try:
        config: Any = timm.models.get_pretrained_cfg(name)
    except RuntimeError as error:  # of a tag that it does not have
        raise DataError(f"timm:{name}: {first_line(error)}") from error
    return dict(config.to_dict())


def _torchvision_weights(name: str) -> Any:  # noqa: ANN401 -- an enumeration of each network's own
    import torchvision

    return torchvision.models.get_model_weights(name)["DEFAULT"]


def _of_pixels(numbers: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(LEVELS * number, 3) for number in numbers)


# Building


def _build(
    name: NetworkName, classes: int, size: int, channels: int, weights: Weights
) -> nn.Module:
    if name.library == "timm":
        return _build_timm(name.name, classes, size, channels)
    import torchvision

    options: dict[str, Any] = {}
    if name.name.startswith("vit_"):
        options["image_size"] = size
    if name.name in {"googlenet", "inception_v3"}:
        # Heads that only a training uses, which may have been dropped before it was saved.
        with_heads = any("aux" in key.lower() for key in weights)
        options = {"init_weights": False, "aux_logits": with_heads}
    network: nn.Module = torchvision.models.get_model(
        name.name, weights=None, num_classes=classes, **options
    )
    return network


def _build_timm(name: str, classes: int, size: int, channels: int) -> nn.Module:
    import timm

    try:  # transformers have places for images of one size
        network: nn.Module = timm.create_model(
            name, num_classes=classes, in_chans=channels, img_size=size
        )
    except TypeError:
        network = timm.create_model(name, num_classes=classes, in_chans=channels)
    return network


def _count_classes(probed: nn.Module, weights: Weights, what: str) -> int:
    """Return the rows that weights have where the network has one a class."""
    tops = [
        name for name, value in probed.state_dict().items() if _PROBED_CLASSES in value.shape[:1]
    ]
    found = [len(weights[name]) for name in tops if name in weights and weights[name].ndim]
    if not found:
        fill(probed, weights, what)  # names what is missing
    return found[0]


def _imagenet_labels() -> tuple[str, ...]:
    import torchvision

    return tuple(torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"])


# Downloads


def _download(name: NetworkName) -> Weights:
    try:
        return used_keys(_timm_weights(name.name) if name.library == "timm" else _published(name))
    except Exception as error:  # the hub's clients each have a tree of errors of their own
        raise_error_of_disk(error)
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{name} was given no weights, and its library's own could not be downloaded "
            f"({first_line(error)}): give a .pth, .pt or .safetensors file of {name.name}",
            parameter="weights",
        ) from error


def _timm_weights(name: str) -> Weights:
    import timm

    config = _timm_config(name)
    if not (config.get("hf_hub_id") or config.get("url")):
        raise DataError(f"timm has no weights of {name}: give a file", parameter="weights")
    network: nn.Module = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay=hub_source(config)
    )
    return network.state_dict()


def _published(name: NetworkName) -> Weights:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        weights: Weights = _torchvision_weights(name.name).get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    return weights
