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
