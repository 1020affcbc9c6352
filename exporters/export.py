"""From a trained network to a verified bundle, or to a refusal."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from leansight.exporters.calibration import calibrate
from leansight.exporters.convert import FloatGraphs, convert, predict
from leansight.exporters.model_card import model_card
from leansight.exporters.onnx_int8 import quantize_onnx
from leansight.exporters.pairing import pair_tensors
from leansight.exporters.tflite_graph import TfliteGraph
from leansight.exporters.tflite_int8 import quantize_tflite, require_integers
from leansight.exporters.verification import (
    ExportReport,
    LabelledImages,
    compare,
    run_all,
)
from leansight.runtime.bundle import Bundle, refuse_existing, write_bundle
from leansight.runtime.interpreter import Format, load_interpreter
from leansight.runtime.preprocessing import Image

# Told the step's name, and how many of how many are done.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class ExportImages:
    """The images that an export needs.

    `calibration` (N, S, S, C) uint8 finds the ranges and comes from training; `validation`
    decides whether the bundle is written; `test` is only reported; `golden` are a few photos
    as a camera gives them, (H, W, 3) uint8 BGR, that travel with the bundle.
    """

    calibration: Image
    validation: LabelledImages
    test: LabelledImages | None = None
    golden: Sequence[Image] = ()


def export(
    network: nn.Module, draft: Bundle, images: ExportImages, *, max_drop: float, progress: Progress
) -> dict[str, ExportReport]:
    """Write the bundle that `draft` describes; return what was verified, by set of images.

    Args:
        network: takes (N, C, S, S) float32 of (pixel - 128) / 128, returns logits (N, K).
        draft: path, name, labels, task, preprocessing, decision, precision and provenance.
        images: see `ExportImages`.
        max_drop: accuracy that each format may lose against torch, in points.
        progress: told of every step.

    Raises:
        ExportRefusedError: the promise is not kept; nothing is written.
        BundleError: something is at the bundle's path already.
        ConversionError: the two formats cannot be made one network.

    """
    refuse_existing(draft.path)
    progress("converting to ONNX and TFLite", 0, 1)
    floats = convert(network, draft.preprocessing)
    progress("converting to ONNX and TFLite", 1, 1)
    models: dict[str, dict[Format, bytes]] = {
        "float32": {"tflite": floats.tflite, "onnx": floats.onnx}
    }
    if draft.precision == "int8":
        models["int8"] = quantize(floats, images.calibration, progress)
    reports = {
        what: verify(network, draft, models, part, progress)
        for what, part in (("validation", images.validation), ("test", images.test))
        if part is not None
    }
    reports["validation"].require(max_drop=max_drop)
    shipped = models[draft.precision]
    metrics = {what: report.to_dict() for what, report in reports.items()}
    bundle = replace(draft, metrics=metrics)
    contents = {f"model.{kind}": model for kind, model in shipped.items()}
    contents["golden.npz"] = golden_file(bundle, shipped, images.golden)
    contents["README.md"] = model_card(bundle, reports["validation"]).encode()
    write_bundle(bundle, contents)
    return reports


def quantize(floats: FloatGraphs, pixels: Image, progress: Progress) -> dict[Format, bytes]:
    """Return the int8 network in both formats, from one calibration on (N, S, S, C) uint8.

    Raises:
        ConversionError: a layer cannot be int8, or not the same in both formats.

    """
    graph, onnx_model = TfliteGraph(floats.tflite), onnx.load_from_string(floats.onnx)
    ranges = calibrate(graph, pixels, lambda n, of: progress("calibrating", n, of))
    tflite = quantize_tflite(floats.tflite, graph, ranges)
    require_integers(quantized := TfliteGraph(tflite))
    partners = pair_tensors(onnx_model, graph, pixels)
    return {"tflite": tflite, "onnx": quantize_onnx(onnx_model, quantized, partners)}


def verify(
    network: nn.Module,
    draft: Bundle,
    models: Mapping[str, Mapping[Format, bytes]],
    images: LabelledImages,
    progress: Progress,
) -> ExportReport:
    """Run torch and every file on the same images and compare their decisions."""
    logits = {
        "torch float32": predict(
            network, images.pixels, lambda n, of: progress("verifying torch float32", n, of)
        )
    }
    sizes = {}
    for precision, files in models.items():
        for kind, model in files.items():
            name = f"{kind} {precision}"
            sizes[name] = len(model)
            interpreter = load_interpreter(model, kind, threads=torch.get_num_threads(), name=name)
            logits[name] = run_all(
                interpreter,
                images.pixels,
                lambda n, of, name=name: progress(f"verifying {name}", n, of),  # type: ignore[misc]
            )
    return compare(
        logits,
        sizes,
        images,
        labels=draft.labels,
        policy=draft.decision,
        task=draft.task,
        shipped=tuple(f"{kind} {draft.precision}" for kind in models[draft.precision]),
    )


def golden_file(bundle: Bundle, models: Mapping[Format, bytes], photos: Sequence[Image]) -> bytes:
    """Return an .npz of photos with the pixels and logits that they must give everywhere."""
    arrays: dict[str, NDArray[Any]] = {f"photo_{i:02}": photo for i, photo in enumerate(photos)}
    pixels = [bundle.preprocessing(photo) for photo in photos]
    arrays["pixels"] = np.concatenate(pixels) if pixels else np.empty((0,), np.uint8)
    for kind, model in models.items():
        interpreter = load_interpreter(model, kind)
        arrays[f"logits_{kind}"] = np.array([interpreter(p) for p in pixels], np.float32)
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()
