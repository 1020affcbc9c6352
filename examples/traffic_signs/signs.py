"""What is measured: networks, and signs of two countries that none of them has learnt."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from records import RESULTS

from leansight.runtime import Bundle, LeansightError
from leansight.sdk import AnsweringModel, Answers, Run, Sample, ask, find_samples, load_model


@dataclass(frozen=True, kw_only=True)
class Country:
    """Signs of one country that no network has learnt; samples are relative to `root`."""

    name: str
    root: Path
    samples: Sequence[Sample]


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that is judged: `kind` says which file of it, such as "tflite int8"."""

    name: str
    kind: str
    model: AnsweringModel


def parse(description: str | None) -> argparse.Namespace:
    """Return what every measurement is given: signs, run, models and results."""
    text = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=text)
    parser.add_argument("signs", type=Path, help="folder that has germany/ and belgium/")
    parser.add_argument("run", type=Path, help="run by whose validation list signs are held out")
    parser.add_argument("models", type=Path, nargs="+", help="bundles and runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    return parser.parse_args()


def run_main(main: Callable[[], None]) -> None:
    """Run a program; what is wrong with its files ends it in one line."""
    try:
        main()
    except LeansightError as error:
        sys.exit(f"{Path(sys.argv[0]).stem}: {error}")


def load_countries(signs: Path, run: Path) -> list[Country]:
    """Return the German signs of the run's validation list, and all Belgian ones."""
    # A run that has learnt drawn countries as well lists Germany's images below germany/.
    listed = [s for s in Run.load(run).split().validation if s.country in {"", "germany"}]
    root = signs if any(s.country for s in listed) else signs / "germany"
    belgium = signs / "belgium"
    return [
        Country(name="Germany", root=root, samples=listed),
        Country(name="Belgium", root=belgium, samples=find_samples(belgium)),
    ]


def networks(paths: Sequence[Path], *, both: bool = True) -> Iterator[Network]:
    """Yield each run's network, and of each bundle both files, or only the one used here."""
    for path in paths:
        name = path.name.removesuffix(".bundle")
        if (path / "train.csv").is_file():
            yield Network(name=name, kind="torch float32", model=load_model(path))
            continue
        bundle = Bundle.load(path)
        for model_format in bundle.formats if both else (bundle.choose_format(),):
            kind = f"{model_format} {bundle.precision_text}"
            model = load_model(path, model_format=model_format)
            yield Network(name=name, kind=kind, model=model)


def ask_about(country: Country, network: Network) -> Answers:
    """Return what the network says of the country's signs."""
    return ask(network.model, country.root, country.samples)
