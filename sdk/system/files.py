"""Files that are written whole or not at all."""

import json
from pathlib import Path


def write_text(file: Path, text: str) -> None:
    """Write UTF-8 text under a temporary name, then rename it.

    Names of files that are no UTF-8 are written as the bytes that they are.
    """
    part = file.with_name(f"{file.name}.part")
    try:
        part.write_text(text, encoding="utf-8", errors="surrogateescape")
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_json(file: Path, values: object) -> None:
    """Write plain JSON values, as people read them."""
    write_text(file, json.dumps(values, indent=2) + "\n")
