"""Checkpoints: one safetensors file an epoch, with its JSON in the header; no pickle."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from nlkit.errors import NlkitError
from nlkit.files import write_atomically
from nlkit.lazy import Tensor, torch

KEEP = 2
DAMAGE = (OSError, SafetensorError, ValueError, KeyError, RuntimeError)


def save(folder: Path, epoch: int, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Write the checkpoint after `epoch` by atomic rename; keep the one before, remove damaged ones of later epochs."""
    target = folder / f"epoch-{epoch:05d}.safetensors"
    write(target, tensors, info)
    found = checkpoints(folder)
    upto = found.index(target) + 1
    try:
        for old in found[: max(upto - KEEP, 0)] + found[upto:]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise NlkitError(f"{target}: cannot remove an older checkpoint ({error})") from None


def write(target: Path, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Write one safetensors file at once or not at all; raises NlkitError where that cannot be done."""
    from safetensors.torch import save as to_bytes  # save_file leaves a file of its own where it is killed

    contents = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    text = json.dumps(info)
    write_atomically(target, to_bytes(contents, {"info": text, "sha256": digest(contents, text)}))


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoint files of a folder, oldest first."""
    return sorted(path for path in folder.glob("epoch-*.safetensors") if path.is_file())


def load_latest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any], list[str]]:
    """Tensors and info of the newest sound checkpoint, empty without one, and a line for each damaged one."""
    notes: list[str] = []
    for path in reversed(checkpoints(folder)):
        try:
            tensors, info = read(path)
        except DAMAGE as error:
            notes.append(f"{path.name} is damaged ({' '.join(str(error).split())})")
            continue
        return tensors, info, [f"{note}; using the one before it" for note in notes]
    if notes:
        notes[-1] += "; no sound checkpoint is left, starting anew"
    return {}, {}, notes


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and info of one file; raises one of DAMAGE where it is missing or not what was written."""
    if not path.is_file():
        raise ValueError("not a regular file" if path.exists() else "no such file")  # a pipe would be waited for
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    info = json.loads(metadata["info"])
    if digest(tensors, metadata["info"]) != metadata["sha256"] or not isinstance(info, dict):
        raise ValueError("its content does not match its checksum")
    return tensors, info


def digest(tensors: Mapping[str, Tensor], info: str = "") -> str:
    """SHA-256 of names, shapes, types and values of tensors on any device, and of a text."""
    found = hashlib.sha256(info.encode())
    for name in sorted(tensors):
        value = tensors[name].detach().cpu()
        found.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy() if value.numel() else b"")
    return found.hexdigest()
