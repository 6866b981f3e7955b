"""Where results go: names that take nobody's place, and files that are there at once or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from nlkit.errors import NlkitError


def output_paths(path: Path, images: Path | None, overwrite: bool) -> tuple[Path, Path]:
    """A table to write and the folder of the same name beside it; raises NlkitError where that would replace others."""
    if path.suffix != ".csv":
        raise NlkitError(f"--out {path}: expected the name of a table that ends in .csv")
    target = path.with_suffix("")
    try:
        if path.is_dir() or (path.exists() and not overwrite):
            raise NlkitError(f"--out {path}: exists; choose another name, or --overwrite to replace it")
        if images is not None and target.resolve() == images.resolve():
            raise NlkitError(f"--out {path}: the folder beside it would be {images}, which holds the images")
    except (OSError, ValueError) as error:
        raise NlkitError(f"--out {str(path)[:200]}: cannot write there ({error})") from None
    return path, target


def check_place(path: Path) -> None:
    """Raise NlkitError where a file of this name cannot be written, before the work that fills it has begun."""
    try:
        if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            raise NlkitError(f"{path}: cannot write there; expected the name of a file in a folder that is there")
    except (OSError, ValueError) as error:
        raise NlkitError(f"{str(path)[:200]}: cannot write there ({error})") from None


def replace_text(path: Path, text: str) -> None:
    """Write a text file by atomic rename; raises NlkitError where that cannot be done."""
    temporary = path.with_name(f".{path.name}.writing")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, ValueError) as error:
        raise NlkitError(f"{path}: cannot write there ({error})") from None
