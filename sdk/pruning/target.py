"""How small a pruned network has to be, and what one costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from torch import Tensor, nn

from leansight.benchmarks.machines import Machine
from leansight.benchmarks.measure import measure_models
from leansight.benchmarks.models import find_models
from leansight.benchmarks.picture import synthetic_image
from leansight.exporters.conversion.convert import convert, example_image
from leansight.exporters.int8.calibrated_network import quantize
from leansight.exporters.options import StepProgress
from leansight.exporters.pruning.allocation import measure_sensitivity, search
from leansight.exporters.pruning.channels import ChannelGroup, Loss, count_macs, prune
from leansight.runtime.bundle import Bundle, write_bundle
from leansight.runtime.errors import DataError
from leansight.runtime.system.whole_files import scratch_folder
from leansight.sdk.data.images import ImageSet
from leansight.sdk.runs.run import Run

Kind = Literal["share", "global share", "macs", "size", "latency"]
_CALIBRATION_IMAGES: Final = 32  # for size and latency, which do not depend on the ranges
_RUNS: Final = 100
# What amounts are written in.
_UNITS: Final[Mapping[Kind, tuple[float, str]]] = {
    "macs": (1e6, "M multiply-accumulates"),
    "size": (1e3, "KB"),
    "latency": (1.0, "ms"),
}


@dataclass(frozen=True, kw_only=True)
class PruningTarget:
    """How small the network is to be.

    `value`: the share of channels that go (0 to 1) of every group, or of all of them wherever
    they matter least; or how many multiply-accumulates, bytes of the int8 file or milliseconds
    (int8 TFLite, one thread, median) may be left; milliseconds of this machine, or of the one that
    `on` and `remote_python` name (see `machine_at`).
    """

    kind: Kind
    value: float
    on: str | None = None
    remote_python: str | None = None

    def __post_init__(self) -> None:
        if self.kind != "latency" and (self.on, self.remote_python) != (None, None):
            raise DataError(
                "a machine is for the latency: nothing else is measured on one", parameter="on"
            )

    def say(self, amount: float) -> str:
        """Write multiply-accumulates, bytes or milliseconds as people do."""
        factor, unit = _UNITS[self.kind]
        return f"{round(amount / factor, 3):g} {unit}"


def cost(network: nn.Module, kind: Kind, run: Run, sample: ImageSet, machine: Machine) -> float:
    """Return the multiply-accumulates, bytes or milliseconds of a network of the run's kind.

    Milliseconds are those of the machine, as `leansight bench` measures them.
    """
    preprocessing = run.recipe.preprocessing
    if kind == "macs":
        return count_macs(network, example_image(run.recipe.preprocessing))
    pixels = sample.pixels[:_CALIBRATION_IMAGES]
    model = quantize(convert(network, preprocessing), pixels, lambda *_: None)["tflite"]
    if kind == "size":
        return len(model)
    with scratch_folder() as folder:
        bundle = Bundle(
            path=folder / "pruned.bundle",
            name=run.recipe.name,
            task=run.recipe.task,
            labels=run.labels,
            preprocessing=preprocessing,
            decision=run.recipe.decision,
            precision="int8",
        )
        models = find_models([write_bundle(bundle, {"model.tflite": model}).path])
        image = synthetic_image()
        (result,) = measure_models(models, image, runs=_RUNS, on=machine)
    return result.latency_ms.inference.p50


HEAD: Final = ("head",)  # whose channels are the classes


def prune_to_target(
    target: PruningTarget,
    network: nn.Module,
    example: Tensor,
    groups: Sequence[ChannelGroup],
    loss: Loss,
    cost_of: Callable[[nn.Module], float],
    progress: StepProgress,
) -> nn.Module:
    """Return the network, cut where it hurts least until it costs what it may."""

    def cut(channels: Mapping[str, int]) -> nn.Module:
        return prune(network, example, groups, channels, outputs=HEAD)

    cuts = measure_sensitivity(
        network,
        example,
        groups,
        outputs=HEAD,
        loss=loss,
        progress=partial(progress, "measuring each layer's worth"),
    )
    kept = search(
        cuts,
        lambda channels: cost_of(cut(channels)),
        target.value,
        say=target.say,
        progress=partial(progress, "trying what is small enough"),
    )
    return cut(kept)
