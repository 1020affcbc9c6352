"""From a trained network to a verified int8 bundle: quantize, convert, verify, write.

Importing it loads nothing: torch and the converters come with the first name that needs them.
"""

from typing import TYPE_CHECKING

from leansight.runtime.lazy import import_on_first_use

if TYPE_CHECKING:
    from leansight.exporters.errors import ConversionError, PruningError
    from leansight.exporters.export import ExportImages, export_network
    from leansight.exporters.importers.normalisation import Normalisation, normalised
    from leansight.exporters.importers.onnx_reader import OnnxClassifier, read_onnx
    from leansight.exporters.options import (
        EFFORTS,
        TARGETS,
        Effort,
        ExportOptions,
        ExportRefusedError,
        ImportMistakeError,
        NextEffort,
        Promise,
        StepProgress,
        Target,
    )
    from leansight.exporters.pruning.allocation import spread_evenly, spread_globally
    from leansight.exporters.pruning.channels import (
        ChannelGroup,
        Importance,
        count_macs,
        prune,
        score_channels,
    )
    from leansight.exporters.verification.report import (
        ExportReport,
        FormatReport,
        LabelledImages,
        Verification,
    )
    from leansight.exporters.verification.score_calibration import (
        ScoreCalibration,
        ThresholdReport,
    )
    from leansight.exporters.verification.skill import Skill, measure_skill
else:
    __getattr__, __dir__ = import_on_first_use(
        __name__,
        {
            "errors": "ConversionError PruningError",
            "export": "ExportImages export_network",
            "importers.normalisation": "Normalisation normalised",
            "importers.onnx_reader": "OnnxClassifier read_onnx",
            "options": "EFFORTS Effort ExportOptions ExportRefusedError ImportMistakeError "
            "NextEffort Promise StepProgress TARGETS Target",
            "pruning.allocation": "spread_evenly spread_globally",
            "pruning.channels": "ChannelGroup Importance count_macs prune score_channels",
            "verification.report": "ExportReport FormatReport LabelledImages Verification",
            "verification.score_calibration": "ScoreCalibration ThresholdReport",
            "verification.skill": "Skill measure_skill",
        },
        extra="export",
    )

__all__ = [
    "EFFORTS",
    "TARGETS",
    "ChannelGroup",
    "ConversionError",
    "Effort",
    "ExportImages",
    "ExportOptions",
    "ExportRefusedError",
    "ExportReport",
    "FormatReport",
    "ImportMistakeError",
    "Importance",
    "LabelledImages",
    "NextEffort",
    "Normalisation",
    "OnnxClassifier",
    "Promise",
    "PruningError",
    "ScoreCalibration",
    "Skill",
    "StepProgress",
    "Target",
    "ThresholdReport",
    "Verification",
    "count_macs",
    "export_network",
    "measure_skill",
    "normalised",
    "prune",
    "read_onnx",
    "score_channels",
    "spread_evenly",
    "spread_globally",
]
