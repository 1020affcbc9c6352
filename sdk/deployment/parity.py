"""What the files of an export say beside torch, image by image: a page, a CSV file, and JSON.

The files are those that were tried last, also where the export was refused.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from jinja2 import Environment
from numpy.typing import NDArray

from leansight.exporters.verification.compare import REJECTED, Decisions, judge
from leansight.exporters.verification.report import Verification
from leansight.runtime.bundle import Bundle, describe_precision
from leansight.runtime.errors import DataError
from leansight.runtime.system.whole_files import whole_folder
from leansight.sdk.data.lists import LABEL_SEPARATOR
from leansight.sdk.data.samples import Sample
from leansight.sdk.evaluation import figures
from leansight.sdk.evaluation.figures import thumbnail
from leansight.sdk.system.files import write_json, write_text

PAGE: Final = "parity.html"
SHOWN: Final = 60  # images on the page
NOTHING: Final = {"classification": "not sure", "multilabel": "nothing"}


def refuse_folder(out: Path) -> None:
    """Raise DataError if there is anything but an empty folder at `out`."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists already: choose another folder", parameter="report")


@dataclass(frozen=True, kw_only=True)
class FormatAnswers:
    """What one format says of one image, and whether torch decides so as well.

    `labels` are those that it gives, `probabilities` the best class's; with many labels those of
    the labels that are not decided alike.
    """

    name: str
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    as_torch: bool


@dataclass(frozen=True, kw_only=True)
class Parity:
    """What was verified of a bundle's files on `samples`; `refusal` is "" where they were kept."""

    bundle: Bundle
    verified: Verification
    samples: Sequence[Sample]
    refusal: str = ""

    @cached_property
    def judged(self) -> dict[str, Decisions]:
        """What each format decided, torch first."""
        bundle, classes, decision = self.bundle, self.verified.classes, self.verified.decision
        return {
            name: judge(logits, classes, decision, bundle.labels, bundle.task)
            for name, logits in self.verified.logits.items()
        }

    @cached_property
    def torch(self) -> Decisions:
        """What torch decided."""
        return next(iter(self.judged.values()))

    @property
    def shipped(self) -> list[Decisions]:
        """What the files that are shipped decided."""
        return [self.judged[name] for name in self.verified.report.shipped]

    @cached_property
    def alike(self) -> NDArray[np.bool_]:
        """Where the shipped decide alike: (N,), with many labels (N, K)."""
        first = self.shipped[0].decisions
        alike: NDArray[np.bool_] = np.all([f.decisions == first for f in self.shipped], axis=0)
        return alike

    @cached_property
    def apart(self) -> NDArray[np.bool_]:
        """Where a shipped file decides otherwise than torch or than the other; as `alike`."""
        torch = self.torch.decisions
        apart: NDArray[np.bool_] = np.any([f.decisions != torch for f in self.shipped], axis=0)
        return apart

    @cached_property
    def differences(self) -> NDArray[np.float64]:
        """By how much a shipped file's probability is another than torch's at most, (N,)."""
        by_file = [np.abs(f.probabilities - self.torch.probabilities) for f in self.shipped]
        largest: NDArray[np.float64] = np.max(by_file, axis=(0, 2))
        return largest

    @cached_property
    def differing(self) -> NDArray[np.int64]:
        """The images on which decisions differ, those with the largest differences first."""
        found = np.flatnonzero(self.apart.reshape(len(self.samples), -1).any(axis=1))
        return found[np.argsort(-self.differences[found], kind="stable")]

    def labels_apart(self, index: int) -> tuple[str, ...]:
        """Return which of many labels are not decided alike; with one label an image none."""
        if self.bundle.task == "classification":
            return ()
        return tuple(self.bundle.labels[k] for k in np.flatnonzero(self.apart[index]))

    def answers(self, index: int) -> Iterator[FormatAnswers]:
        """Give what each format says of an image, torch first."""
        for name, found in self.judged.items():
            probabilities, decision = found.probabilities[index], found.decisions[index]
            if self.bundle.task == "classification":
                given = np.array([decision] if decision != REJECTED else [], np.int64)
                shown = probabilities.argmax(keepdims=True)
            else:
                given, shown = np.flatnonzero(decision), np.flatnonzero(self.apart[index])
            yield FormatAnswers(
                name=name,
                labels=tuple(self.bundle.labels[k] for k in given),
                probabilities=tuple(float(probabilities[k]) for k in shown),
                as_torch=bool(np.all(decision == self.torch.decisions[index])),
            )


