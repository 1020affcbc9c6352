"""The records of what was measured: JSON files of rows, each of one network."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def read_record(name: str, results: Path = RESULTS) -> list[dict[str, Any]]:
    """Return the rows of a record; none if nothing was measured yet."""
    file = results / f"{name}.json"
    rows: list[dict[str, Any]] = json.loads(file.read_text()) if file.is_file() else []
    return rows


def update_record(name: str, results: Path, measured: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows of the networks that were measured now in place of their earlier ones."""
    again = {row["network"] for row in measured}
    before = [row for row in read_record(name, results) if row["network"] not in again]
    results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_rounded([*before, *measured]), indent=1)
    (results / f"{name}.json").write_text(text + "\n")


def _rounded(value: Any) -> Any:  # noqa: ANN401 -- JSON
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list | tuple) else value
