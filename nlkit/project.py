"""Where the project stands on this machine."""

from __future__ import annotations

from pathlib import Path


def project_root() -> Path:
    """The nearest folder upwards that holds `params/` and `notebooks/`, else the current one."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "params").is_dir() and (folder / "notebooks").is_dir():
            return folder
    return here


def locate(name: str, root: Path) -> Path:
    """A file by its path from `root`, else as given; where there is neither, the former."""
    return next((path for path in (root / name, Path(name)) if path.is_file()), root / name)
