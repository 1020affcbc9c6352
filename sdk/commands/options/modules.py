"""The modules that a kind of command needs, by their import names; an extra brings them."""

from typing import Final

TRAINING_MODULES: Final = (
    *("torch", "torchvision", "pytorch_lightning", "torchmetrics", "timm", "rich"),
)
EXPORT_MODULES: Final = (
    *("torch", "litert_torch", "onnx", "onnxscript", "onnxruntime", "scipy", "rich"),
)
EVALUATION_MODULES: Final = (
    *("torch", "torchmetrics", "sklearn", "scipy", "matplotlib", "jinja2", "cleanlab"),
)
