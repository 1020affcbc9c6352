"""Results on the screen and in files."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from leansight.runtime.errors import DataError
from leansight.runtime.extras import check_installed
from leansight.sdk.commands.benchmark.options import ResultFiles
from leansight.sdk.system.files import require_writable, write_json, write_text
from leansight.sdk.system.text import echo

if TYPE_CHECKING:
    from leansight.benchmarks.results.machines import MachineBenchmarks


def require_files(files: ResultFiles) -> None:
    """Find out before anything is measured whether the files can be written."""
    chosen = {
        "out": files.out,
        "html": files.html,
        "csv": files.csv_file,
        "markdown": files.markdown,
    }
    for parameter, file in chosen.items():
        if file is not None:
            _require_place(file, parameter)
            require_writable(file, parameter)
    if files.html is not None:
        check_installed("matplotlib", "jinja2", extra="bench")


def _require_place(file: Path, parameter: str) -> None:
    """Raise DataError where the file would be a folder, or lie in one that is not there."""
    if file.is_dir():
        raise DataError(f"{file} is a folder: name a file", parameter=parameter)
    if not file.absolute().parent.exists():
        raise DataError(
            f"{file} cannot be written: there is no folder {file.parent}. Make it first",
            parameter=parameter,
        )


def write_results(measured: "MachineBenchmarks", files: ResultFiles) -> None:
    """Write the files that are asked for, and show the results."""
    from rich.console import Console

    from leansight.benchmarks.results.page import write_page

    if files.out is not None:
        write_json(files.out, measured.to_dict())
    if files.csv_file is not None:
        write_text(files.csv_file, measured.csv())
    if files.markdown is not None:
        write_text(files.markdown, measured.markdown())
    if files.html is not None:
        write_page(measured.found, files.html)
    if files.as_json:
        echo(json.dumps(measured.rows(), indent=2))
    else:
        Console().print(measured.shown())
