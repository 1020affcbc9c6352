"""Record what networks score in Germany and Belgium: figures, thresholds, recall of each class.

python accuracy.py signs/ run/ signs.bundle teacher/

Of a bundle both files are judged. `leansight evaluate` says the same of one network with much
more beside it: mistakes, the confusion matrix, calibration.
"""

from typing import Any

from records import update_record
from signs import (
    Country,
    Network,
    ask_about,
    load_countries,
    networks,
    parse,
    run_main,
)

from leansight.sdk import measure_report

FIGURES = ("macro_precision", "macro_recall", "macro_f1")


def measure(network: Network, country: Country) -> dict[str, Any]:
    """Return a row of the record: intervals are at 95 %, over videos or poles."""
    report = measure_report(ask_about(country, network))
    metrics = report["metrics"]
    return {
        "network": network.name,
        "kind": network.kind,
        "country": country.name,
        "images": report["images"],
        "videos": report["videos"],
        "temperature": report["temperature"],
        "accuracy": report["accuracy_interval"]["all"],
        **{name: metrics[name] for name in FIGURES},
        "thresholds": report["selective"]["all"],
        "recall": {c["label"]: c["recall"] for c in metrics["classes"]},
    }


def main() -> None:
    """Measure each network in both countries."""
    args = parse(__doc__)
    countries = load_countries(args.signs, args.run)
    rows = [measure(n, country) for n in networks(args.models) for country in countries]
    update_record("accuracy", args.results, rows)
    for row in rows:
        found = row["accuracy"]
        print(
            f"{row['network']} ({row['kind']}), {row['country']}: {found['mean']:.2%} "
            f"({found['low']:.2%} to {found['high']:.2%}, {row['videos']} videos)"
        )


if __name__ == "__main__":
    run_main(main)
