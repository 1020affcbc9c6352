"""Import a package that belongs to an extra, or say which line brings it."""

import importlib
import importlib.util
import os
import re
from types import ModuleType
from typing import Any, Final

from leansight.runtime.errors import MissingExtraError
from leansight.runtime.pixels.opencv import Cv2
from leansight.runtime.system.standard_error import drop_lines

# How ONNX Runtime begins a line of its log, in colour or without.
_ONNX_RUNTIME_LOG: Final = re.compile(rb"(\x1b\[[\d;]*m)*\d{4}-\d\d-\d\d .*onnxruntime")

# OpenCV reads it when it is loaded, and refuses a larger image before it takes memory for it.
MAX_PIXELS_VARIABLE: Final = "OPENCV_IO_MAX_IMAGE_PIXELS"
MAX_PIXELS: Final = 100_000_000


def require(
    module: str, *, package: str, extra: str | None, system_package: str | None = None
) -> ModuleType:
    """Return the imported `module`.

    OpenCV, interpreters and the training libraries are imported at their first use, so that
    a Pi installs only what it runs.

    Raises:
        MissingExtraError: the module is absent, or a library that it needs is.

    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(package, extra, system_package) from error


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


def onnx_runtime() -> Any:
    """Return `onnxruntime`, whose import logs that there is no GPU on machines that have none."""
    with drop_lines(lambda line: _ONNX_RUNTIME_LOG.match(line) is not None):
        return require("onnxruntime", package="ONNX Runtime", extra="onnx")
