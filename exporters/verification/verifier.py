"""Runs both files on the images and holds them against the limits."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from leansight.exporters.conversion.convert import FloatGraphs
from leansight.exporters.conversion.inference import predict
from leansight.exporters.options import StepProgress
from leansight.exporters.verification.compare import compare, run_all
from leansight.exporters.verification.report import LabelledImages, Verification
from leansight.runtime.bundle import Bundle, Precision
from leansight.runtime.interpreter import Format, load_interpreter


class Verifier:
    """Runs torch and the files on the same images and compares their decisions.

    What is float is run once for each set of images, whatever is tried in int8.
    """

    def __init__(
        self,
        network: nn.Module,
        floats: FloatGraphs,
        draft: Bundle,
        progress: StepProgress,
        *,
        float_files: bool,
    ) -> None:
        self._network = network
        self._floats = floats.files if float_files or draft.precision == "float32" else {}
        self._draft, self._progress = draft, progress
        self._exact: dict[int, dict[str, NDArray[np.float32]]] = {}

    def __call__(self, files: Mapping[Format, bytes], images: LabelledImages) -> Verification:
        """Compare files of the draft's precision with torch."""
        draft = self._draft
        if id(images) not in self._exact:
            told = self._told("torch float32")
            exact = {"torch float32": predict(self._network, images.pixels, told)}
            self._exact[id(images)] = exact | self._run(self._floats, "float32", images)
        logits = self._exact[id(images)]
        sizes = {f"{kind} float32": len(model) for kind, model in self._floats.items()}
        if draft.precision == "int8":
            logits = logits | self._run(files, "int8", images)
        sizes |= {f"{kind} {draft.precision}": len(model) for kind, model in files.items()}
        report = compare(
            logits,
            sizes,
            images,
            labels=draft.labels,
            policy=draft.decision,
            task=draft.task,
            shipped=tuple(f"{kind} {draft.precision}" for kind in files),
        )
        return Verification(report=report, logits=logits, classes=images.classes)

    def _run(
        self, files: Mapping[Format, bytes], precision: Precision, images: LabelledImages
    ) -> dict[str, NDArray[np.float32]]:
        """Return the logits of each file; all run side by side, each in one thread."""

        def run(kind: Format) -> tuple[str, NDArray[np.float32]]:
            name = f"{kind} {precision}"
            interpreter = load_interpreter(files[kind], kind, threads=1, name=name)
            return name, run_all(interpreter, images.pixels, self._told(name))

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            return dict(pool.map(run, files))

    def _told(self, name: str) -> Callable[[int, int], None]:
        return lambda n, of: self._progress(f"verifying {name}", n, of)
