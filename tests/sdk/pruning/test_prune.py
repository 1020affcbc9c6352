"""Pruning takes out what is worth least, leaves the rest as it was, and what is left learns."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import shapes
import torch
from click.testing import CliRunner, Result
from torch import Tensor, nn
from torch.nn import functional

from leansight.exporters.errors import PruningError
from leansight.exporters.pruning.allocation import (
    Cut,
    measure_sensitivity,
    search,
    spread_evenly,
    spread_globally,
)
from leansight.exporters.pruning.channels import (
    ChannelGroup,
    Importance,
    count_macs,
    prune,
    score_channels,
)
from leansight.runtime.errors import DataError, LeansightError, MissingExtraError
from leansight.runtime.extras import require
from leansight.sdk.commands import cli
from leansight.sdk.models.build import build_network, load_network
from leansight.sdk.pruning import prune as pruning
from leansight.sdk.pruning.prune import ASKED, PRUNED, prune_run
from leansight.sdk.pruning.prune import LOCK as PRUNING_LOCK
from leansight.sdk.pruning.target import Kind, PruningTarget
from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.recipes.schema import ModelRecipe
from leansight.sdk.runs.begin import begin
from leansight.sdk.runs.run import LOCK, Run, RunConfig, TrainingOptions
from leansight.sdk.system.isolated_process import how_it_ended, run_in_own_process
from leansight.sdk.training.train import train
from leansight.sdk.training.trainer import Hardware

HEAD = ("head",)
NETWORKS = {
    "resnet-custom": ModelRecipe(width=16, blocks=(2, 2)),
    "masks-cnn": ModelRecipe(name="masks-cnn", width=16, blocks=(1, 1, 1), head=(32,)),
    "mixed-blocks": ModelRecipe(name="mixed-blocks", width=16, blocks=(1, 1)),
    "efficientnet_lite0": ModelRecipe(name="efficientnet_lite0"),
    "mobilenetv1_100": ModelRecipe(name="mobilenetv1_100"),
    "mobilenetv2_100": ModelRecipe(name="mobilenetv2_100"),
    "mobilenetv3_large_100": ModelRecipe(name="mobilenetv3_large_100"),
    "resnet50": ModelRecipe(name="resnet50", head=(64,), head_batch_norm=True),
    "resnetv2_50": ModelRecipe(name="resnetv2_50"),
    "vgg19": ModelRecipe(name="vgg19"),
    "resnext50_32x4d": ModelRecipe(name="resnext50_32x4d"),
    "inception_resnet_v2": ModelRecipe(name="inception_resnet_v2"),
    "ensemble": ModelRecipe(name="ensemble", bodies=("resnext50_32x4d", "mobilenetv3_large_100")),
    "densenet201": ModelRecipe(name="densenet201"),
}
BIG = {
    *("resnet50", "resnetv2_50", "vgg19", "resnext50_32x4d", "inception_resnet_v2", "ensemble"),
    "densenet201",
}


def built(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    size = 80 if name == "inception_resnet_v2" else 64
    network = build_network(NETWORKS[name], classes=3, channels=3).eval()
    return network, torch.zeros(1, 3, size, size)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in BIG else n for n in NETWORKS]
)
def test_every_network_is_pruned_and_still_learns(name: str, tmp_path: Path) -> None:
    network, example = built(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    groups = score_channels(network, example, outputs=HEAD, importance="magnitude")
    kept = spread_evenly(groups, 0.5)
    pruned = prune(network, example, groups, kept, outputs=HEAD)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    # Half of the channels on both sides of a layer; rounded up where they are few.
    assert 0.2 < count_macs(pruned, example) / count_macs(network, example) < 0.5
    for name_, layer in pruned.named_modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.out_channels % 8 == 0, name_
    images = torch.randn(4, *example.shape[1:])
    torch.manual_seed(1)
    optimiser = torch.optim.SGD(pruned.parameters(), 0.01)
    pruned.train()
    losses = []
    for _ in range(6):
        loss = functional.cross_entropy(pruned(images), torch.tensor([0, 1, 2, 0]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert min(losses[1:]) < losses[0]
    # What is stored is read again by its shapes.
    from safetensors.torch import save_file

    state = {key: value.contiguous() for key, value in pruned.state_dict().items()}
    save_file(state, tmp_path / "pruned.safetensors")
    read = load_network(
        tmp_path / "pruned.safetensors", NETWORKS[name], classes=3, channels=3
    ).eval()
    with torch.no_grad():
        torch.testing.assert_close(read(images), pruned.eval()(images))


@pytest.mark.parametrize(
    "name", ["resnet-custom", "mixed-blocks", "mobilenetv2_100", "mobilenetv3_large_100"]
)
def test_what_is_nothing_goes_and_the_answers_stay(name: str) -> None:
    """Every second channel is made nothing everywhere: it goes, and nothing changes."""
    network, example = built(name)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -1, 1)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 1)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
                layer.weight[1::2] = 0
                if layer.bias is not None:
                    layer.bias[1::2] = 0
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.weight.shape[1] > 3:
                layer.weight[:, 1::2] = 0  # what reads nothing is worth nothing
        logits = network(images := torch.randn(2, *example.shape[1:]))
    groups = score_channels(network, example, outputs=HEAD, importance="magnitude")
    half = {g.name: g.channels // 2 for g in groups if g.name.startswith("body")}
    pruned = prune(network, example, groups, half, outputs=HEAD)
    with torch.no_grad():
        torch.testing.assert_close(pruned(images), logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("importance", ["magnitude", "bn-scale", "taylor"])
def test_each_importance_finds_the_channels_that_matter(importance: Importance) -> None:
    network, example = built("resnet-custom")
    inner = network.get_submodule("body.stage1.0.body")
    with torch.no_grad():
        inner[1].weight[[0, 3, 5]] = 0.001  # a batch norm that lets nearly nothing through
        inner[0].weight[[0, 3, 5]] *= 0.001
    images, targets = torch.randn(8, *example.shape[1:]), torch.arange(8) % 3
    groups = score_channels(
        network,
        example,
        outputs=HEAD,
        importance=importance,
        loss=lambda net: iter([functional.cross_entropy(net(images), targets)]),
    )
    (group,) = [g for g in groups if g.name == "body.stage1.0.body.0"]
    assert set(group.scores.argsort()[:3]) == {0, 3, 5}


def test_without_batch_norms_their_scale_is_no_importance() -> None:
    network, example = built("masks-cnn")
    with pytest.raises(PruningError, match="has no batch norm: choose another"):
        score_channels(network, example, outputs=HEAD, importance="bn-scale")


def group(name: str, *scores: float, step: int = 1) -> ChannelGroup:
    return ChannelGroup(name=name, step=step, scores=np.array(scores, float))


@pytest.mark.parametrize(
    ("channels", "step", "wanted", "kept"),
    [
        (64, 1, 30, 32),
        (64, 1, 1, 8),
        (64, 1, 60, 64),
        (4, 1, 1, 4),
        (12, 1, 9, 8),
        (128, 32, 10, 64),
    ],
)
def test_channels_are_kept_in_eights(channels: int, step: int, wanted: int, kept: int) -> None:
    assert group("a", *[1.0] * (channels // step), step=step).rounded(wanted) == kept


def test_globally_the_least_important_go_wherever_they_are() -> None:
    strong = group("strong", *np.linspace(0.9, 1.1, 32))
    uneven = group("uneven", *[0.01] * 24, *[5.0] * 8)
    assert spread_globally([strong, uneven], 24 / 64) == {"strong": 32, "uneven": 8}
    assert spread_globally([strong, uneven], 0) == {"strong": 32, "uneven": 32}


CUTS = [
    Cut(name="a", channels=24, rise=0.1),
    Cut(name="a", channels=8, rise=0.4),
    Cut(name="b", channels=16, rise=0.2),
    Cut(name="b", channels=8, rise=0.9),
]


def channels_left(kept: dict[str, int]) -> float:
    return kept.get("a", 32) + kept.get("b", 32)


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        (60, {"a": 24}),
        (50, {"a": 24, "b": 16}),
        (30, {"a": 8, "b": 16}),
        (16, {"a": 8, "b": 8}),
    ],
)
def test_the_search_cuts_no_deeper_than_it_must(target: float, kept: dict[str, int]) -> None:
    asked: list[float] = []

    def cost(channels: Mapping[str, int]) -> float:
        asked.append(channels_left(dict(channels)))
        return asked[-1]

    told: list[tuple[int, int]] = []
    assert search(CUTS, cost, target, progress=lambda n, of: told.append((n, of))) == kept
    assert [done for done, _ in told] == list(range(len(asked) + 1))
    assert told[0][1] == 3  # the deepest cuts, then two halvings of four limits
    assert told[-1] == (len(asked), len(asked))  # the bar ends full


def test_what_cannot_be_reached_is_said() -> None:
    with pytest.raises(PruningError, match=r"15 cannot be reached .* the deepest cuts leave 16$"):
        search(CUTS, channels_left, 15)
    with pytest.raises(
        PruningError, match=r"0.015 KB cannot be .* the deepest cuts leave 0.016 KB"
    ):
        search(CUTS, channels_left, 15, say=PruningTarget(kind="size", value=15).say)


@pytest.mark.parametrize(
    ("kind", "amount", "text"),
    [
        ("macs", 64_600_000, "64.6 M multiply-accumulates"),
        ("size", 18_304, "18.304 KB"),
        ("size", 200_000.0, "200 KB"),
        ("latency", 1.23456, "1.235 ms"),
    ],
)
def test_an_amount_is_said_with_its_unit(kind: Kind, amount: float, text: str) -> None:
    assert PruningTarget(kind=kind, value=1).say(amount) == text


def test_a_layer_that_matters_is_more_sensitive() -> None:
    network, example = built("resnet-custom")
    images = torch.randn(8, *example.shape[1:])
    with torch.no_grad():
        network.get_submodule("body.stage1.1.body.4").weight.zero_()  # this one is nothing
        whole = network(images)
    groups = score_channels(network, example, outputs=HEAD, importance="magnitude")
    done: list[tuple[int, int]] = []
    cuts = measure_sensitivity(
        network,
        example,
        groups,
        outputs=HEAD,
        loss=lambda net: iter([functional.mse_loss(net(images), whole)]),
        progress=lambda n, of: done.append((n, of)),
    )
    assert done[-1] == (len(cuts), len(cuts))
    rises: dict[str, list[float]] = {}
    for cut in cuts:
        rises.setdefault(cut.name, []).append(cut.rise)
    assert all(values == sorted(values) for values in rises.values())
    assert max(rises.pop("body.stage1.1.body.0")) < 1e-9
    assert max(rises.pop("body.stage1.1.body.3")) < 1e-9  # sees nothing else
    assert min(max(values) for values in rises.values()) > 1e-6


# The command


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("pruning")
    data = shapes.write_data_set(folder / "shapes")
    recipe = folder / "tiny.toml"
    recipe.write_text(shapes.RECIPE.replace("width = 4", "width = 16"))
    return train(data, load_recipe(str(recipe)), out=folder / "run", hardware=Hardware(workers=0))


def leansight(*arguments: object, catch: bool = True) -> Result:
    return CliRunner().invoke(cli.leansight, [str(a) for a in arguments], catch_exceptions=catch)


def macs(run: Run) -> int:
    return count_macs(run.network(), torch.zeros(1, 1, 32, 32))


@pytest.mark.slow
def test_a_pruned_run_is_a_run_that_has_learnt_again(run: Run, tmp_path: Path) -> None:
    target = 0.4 * macs(run)
    small, smaller = tmp_path / "small", tmp_path / "smaller"
    done = leansight(
        "prune", run.path, "--macs", f"{target / 1e6}M", "--steps", 2, "--workers", 0,
        "--set", "training.learning_rate=0.02", "--out", small,
    )  # fmt: skip
    assert done.exit_code == 0, (done.output, done.exception)
    pruned = Run.load(small)
    assert f"multiply-accumulates: {macs(pruned) / 1e6:.1f} M (of {macs(run) / 1e6:.1f} M)" in (
        done.output.splitlines()
    )
    assert f"(before: {run.metrics['validation accuracy']:.4f})" in done.output
    assert 0.3 * macs(run) < macs(pruned) <= target
    assert target < macs(Run.load(small / "step-1")) < macs(run)
    assert pruned.metrics["validation accuracy"] > 0.9
    assert [s.path for s in pruned.split().train] == [s.path for s in run.split().train]
    again = leansight("prune", small, "--share", 0.3, "--workers", 0, "--out", smaller)
    assert again.exit_code == 0, (again.output, again.exception)
    assert macs(Run.load(smaller)) < macs(pruned)
    # It was made shorter and gentler once, not twice.
    assert Run.load(smaller).recipe.training == pruned.recipe.training
    bundle = tmp_path / "small.bundle"
    exported = leansight("export", small, "--out", bundle, "--max-drop", 20)
    assert exported.exit_code == 0, (exported.output, exported.exception)
    size = json.loads((bundle / "bundle.json").read_text())["files"]["model.tflite"]["size_bytes"]
    by_size = leansight(
        "prune", run.path, "--size", f"{size / 1e3}KB", "--epochs", 1, "--workers", 0,
        "--images", 16, "--out", tmp_path / "sized",
    )  # fmt: skip
    assert by_size.exit_code == 0, (by_size.output, by_size.exception)
    assert macs(Run.load(tmp_path / "sized")) < macs(run)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "say how small: one of --share"),
        (["--share", 0.5, "--macs", "1M"], "say how small: one of --share"),
        (["--share", 0.5, "--on", "pi@board"], "--on is for --latency"),
        (["--share", 0.5, "--data", "nowhere"], "--data nowhere does not exist"),
    ],
)
def test_what_is_asked_for_must_make_sense(
    options: list[object], message: str, tmp_path: Path
) -> None:
    done = leansight("prune", tmp_path, *options, "--out", tmp_path / "out")
    assert isinstance(done.exception, DataError)
    assert message in str(done.exception)


@pytest.mark.parametrize(
    ("option", "amount", "expected"),
    [
        *(
            ("--macs", amount, "60M")
            for amount in ("60X", "M", "-5K", "0", "1ms", "nanM", "1.2.3M")
        ),
        *(("--size", amount, "200KB") for amount in ("200", "200M", "1.5")),
        *(("--latency", amount, "1.0ms") for amount in ("1s", "1M")),
        *(("--share", amount, "0.5 or 50%") for amount in ("50", "1", "100%", "0%", "half")),
    ],
)
def test_an_amount_that_is_none_is_refused(
    option: str, amount: str, expected: str, tmp_path: Path
) -> None:
    done = leansight("prune", tmp_path, option, amount, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert f"{amount!r} is not an amount such as {expected}" in done.output


@pytest.fixture
def asked(
    untrained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[PruningTarget]]:
    """Prune with these options; return the targets that reach the pruning, which does nothing."""

    def prune_with(*options: object) -> list[PruningTarget]:
        targets: list[PruningTarget] = []

        def prune_run(path: Path, *, target: PruningTarget, **_: object) -> Run:
            targets.append(target)
            return Run.load(path)

        monkeypatch.setattr("leansight.sdk.pruning.prune.prune_run", prune_run)
        done = leansight("prune", untrained.path, *options, "--out", tmp_path / "out")
        assert done.exit_code == 0, (done.output, done.exception)
        return targets

    return prune_with


@pytest.mark.parametrize(
    ("option", "amount", "kind", "value"),
    [
        ("--share", "50%", "share", 0.5),
        ("--share", "0.5", "share", 0.5),
        ("--global-share", "25 %", "global share", 0.25),
        ("--macs", "12k", "macs", 12e3),
        ("--macs", "5000", "macs", 5000),
        ("--size", "1.5MB", "size", 1.5e6),
        ("--latency", "2ms", "latency", 2),
        ("--latency", "0.5", "latency", 0.5),
    ],
)
def test_amounts_are_read_with_their_units(
    asked: Callable[..., list[PruningTarget]], option: str, amount: str, kind: Kind, value: float
) -> None:
    assert asked(option, amount) == [PruningTarget(kind=kind, value=value)]


@pytest.fixture
def untrained(tmp_path: Path) -> Run:
    """A run as on disk after a training, which has not taken place."""
    return untrained_run(tmp_path, shapes.RECIPE)


def untrained_run(tmp_path: Path, text: str) -> Run:
    data = shapes.write_data_set(tmp_path / "shapes")
    (tmp_path / "tiny.toml").write_text(text)
    recipe, path = load_recipe(str(tmp_path / "tiny.toml")), tmp_path / "untrained"
    begin(data, recipe, path, TrainingOptions())
    run = Run(path=path, data=data, recipe=recipe, labels=shapes.LABELS, metrics={"score": 0.5})
    run.save(build_network(recipe.model, classes=3, channels=1))
    return run


def test_more_multiply_accumulates_than_there_are_is_no_target(
    untrained: Run, tmp_path: Path
) -> None:
    done = leansight("prune", untrained.path, "--macs", "1G", "--out", tmp_path / "out")
    assert isinstance(done.exception, DataError)
    assert re.search(r"untrained is at [0-9.]+ M multiply-accumulates already: ask for less",
                     str(done.exception))  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_images_that_have_moved_are_asked_for(untrained: Run, tmp_path: Path) -> None:
    moved = replace(untrained, data=tmp_path / "gone")
    moved.save(moved.network())
    done = leansight("prune", untrained.path, "--share", 0.5, "--out", tmp_path / "out")
    assert isinstance(done.exception, DataError)
    assert f"no longer at {tmp_path / 'gone'}: name them by --data" in str(done.exception)


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ("run.json", "holds a finished run: choose another --out"),
        ("start.json", "go on with `leansight train --resume --out "),
        ("photo.png", r"is not empty \(photo.png\): choose another --out"),
    ],
)
def test_nothing_is_written_into_what_is_there(
    there: str, message: str, untrained: Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / there).touch()
    with pytest.raises(DataError, match=message):
        leansight("prune", untrained.path, "--share", 0.5, "--out", out, catch=False)
    assert [path.name for path in out.iterdir()] == [there]


def test_a_file_is_no_folder_for_a_run(untrained: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tiny.toml is a file: choose another --out"):
        leansight(
            "prune", untrained.path, "--share", 0.5, "--out", tmp_path / "tiny.toml", catch=False
        )


def test_what_an_interrupted_call_has_left_is_no_hindrance(
    asked: Callable[..., list[PruningTarget]], tmp_path: Path
) -> None:
    (tmp_path / "out" / "step-1").mkdir(parents=True)
    lists = ("train.csv", "validation.csv")
    for name in (LOCK, PRUNING_LOCK, PRUNED, f"{PRUNED}.part", f"{ASKED}.part", *lists):
        (tmp_path / "out" / name).touch()
    assert len(asked("--share", 0.5, "--steps", 2)) == 1


def test_a_second_pruning_in_a_folder_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = untrained_run(tmp_path, shapes.RECIPE.replace("width = 4", "width = 16"))
    out, write_pruned = tmp_path / "out", pruning.write_pruned
    refusals: list[str] = []

    def prune_to(share: float) -> None:
        prune_run(
            before.path,
            out=out,
            target=PruningTarget(kind="share", value=share),
            importance="magnitude",
            images=8,
            steps=1,
            overrides=["training.epochs=1"],
            data=None,
            hardware=Hardware(accelerator="cpu", workers=0),
        )

    def another_begins(*arguments: object, **options: object) -> None:
        if not refusals:
            refusals.append("")
            with pytest.raises(DataError) as refused:
                prune_to(0.25)
            refusals.append(str(refused.value))
        write_pruned(*arguments, **options)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pruning, "write_pruned", another_begins)
    monkeypatch.setattr(pruning, "train", stop)
    with pytest.raises(KeyboardInterrupt):
        prune_to(0.5)
    assert refusals[1] == f"{out} is in use: another process works there"
    assert json.loads((out / ASKED).read_text())["--share"] == 0.5


# In a training Lightning takes it, and exits.
@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(1)])
def test_ctrl_c_ends_in_one_line_that_says_how_to_go_on(
    stop: BaseException, untrained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prune_run(*_: object, **__: object) -> Run:
        raise stop

    monkeypatch.setattr("leansight.sdk.pruning.prune.prune_run", prune_run)
    done = leansight("prune", untrained.path, "--share", 0.5, "--out", tmp_path / "out")
    assert done.exit_code == 130
    assert done.output == "stopped: give the same command again to go on where it was\n"


# Going on


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 2])
def test_a_training_that_was_interrupted_goes_on(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = untrained_run(tmp_path, shapes.RECIPE.replace("width = 4", "width = 16"))
    out = tmp_path / "out"

    def pruned(share: float, *options: object) -> Result:
        arguments = ["--share", share, "--steps", steps, "--epochs", 1, "--workers", 0, *options]
        return leansight("prune", before.path, *arguments, "--out", out)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("leansight.sdk.training.train.train_network", stop)
        assert pruned(0.5).exit_code == 130
    begun = out if steps == 1 else out / "step-1"
    assert RunConfig.exists(begun)
    assert not (begun / "run.json").exists()
    file = begun / PRUNED
    there, weights = file.stat(), file.read_bytes()

    other = pruned(0.25, "--images", 7)
    assert isinstance(other.exception, DataError)
    said = str(other.exception)
    assert (
        "out was begun with other options: --share was 0.5, not 0.25; --images was 256, not 7. "
        in said
    )
    assert said.endswith("Give the same command again to go on, or choose another --out")

    again = pruned(0.5)
    assert again.exit_code == 0, (again.output, again.exception)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (there.st_ino, there.st_mtime_ns)
    assert file.read_bytes() == weights
    assert macs(Run.load(out)) <= macs(Run.load(begun)) < macs(before)
    assert Run.load(out).recipe.training.epochs == 1


def test_a_damaged_note_of_what_was_asked_is_named(untrained: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ASKED).write_text("[1]")
    with pytest.raises(DataError, match=r"prune.json is damaged: "):
        leansight("prune", untrained.path, "--share", 0.5, "--out", tmp_path / "out", catch=False)


# A process of its own

PRUNE_BY_SIZE = """
import sys
from pathlib import Path
from leansight.runtime.errors import DataError
from leansight.sdk.pruning.prune import Target, prune_run
from leansight.sdk.training.train import Hardware