def measure_parity(parity: Parity) -> dict[str, Any]:
    """Return all figures as plain JSON values; classes that lost most come first."""
    report = parity.verified.report
    classes = [_measure_class(parity, k) for k in range(len(parity.bundle.labels))]
    return {
        "name": parity.bundle.name,
        "task": parity.bundle.task,
        "refusal": parity.refusal or None,
        "shipped": list(report.shipped),
        "precision": describe_precision(parity.bundle.precision, len(report.float_layers)),
        "tested": report.tested,
        **report.to_dict(),
        "differing_images": len(parity.differing),
        "classes": sorted(classes, key=lambda row: _badness(row, report.shipped), reverse=True),
    }


def write_parity(parity: Parity, data: Path, out: Path) -> None:
    """Write parity.json, differences.csv and parity.html to the folder `out`, whole or not at all.

    `data` holds the images of `parity.samples`.

    Raises:
        DataError: there is something at `out` already, or an image cannot be read.

    """
    refuse_folder(out)
    with whole_folder(out) as part:
        figures_of_all = measure_parity(parity)
        write_json(part / "parity.json", figures_of_all)
        _write_differences(parity, part / "differences.csv")
        write_text(part / PAGE, _page(parity, figures_of_all, data))


def _measure_class(parity: Parity, k: int) -> dict[str, Any]:
    """Return how one class fares in each format: of its images, or of its label on all images."""
    classes = parity.verified.classes
    chosen: Any = classes == k if classes.ndim == 1 else (slice(None), k)
    there = int((classes == k).sum() if classes.ndim == 1 else classes[:, k].sum())
    equal = {name: f.decisions == parity.torch.decisions for name, f in parity.judged.items()}
    return {
        "label": parity.bundle.labels[k],
        "images": there,
        "accuracy": {name: _share(f.right[chosen]) for name, f in parity.judged.items()},
        "agreement": {name: _share(same[chosen]) for name, same in equal.items()},
        "shipped_agreement": _share(parity.alike[chosen]),
        "lost": {
            name: int((parity.torch.right[chosen].astype(int) - f.right[chosen]).sum())
            for name, f in parity.judged.items()
        },
    }


def _share(values: NDArray[np.bool_]) -> float | None:
    return round(float(values.mean()), 6) if values.size else None


def _badness(row: dict[str, Any], shipped: Sequence[str]) -> tuple[bool, float, float]:
    """Of small classes one image is many points: those that lost more come first."""
    accuracy = row["accuracy"]
    if None in accuracy.values():
        return (False, -2.0, -2.0)
    torch, *_ = accuracy.values()
    drop = max(torch - accuracy[name] for name in shipped)
    lost = max(row["lost"][name] for name in shipped)
    return (lost > 1, drop, -min(row["agreement"][name] for name in shipped))


def _write_differences(parity: Parity, file: Path) -> None:
    """Write one row for each image on which a shipped file decides otherwise."""
    header = ["path", "label", "differs in", "largest difference"]
    for name in parity.judged:
        header += [name, f"{name} probability"]
    with file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        for index in parity.differing:
            sample, difference = parity.samples[index], f"{parity.differences[index]:.6f}"
            apart = LABEL_SEPARATOR.join(parity.labels_apart(index))
            row = [sample.path.as_posix(), LABEL_SEPARATOR.join(sample.labels), apart, difference]
            for answer in parity.answers(index):
                row.append(LABEL_SEPARATOR.join(answer.labels) or NOTHING[parity.bundle.task])
                row.append(LABEL_SEPARATOR.join(f"{p:.6f}" for p in answer.probabilities))
            writer.writerow(row)


def _page(parity: Parity, measured: dict[str, Any], data: Path) -> str:
    """Return the page, which needs no other file."""
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        files("leansight.sdk.deployment").joinpath("parity.html").read_text()
    )
    shown = [
        {
            "sample": parity.samples[index],
            "thumbnail": thumbnail(data, parity.samples[index]),
            "apart": parity.labels_apart(index),
            "answers": list(parity.answers(index)),
        }
        for index in parity.differing[:SHOWN]
    ]
    return page.render(
        parity=measured,
        scores=parity.verified.report.scores,
        pictures=_draw(parity),
        shown=shown,
        nothing=NOTHING[parity.bundle.task],
    )


def _draw(parity: Parity) -> dict[str, str]:
    """Return a picture of the probabilities of each shipped file, SVG text by its name."""
    exact = parity.torch.probabilities
    if parity.bundle.task == "classification":  # of the class that torch holds for the best
        best: Any = (np.arange(len(exact)), exact.argmax(axis=1))
    else:
        best = (slice(None), slice(None))
    return {
        name: figures.draw_beside(
            exact[best].ravel(),
            found.probabilities[best].ravel(),
            (found.decisions != parity.torch.decisions).ravel(),
        )
        for name, found in zip(parity.verified.report.shipped, parity.shipped, strict=True)
    }
