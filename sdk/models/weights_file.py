"""Files of weights: read without running code that they hold, and held against a network."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from leansight.runtime.errors import DataError
from leansight.sdk.models.backbones import Weights, used_keys

_SHOWN: Final = 3  # of what does not fit
# How training scripts wrap a state dict; of two the first, which is the smoothed one (EMA).
_WRAPPERS: Final = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")


def read_weights(file: Path) -> Weights:
    """Return the named tensors of a .pth, .pt, .ckpt or .safetensors file.

    Code that the file holds is never run. A state dict may be wrapped as training scripts do it.

    Raises:
        DataError: the file is missing, cannot be read, or holds no state dict.

    """
    if not file.is_file():
        raise DataError(f"weights {file} do not exist", parameter="weights")
    try:
        if file.suffix == ".safetensors":
            return used_keys(_read_safetensors(file))
        values = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        reason = first_line(error)
        if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(file):
            reason = (
                "they hold more than tensors, such as a whole network (torch.save(network)), whose "
                "reading would run code: save network.state_dict() alone"
            )
        raise DataError(f"weights {file} cannot be read: {reason}", parameter="weights") from error
    for key in _WRAPPERS:
        if isinstance(values, Mapping) and isinstance(values.get(key), Mapping):
            values = values[key]
    if not isinstance(values, Mapping) or not all(map(torch.is_tensor, values.values())):
        raise DataError(f"weights {file} are no state dict: save network.state_dict()")
    if not values:
        raise DataError(f"weights {file} are empty", parameter="weights")
    return used_keys(values)


def _read_safetensors(file: Path) -> Weights:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except SafetensorError as error:  # derived from nothing but Exception
        raise RuntimeError(str(error)) from error


def without_prefix(weights: Weights, network: nn.Module) -> dict[str, Tensor]:
    """Return weights by the names that a network has for them.

    Wrappers put something before every name: `module.` (DataParallel), `_orig_mod.`
    (torch.compile), `model.` (Lightning). What has another beginning is left out: a loss, a
    second copy.
    """
    expected = used_keys(network.state_dict())
    first = next(iter(expected))
    prefixes = ["", *(name.removesuffix(first) for name in weights if name.endswith(f".{first}"))]
    choices = [
        {name.removeprefix(p): value for name, value in weights.items() if name.startswith(p)}
        for p in prefixes
    ]
    return max(choices, key=lambda found: len(expected.keys() & found.keys()))


def fill(network: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Give a network its weights; DataError names what is missing, too much or of other shape.

    `what`: how the message calls weights and network.
    """
    expected = used_keys(network.state_dict())
    problems = [
        *(f"{name} is missing" for name in expected if name not in weights),
        *(
            f"{name} is {_shape(weights[name])}, not {_shape(tensor)}"
            for name, tensor in expected.items()
            if name in weights and weights[name].shape != tensor.shape
        ),
        *(f"{name} is not in the network" for name in weights if name not in expected),
    ]
    if problems:
        shown, rest = problems[:_SHOWN], len(problems) - _SHOWN
        more = f", and {rest} more" if rest > 0 else ""
        raise DataError(f"{what}: {', '.join(shown)}{more}", parameter="weights")
    network.load_state_dict(dict(weights), strict=False)


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "one number"


def first_line(error: BaseException) -> str:
    """Return what a library's error says first."""
    lines: list[Any] = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
