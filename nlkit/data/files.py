"""Files that come from outside: of a bounded size, without pickle, no path out of its folder; and safetensors files."""

import hashlib
import io
import json
import os
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open

from nlkit.errors import NlkitError
from nlkit.files import MAX_FILE_BYTES, open_file, write_atomically
from nlkit.lazy import Tensor, torch

MAX_ARRAY_BYTES = 4 * 2**30  # of a .npy file; a million rows of 512 numbers have 2 GB
JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
SUFFIXES = (".png", *JPEG, ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm")


def check_relative(name: str, source: str) -> None:
    """Raise NlkitError, beginning with `source`, for the name of a file that, by its text, leaves its folder.

    The disk is not looked at, so that a list of a million names is checked in seconds.
    """
    parts = name.replace("\\", "/").split("/")
    if not name:
        raise NlkitError(f"{source}: the path is empty")
    if parts[0] == "" or name[1:2] == ":" or ".." in parts or "\0" in name:
        raise NlkitError(f"{source}: the path {name[:200]!r} leaves the folder; paths are relative to it, without '..'")


def inside(root: str | Path, name: str, source: str) -> Path:
    """Where `name` below a folder lies, links followed; raises NlkitError for a name or link that leaves the folder."""
    check_relative(name, source)
    whole = os.path.realpath(root)
    target = Path(os.path.realpath(os.path.join(whole, name)))
    if not target.is_relative_to(whole):
        raise NlkitError(f"{source}: {name[:200]!r} is a link that leaves the folder")
    return target


def image_names(names: Iterable[str], folder: Path) -> list[str]:
    """Sorted names of the images among files, but hidden ones; raises NlkitError for a name that is not UTF-8."""
    images = sorted(name for name in names if not name.startswith(".") and name.lower().endswith(SUFFIXES))
    for name in images:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise NlkitError(f"{folder}: the file name {name!r} is not UTF-8; rename it") from None
    return images


def read_array(path: Path, key: str | None = None) -> np.ndarray:
    """The array of a `.npy` file, or of `.npz` the one called `key`, else the only one; else raises NlkitError."""
    if path.suffix.lower() != ".npz":
        with open_file(path, MAX_ARRAY_BYTES) as file:
            return _plain_array(file, str(path))
    arrays = read_npz(path)
    if key not in arrays and len(arrays) != 1:
        name = f", or one of the name '{key}'" if key else ""
        raise NlkitError(f"{path}: holds {len(arrays)} arrays; expected one{name}")
    return arrays.get(key or "", next(iter(arrays.values())))


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a `.npz` file by name, without the `.npy` ending; raises NlkitError as `read_array` does."""
    members = zip_members(path, ".npy", "a .npz file of plain arrays").items()
    found = ((name, _plain_array(io.BytesIO(content), f"{path}, member {name!r}")) for name, content in members)
    return {name.removesuffix(".npy"): array for name, array in found}


def zip_members(path: Path, ending: str, right: str) -> dict[str, bytes]:
    """Members of a zip file whose names have this ending; `right` says what the file should be.

    Raises NlkitError for a file that is damaged, or unpacks to more than MAX_FILE_BYTES.
    """
    with open_file(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                if sum(member.file_size for member in members) > MAX_FILE_BYTES:
                    raise ValueError(f"its members declare more than {MAX_FILE_BYTES} bytes")
                if {member.compress_type for member in members} - {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                    raise ValueError("an unusual compression method")
                # What is read of a member ends at its declared size, whatever the stream would expand to.
                return {name: archive.read(name) for name in archive.namelist() if name.endswith(ending)}
        except Exception as error:  # a damaged zip file can raise almost anything
            raise NlkitError(f"{path}: not {right} ({reason(error)})") from None


def _plain_array(file: BinaryIO, source: str) -> np.ndarray:
    """The array in the bytes of a `.npy` file; nothing is allocated beyond what the file holds."""
    try:
        # NumPy and the parser beneath it warn about odd headers, which the checks here accept or refuse.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        if array.dtype.kind not in "biuf":
            raise ValueError(f"dtype {array.dtype} is not a plain number")
        if file.read(1):
            raise ValueError("bytes are left over")
        return array
    except Exception as error:  # a damaged file can raise almost anything
        raise NlkitError(f"{source}: not a .npy array of plain numbers ({reason(error)})") from None


def reason(error: Exception) -> str:
    """Name and shortened text of an exception, for the brackets at the end of a message."""
    text = str(error)[:160]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


DAMAGE = (OSError, SafetensorError, ValueError, KeyError, RuntimeError, TypeError, AttributeError)
"""What can be raised where a safetensors file is missing, or not what was written."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Write tensors, which share no memory, and JSON to a safetensors file, at once or not at all; else NlkitError."""
    from safetensors.torch import save  # save_file leaves a file of its own where it is killed

    contents = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps(info)
    write_atomically(path, save(contents, {"info": text, "sha256": tensors_sha256(contents, text)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON of a file that `write_tensors` wrote; raises one of DAMAGE where it is missing or another."""
    if not path.is_file():
        raise ValueError("not a regular file" if path.exists() else "no such file")  # a pipe would be waited for
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    info = json.loads(metadata["info"])
    if tensors_sha256(tensors, metadata["info"]) != metadata["sha256"] or not isinstance(info, dict):
        raise ValueError("its content does not match its checksum")
    return tensors, info


def tensors_sha256(tensors: Mapping[str, Tensor], info: str = "") -> str:
    """SHA-256 of names, shapes, types and values of tensors on any device, and of a text."""
    found = hashlib.sha256(info.encode())
    for name in sorted(tensors):
        value = tensors[name].detach().cpu()
        found.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy() if value.numel() else b"")
    return found.hexdigest()


def content_sha256(arrays: Iterable[np.ndarray]) -> str:
    """SHA-256 over dtype, shape and elements of arrays, in their order and in C order, little-endian."""
    digest = hashlib.sha256()
    for array in arrays:
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        digest.update(f"{little.dtype.str}{little.shape}".encode())
        digest.update(little.data)
    return digest.hexdigest()
