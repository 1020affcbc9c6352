"""Networks of torch become ONNX: modules, and programs that torch.export has saved (.pt2)."""

import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from leansight.exporters.conversion.convert import quiet
from leansight.exporters.errors import ConversionError
from leansight.runtime.errors import BundleError
from leansight.runtime.system.whole_files import raise_error_of_disk

OPSET: Final = 17
_ONLY_WEIGHTS: Final = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # torch.load runs no code of a file then
_OPERATORS: Final = ("torch.ops.aten.", "_operator.", "math.", "torch.sym_")
_BLOCKS: Final = frozenset(
    {
        "torch.ops.higher_order.wrap_with_set_grad_enabled",
        "torch.ops.higher_order.wrap_with_autocast",
    }
)
# What sizes are written with; torch hands them to Python's eval.
_SIZE_WORDS: Final = frozenset(
    {
        *("Symbol", "positive", "integer", "nonnegative", "True", "False", "Integer"),
        *("Add", "Mul", "Pow", "Max", "Min", "Mod", "FloorDiv"),
    }
)
_SIZE: Final = re.compile(r"[\w\s'=,()+*/<>-]*")
_GUARD: Final = re.compile(
    r"(L\['\w+'\]\.size\(\)\[\d+\]|and|or|not|[\d\s()+*/%<>=!-])*"
)  # what sizes must be
_SYMBOL: Final = re.compile(r"[su]\d+")
_MODEL: Final = re.compile(r"[^/]+/models/[^/]+\.json")
# What torch.export.save writes of a network of tensors.
_PART: Final = re.compile(
    r"[^/]+/(models/[^/]+\.json|data/(weights|constants)/((weight|tensor)_\d+|[^/]+_config\.json)"
    r"|data/sample_inputs/[^/]+\.pt|archive_(format|version)|byteorder|version|\.(data|format).*)"
)


def write_network(network: nn.Module, shape: tuple[int, ...], target: Path) -> None:
    """Write a network that takes `shape` (1, C, S, S) as ONNX.

    By torch's older exporter, which takes a tenth of the newer one's time; both give files that
    compute the same.

    Raises:
        ConversionError: torch cannot write the network.

    """
    with quiet():
        try:
            torch.onnx.export(
                network.eval(),
                (torch.zeros(shape),),
                str(target),
                dynamo=False,
                opset_version=OPSET,
                input_names=["image"],
                output_names=["logits"],
            )
        except Exception as error:  # what it raises has no class in common
            raise_error_of_disk(error)
            raise ConversionError(f"torch cannot write it as ONNX: {_first_line(error)}") from error


def convert_program(source: Path, target: Path) -> None:
    """Write a program that torch.export.save has written (.pt2) as ONNX, running no code of it.

    Raises:
        BundleError: it is no such file.
        ConversionError: it holds other objects than tensors, or operators that are not torch's
            own; or torch cannot read it or write it as ONNX.

    """
    _require_harmless(source)
    with quiet(), _only_weights():
        try:
            program = torch.export.load(source)
        except Exception as error:  # what it raises has no class in common
            raise_error_of_disk(error)
            raise ConversionError(
                f"torch {torch.__version__} cannot read {source}: {_first_line(error)}"
            ) from error
        try:
            written = torch.onnx.export(program, dynamo=True, verbose=False)
            assert written is not None
            written.save(target)
        except Exception as error:  # see above
            raise_error_of_disk(error)
            raise ConversionError(
                f"torch cannot write {source} as ONNX: {_first_line(error)}"
            ) from error


def _require_harmless(source: Path) -> None:
    """Refuse what torch.export.load would run: pickles, libraries, texts for Python's eval."""
    try:
        with zipfile.ZipFile(source) as archive:
            names = archive.namelist()
            texts = [archive.read(name) for name in names if name.endswith(".json")]
    except (OSError, zipfile.BadZipFile) as error:
        raise BundleError(
            f"{source} is no program that torch.export.save has written: {_first_line(error)}"
        ) from error
    if not any(_MODEL.fullmatch(name) for name in names):
        raise BundleError(f"{source} is no program that torch.export.save of torch 2.9 has written")
    if strange := [name for name in names if not _PART.fullmatch(name)]:
        raise ConversionError(f"{source} holds {strange[0]}, which is no tensor: it is not read")
    for text in texts:
        for entry in _entries(json.loads(text)):
            _require_harmless_entry(entry, source)


def _require_harmless_entry(entry: Mapping[str, Any], source: Path) -> None:
    target, size = entry.get("target"), entry.get("expr_str", "")
    if isinstance(target, str) and not (target.startswith(_OPERATORS) or target in _BLOCKS):
        raise ConversionError(f"{source} has the operator {target}, which is not torch's own")
    if entry.get("use_pickle"):
        raise ConversionError(f"{source} holds a pickled tensor, which is not read")
    words = [word for word in re.findall(r"[^\W\d]\w*", size) if not _SYMBOL.fullmatch(word)]
    known = _SIZE.fullmatch(size) and set(words) <= _SIZE_WORDS
    if strange := [size] * (not known) + [
        guard for guard in entry.get("guards_code", ()) if not _GUARD.fullmatch(guard)
    ]:
        raise ConversionError(
            f"{source} has sizes that are computed ({strange[0]}): export it for images of one size"
        )


def _entries(value: object) -> Iterator[Mapping[str, Any]]:
    """Give every object of a JSON text."""
    parts: list[object] = []
    if isinstance(value, dict):
        yield value
        parts = [*value.values()]
    if isinstance(value, list):
        parts = value
    for part in parts:
        yield from _entries(part)


@contextmanager
def _only_weights() -> Iterator[None]:
    """Let torch.load run nothing that a file holds, whoever calls it."""
    before = os.environ.get(_ONLY_WEIGHTS)
    os.environ[_ONLY_WEIGHTS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ONLY_WEIGHTS]
        else:
            os.environ[_ONLY_WEIGHTS] = before


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__
