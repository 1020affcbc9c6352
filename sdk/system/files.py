"""Files that are written whole or not at all."""

import json
from pathlib import Path


def write_text(file: Path, text: str) -> None:
    """Write text under a temporary name, then rename it."""
    part = file.with_name(f"{file.name}.part")
    part.write_text(text)
    part.replace(file)


def write_json(file: Path, values: object) -> None:
    """Write plain JSON values, as people read them."""
    write_text(file, json.dumps(values, indent=2) + "\n")