def pruned(size):
    prune_run(
        Path(sys.argv[1]), out=Path(sys.argv[2]), target=Target(kind="size", value=size),
        importance="magnitude", images=16, steps=1, overrides=["training.epochs=1"], data=None,
        hardware=Hardware(accelerator="cpu", workers=1),
    )

try:
    pruned(1e6)
except DataError as error:
    print(error)
assert not Path(sys.argv[2]).exists()
pruned(40e3)
print([name for name in ("jax", "litert_torch") if name in sys.modules])
"""


@pytest.mark.slow
def test_nothing_is_converted_in_a_process_that_forks_readers(run: Run, tmp_path: Path) -> None:
    # JAX in it would make a warning of every fork, and so an error.
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error::RuntimeWarning",
            "-c",
            PRUNE_BY_SIZE,
            run.path,
            tmp_path / "small",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    refusal, *_, loaded = done.stdout.splitlines()
    assert re.fullmatch(rf"{run.path} is at \d\d\.\d+ KB already: ask for less", refusal)
    assert loaded == "[]"
    assert "fork" not in done.stderr
    assert macs(Run.load(tmp_path / "small")) < macs(run)


def died(code: int) -> LeansightError:
    return LeansightError(how_it_ended(code))


@pytest.mark.parametrize(
    ("work", "kind", "message"),
    [
        (
            partial(PruningTarget, kind="share", value=0.5, on="pi"),
            DataError,
            "--on is for --latency",
        ),
        (
            partial(require, "gone", package="Gone", extra="x"),
            MissingExtraError,
            r"Gone is not .*\[x\]'$",
        ),
        (partial(os.stat, "/nowhere"), OSError, "No such file or directory: '/nowhere'$"),
        (partial(os._exit, 3), LeansightError, "its process ended with code 3$"),
        (
            partial(signal.raise_signal, signal.SIGKILL),
            LeansightError,
            r"killed by SIGKILL \(not en",
        ),
    ],
)
def test_what_ends_a_process_is_raised_here(
    work: Callable[[], object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as raised:
        run_in_own_process(work, died=died)
    assert type(raised.value) is kind


INTERRUPTED = """
import subprocess, sys
from functools import partial
from leansight.sdk.system.isolated_process import run_in_own_process
try:
    wait = ["sh", "-c", "echo $PPID $$ > pids.part; mv pids.part pids; sleep 100"]
    run_in_own_process(partial(subprocess.run, wait), died=SystemExit)
except KeyboardInterrupt:
    print("stopped")
"""


def test_ctrl_c_ends_both_processes_and_what_they_have_started(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + 60
        while not (tmp_path / "pids").exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.communicate(timeout=60) == ("stopped\n", "")
    finally:
        process.kill()
        process.wait()
    for pid in (tmp_path / "pids").read_text().split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
