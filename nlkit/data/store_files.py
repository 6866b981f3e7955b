"""Finished stores on disk, and the requests that lead to them.

<folder>/<request>.json         what a list of files gave: the SHA-256 of the store, and the faults
<folder>/<sha256>/              the store: pixels.bin and index.safetensors
<folder>/<request>.building/    one that is being made: pixels.bin and journal.txt
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nlkit.data.files import read_bytes
from nlkit.data.journal import PIXELS, Chunk
from nlkit.data.photo import RULE
from nlkit.data.photo_list import PhotoList
from nlkit.data.store import Store, byte_sizes, image_keys, store_sha256
from nlkit.errors import NlkitError
from nlkit.training import checkpoints

INDEX, POINTER = "index.safetensors", "request.json"

_COLUMNS = ("heights", "widths", "keys")


def request_name(photos: PhotoList, short: int, folder: Path) -> str:
    """SHA-256 of what is asked for: the rule of decoding, `short`, and name, size and time of change of every file.

    The root counts as it lies from `folder`, so that a data root may be moved with its stores. Raises NlkitError for
    a name that leaves the root.
    """
    root = os.path.realpath(photos.root)
    found = hashlib.sha256(f"{RULE} {short}\n".encode() + os.fsencode(os.path.relpath(root, os.path.realpath(folder))))
    for name in photos.names:
        found.update(b"\0" + _encoded(name, photos.root) + _state(os.path.join(root, name)))
    return found.hexdigest()


def _encoded(name: str, root: Path) -> bytes:
    if "\0" in name or name.startswith("/") or ".." in name.split("/"):
        raise NlkitError(f"{root}: the name {name!r} leaves the folder; names are relative to it and have no '..'")
    try:
        return os.fsencode(name)
    except UnicodeEncodeError:
        raise NlkitError(f"{root}: {name!r} cannot be the name of a file") from None


def _state(path: str) -> bytes:
    try:
        about = os.stat(path)
    except OSError:
        return b"\0missing"
    readable = "" if os.access(path, os.R_OK) else "unreadable "
    return f"\0{readable}{about.st_size} {about.st_mtime_ns}".encode()


def open_store(folder: Path, request: str) -> Store | None:
    """The store that a request led to; None where there is none.

    Sizes are compared with the index, pixels are not hashed (see `store.verify`). Raises NlkitError where its files
    are damaged.
    """
    pointer = folder / f"{request}.json"
    if not pointer.exists():
        return None
    try:
        found = _read_pointer(pointer, request)
        target = folder / found["store"]
        index, info = checkpoints.read(target / INDEX)
        return _store(target, index, info, found)
    except NlkitError:
        raise
    except checkpoints.DAMAGE as error:
        raise NlkitError(f"{pointer}: the store that it names is damaged ({error})") from None


def _read_pointer(pointer: Path, request: str) -> dict[str, Any]:
    content = json.loads(read_bytes(pointer))
    if not isinstance(content, dict) or content.pop("check") != _check(content) or content["request"] != request:
        raise ValueError("its content does not match its checksum")
    return content


def _check(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _store(target: Path, index: dict[str, Tensor], info: dict[str, Any], found: dict[str, Any]) -> Store:
    heights, widths, keys = (index[name].numpy() for name in _COLUMNS)
    faults = {int(place): str(why) for place, why in found["faults"].items()}
    kept = np.setdiff1d(np.arange(found["count"]), np.fromiter(faults, np.int64, len(faults)))
    sizes = byte_sizes(heights, widths)
    if info["sha256"] != target.name or any(column.shape != kept.shape for column in (heights, widths, keys)):
        raise ValueError("the index is of another store")
    if (target / PIXELS).stat().st_size != sizes.sum():
        raise ValueError(f"{PIXELS} does not have the {sizes.sum()} bytes of the index")
    return Store(target / PIXELS, np.cumsum(sizes) - sizes, heights, widths, keys, kept, faults, target.name)


def keep(folder: Path, request: str, work: Path, chunks: Sequence[Chunk]) -> None:
    """Move the pixels of `work` to the store of their content, in place of any that is there, and note the request.

    Raises OSError, or SafetensorError, where that cannot be done.
    """
    digests = b"".join(chunk.digests for chunk in chunks)
    columns = (
        np.concatenate([chunk.heights for chunk in chunks]),
        np.concatenate([chunk.widths for chunk in chunks]),
        image_keys(digests),
    )
    target = folder / store_sha256(digests)
    target.mkdir(exist_ok=True)
    tensors = {name: torch.from_numpy(column) for name, column in zip(_COLUMNS, columns, strict=True)}
    checkpoints.write(work / INDEX, tensors, {"sha256": target.name})
    faults = {str(place): why for chunk in chunks for place, why in chunk.faults.items()}
    content = {"request": request, "store": target.name, "count": chunks[-1].end, "faults": faults}
    (work / POINTER).write_text(json.dumps({**content, "check": _check(content)}))
    # The pixels go last: until then they lie beside their journal, and an interruption costs nothing.
    _move(work / INDEX, target / INDEX)
    _move(work / POINTER, folder / f"{request}.json")
    _move(work / PIXELS, target / PIXELS)
    shutil.rmtree(work, ignore_errors=True)


def _move(source: Path, target: Path) -> None:
    _force(source)
    os.replace(source, target)
    _force(target.parent)


def _force(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
