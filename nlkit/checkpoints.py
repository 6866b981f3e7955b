"""Checkpoints: one safetensors file an epoch, with its JSON in the header; no pickle."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nlkit.errors import NlkitError

KEEP = 2


def save(folder: Path, epoch: int, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Write the checkpoint after `epoch` by atomic rename, and keep the last two."""
    target = folder / f"epoch-{epoch:05d}.safetensors"
    temporary = folder / f".{target.name}.writing"
    contents = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    metadata = {"info": json.dumps(info), "sha256": _digest(contents)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(contents, temporary, metadata)
        os.replace(temporary, target)
        for old in checkpoints(folder)[:-KEEP]:
            old.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        raise NlkitError(f"{target}: cannot write the checkpoint ({error})") from None


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoint files of a folder, oldest first."""
    return sorted(folder.glob("epoch-*.safetensors"))


def load_latest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any], list[str]] | None:
    """Tensors and info of the newest sound checkpoint, and a line for each damaged one passed over."""
    notes: list[str] = []
    for path in reversed(checkpoints(folder)):
        try:
            tensors, info = _load(path)
        except (OSError, SafetensorError, ValueError, KeyError, RecursionError) as error:
            notes.append(f"{path.name} is damaged ({error}); using the one before it")
            continue
        return tensors, info, notes
    if notes:
        return {}, {}, notes
    return None


def _load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    info = json.loads(metadata["info"])
    if _digest(tensors) != metadata["sha256"] or not isinstance(info, dict):
        raise ValueError("its content does not match its checksum")
    return tensors, info


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy() if value.numel() else b"")
    return digest.hexdigest()
