"""Import a package that belongs to an extra, or say which line brings it."""

import importlib
import importlib.util
import os
import re
import sys
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, Final

import numpy as np

from leansight.runtime.errors import BrokenPackageError, MissingExtraError
from leansight.runtime.pixels.opencv import Cv2
from leansight.runtime.system.standard_error import drop_if_it_fails, drop_lines

# How ONNX Runtime begins a line of its log, in colour or without. Debian's registers its operators
# twice, and tells of each in a line with an empty one after it.
_ONNX_RUNTIME_LOG: Final = re.compile(
    rb"(\x1b\[[\d;]*m)*\d{4}-\d\d-\d\d .*onnxruntime|Schema error: .* already registered|\s*$"
)

# Raspberry Pi OS trixie's: the first Debian that has ONNX Runtime itself.
_TRIXIE_PYTHON: Final = (3, 13)

# What an extension module raises that was built for numpy 1, where numpy 2 is installed.
_NUMPY_1_BINARY: Final = re.compile(
    r"numpy\.core\.multiarray failed|_ARRAY_API not found|against ABI version|using NumPy 1"
)
_APT_PACKAGES: Final = "/usr/lib/python3/dist-packages/"  # where Debian puts them

# OpenCV reads it when it is loaded, and refuses a larger image before it takes memory for it.
MAX_PIXELS_VARIABLE: Final = "OPENCV_IO_MAX_IMAGE_PIXELS"
MAX_PIXELS: Final = 100_000_000

# ONNX Runtime (1.32) and the Hugging Face hub tell their makers what they are used for unless
# these are set before they are imported.
_NO_TELEMETRY: Final = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def require(
    module: str, *, package: str, extra: str | None, system_package: str | None = None
) -> ModuleType:
    """Return the imported `module`.

    OpenCV, interpreters and the training libraries are imported at their first use, so that
    a Pi installs only what it runs.

    Raises:
        MissingExtraError: the module is absent.
        BrokenPackageError: the module is there, and its import raises something.

    """
    if sys.modules.get(module) is not None:  # each frame comes here
        return importlib.import_module(module)  # waits for a thread that is importing it
    try:
        with drop_if_it_fails():
            return importlib.import_module(module)
    except Exception as error:  # a library's first lines can raise anything
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise MissingExtraError(package, extra, system_package) from error
        remedy = f"pip install --force-reinstall 'leansight[{extra}]'"
        if system_package and (not extra or _is_from_apt(module)):
            remedy = f"sudo apt install --reinstall {system_package}"
        raise _broken(package, error, remedy) from error


def _broken(package: str, error: Exception, remedy: str) -> BrokenPackageError:
    """Return the error of a package whose import raised `error`."""
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
    if _NUMPY_1_BINARY.search(str(error)) and not np.__version__.startswith("1."):
        reason += f" (it was built for numpy 1, and numpy {np.__version__} is installed)"
        remedy = "pip install 'numpy<2'"
    return BrokenPackageError(
        f"{package} is installed but cannot be imported: {reason}. Type: {remedy}"
    )


def _is_from_apt(module: str) -> bool:
    spec = importlib.util.find_spec(module.partition(".")[0])
    return spec is not None and str(spec.origin).startswith(_APT_PACKAGES)


def check_installed(*packages: str, extra: str) -> None:
    """Raise MissingExtraError for the first absent package, without importing any."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, extra)


def max_pixels() -> int:
    """Return the most pixels that an image may have; OpenCV also reads suffixes, such as 200MB."""
    text = os.environ.get(MAX_PIXELS_VARIABLE, "")
    return int(text) if text.isdigit() else MAX_PIXELS


def opencv() -> Cv2:
    """Return `cv2`, from pip's opencv-python-headless or from apt's python3-opencv."""
    os.environ.setdefault(MAX_PIXELS_VARIABLE, str(MAX_PIXELS))
    module: Any = require("cv2", package="OpenCV", extra="opencv", system_package="python3-opencv")
    cv2: Cv2 = module
    return cv2


def without_telemetry() -> None:
    """Have libraries send nothing of their own, in this process and in those that it starts."""
    os.environ.update(_NO_TELEMETRY)


def without_onnx_runtime_log() -> AbstractContextManager[None]:
    """Keep what ONNX Runtime logs, of its import and of a model's loading, off standard error."""
    return drop_lines(lambda line: _ONNX_RUNTIME_LOG.match(line) is not None)


def onnx_runtime() -> Any:
    """Return `onnxruntime`, whose import logs that there is no GPU on machines that have none.

    Its telemetry is off: it would write below the home folder, send what it is used for, and have
    a thread that a forked process waits for.
    """
    without_telemetry()
    with without_onnx_runtime_log():
        return require(
            "onnxruntime",
            package="ONNX Runtime",
            extra="onnx",
            system_package="python3-onnxruntime" if sys.version_info >= _TRIXIE_PYTHON else None,
        )
