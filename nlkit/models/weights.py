"""Weights from elsewhere: a file, or those that torchvision offers, checked before they are used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from nlkit.errors import NlkitError
from nlkit.files import locate, project_root

HEADS = ("fc.", "classif.", "last_linear.", "classifier.")
"""Beginnings of the names that the last layer has; it is never taken over."""


def body_weights(name: str, weights: str, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `weights`, a path or `imagenet`, for a network of this name, without its last layer.

    `own` are the network's tensors. Raises NlkitError for a missing or damaged file and for one of another network.
    """
    here = f"key 'model.weights' is '{weights}'"
    found = _imagenet(name, here) if weights == "imagenet" else _read(locate(weights, project_root()), here)
    found = {key.removeprefix("module."): value for key, value in found.items()}
    found = {key: value for key, value in found.items() if not key.startswith(HEADS)}
    missing = [key for key in own if key not in found and not key.endswith("num_batches_tracked")]
    wrong = [key for key in found if key not in own or found[key].shape != own[key].shape]
    if missing or wrong:
        first = f"it lacks '{missing[0]}'" if missing else f"'{wrong[0]}' does not fit"
        raise NlkitError(f"{here}: not the weights of {name} ({first}; {len(missing)} missing, {len(wrong)} other)")
    return {**own, **found}


def weights_sha256(weights: str) -> str:
    """SHA-256 of a file of weights, for the record; `imagenet` is named by the file's own checksum."""
    if weights == "imagenet":
        return weights
    return hashlib.sha256(locate(weights, project_root()).read_bytes()).hexdigest()


def _read(path: Path, here: str) -> dict[str, Tensor]:
    """Named tensors of a .safetensors, .pt or .pth file; of a pickle, tensors only are read."""
    try:
        if path.suffix == ".safetensors":
            content: Any = safetensors.torch.load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise NlkitError(f"{here}: cannot read {path} ({error.strerror or error})") from None
    except Exception as error:  # a damaged file can raise almost anything
        raise NlkitError(f"{here}: {path} is not a file of weights ({' '.join(str(error).split())[:120]})") from None
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise NlkitError(f"{here}: {path} does not hold tensors by name")
    return content


def _imagenet(name: str, here: str) -> dict[str, Tensor]:
    """torchvision's first ImageNet weights, the ones that were there when the papers were written."""
    if not name.startswith("torchvision_"):
        raise NlkitError(f"{here}: torchvision has no weights of {name}; name a file")
    models = import_module("torchvision.models")
    entry = models.get_model_weights(name.removeprefix("torchvision_")).IMAGENET1K_V1
    try:
        return dict(entry.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:
        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
        raise NlkitError(
            f"{here}: not here and not to be had ({str(error)[:80]}); download {entry.url} to {file}, or name a file"
        ) from None
