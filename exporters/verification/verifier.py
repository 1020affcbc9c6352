"""Runs torch and both files on the same images, and compares what they decide."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

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
from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.interpreter import Format, load_interpreter


class Verifier:
    """Compares files with torch by their decisions on `images`.

    What is float is run once, whatever is tried in int8; the float files only where they are
    shipped, or with `float_files`; torch not where its logits (N, K) are given, as `exact`.
    """

    def __init__(
        self,
        network: nn.Module,
        floats: FloatGraphs,
        draft: Bundle,
        images: LabelledImages,
        progress: StepProgress,
        *,
        float_files: bool,
        exact: NDArray[np.float32] | None = None,
    ) -> None:
        self._network, self._exact = network, exact
        self._floats = floats.files if float_files or draft.precision == "float32" else {}
        self._draft, self._images, self._progress = draft, images, progress

    def run(self, files: Mapping[Format, bytes]) -> dict[str, NDArray[np.float32]]:
        """Return the logits (N, K) of torch, and of files of the draft's precision, by name."""
        if self._draft.precision == "float32":
            return self._float_logits
        return self._float_logits | self._run(files, "int8")

    def compare(
        self,
        files: Mapping[Format, bytes],
        logits: Mapping[str, NDArray[np.float32]],
        decision: DecisionPolicy,
    ) -> Verification:
        """Compare what files of the draft's precision decide of their logits with torch."""
        draft, shipped = self._draft, {self.name_of(kind): len(files[kind]) for kind in files}
        report = compare(
            logits,
            {f"{kind} float32": len(model) for kind, model in self._floats.items()} | shipped,
            self._images,
            labels=draft.labels,
            policy=decision,
            task=draft.task,
            shipped=tuple(shipped),
        )
        classes = self._images.classes
        return Verification(report=report, decision=decision, logits=logits, classes=classes)

    def name_of(self, kind: Format) -> str:
        """Return what the file of a format is called, such as "tflite int8"."""
        return f"{kind} {self._draft.precision}"

    @cached_property
    def _float_logits(self) -> dict[str, NDArray[np.float32]]:
        exact = self._exact
        if exact is None:
            exact = predict(self._network, self._images.pixels, self._step("torch float32"))
        return {"torch float32": exact} | self._run(self._floats, "float32")

    def _run(
        self, files: Mapping[Format, bytes], precision: Precision
    ) -> dict[str, NDArray[np.float32]]:
        """Return the logits of each file; all run side by side, each in one thread."""

        def run(kind: Format) -> tuple[str, NDArray[np.float32]]:
            name = f"{kind} {precision}"
            interpreter = load_interpreter(files[kind], kind, threads=1, name=name)
            return name, run_all(interpreter, self._images.pixels, self._step(name))

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            return dict(pool.map(run, files))

    def _step(self, name: str) -> Callable[[int, int], None]:
        return lambda n, of: self._progress(f"verifying {name}", n, of)
