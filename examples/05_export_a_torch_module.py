"""Export a torch module of your own as an int8 bundle; here one is trained in plain torch first.

python 05_export_a_torch_module.py photos/ --out mine.bundle

Needs the extra `all`. Photos lie in one folder a class.
"""

import argparse
from pathlib import Path

from torch import autograd, from_numpy, manual_seed, nn, optim

from leansight import exporters, runtime, sdk


def trained(learnt: sdk.ImageSet, labels: int) -> nn.Module:
    """Return a small network for (N, 3, S, S) from 0 to 1, which gives logits (N, labels)."""
    manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 16, 5, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU())
    network = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, labels))
    optimiser = optim.Adam(network.parameters(), 0.01)
    pixels = from_numpy(learnt.pixels).permute(0, 3, 1, 2) / 255
    for _ in range(60):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(network(pixels), from_numpy(learnt.classes))
        autograd.backward(loss)
        optimiser.step()
    return network


def main() -> None:
    """Train, export, and print what each file makes of photos that were not learnt."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    samples, prepare = sdk.find_samples(args.data), runtime.Preprocessing(size=32)
    labels, split = sdk.find_labels(samples), sdk.split_samples(samples, sdk.SplitRecipe())
    learnt = sdk.load_labelled(args.data, split.train, labels, prepare, what="learnt")
    held_out = sdk.load_labelled(args.data, split.validation, labels, prepare, what="held out")
    network = trained(learnt, len(labels))
    draft = runtime.Bundle(
        path=args.out,
        name="mine",
        labels=labels,
        preprocessing=prepare,
        decision=runtime.DecisionPolicy(threshold=0.5),
        precision="int8",
    )
    reports = exporters.export_network(
        exporters.normalised(network, exporters.Normalisation(mean=(0,), std=(255,)), channels=3),
        draft,
        exporters.ExportImages(calibration=learnt.pixels, validation=held_out),
        exporters.ExportOptions(promise=exporters.Promise(max_drop=2.0)),
        progress=lambda *_: None,
    )
    for report in reports["validation"].formats:
        print(f"{report.name}: {report.accuracy:.1%}, decides as torch on {report.agreement:.1%}")


if __name__ == "__main__":
    try:
        main()
    except runtime.LeansightError as error:
        raise SystemExit(f"05_export_a_torch_module: {error}") from None
