"""Features of one's own images by a torchvision network that was trained on ImageNet."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torchvision
from torch import Tensor, nn
from tqdm.auto import tqdm

from nlkit.data.listing import read_listing
from nlkit.data.photos.decode import decode_all
from nlkit.errors import NlkitError
from nlkit.training.runs import choose_device

SIDE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BLOCK = 512


@contextmanager
def encoded(name: str, folder: Path, labels: Path | None, corrupt: str, device: str) -> Iterator[Path]:
    """Inside, a parquet file `path, label, f0, f1, ...` of the images of a folder, encoded by the network `name`.

    Unreadable images are left out, or fatal where `corrupt` is `fail`. Raises NlkitError for bad input and where the
    weights are neither here nor can be fetched.
    """
    entries = read_listing(folder, labels).entries
    network = encoder(name).to(choose_device(device))
    rows: list[Tensor] = []
    sound = []
    for start in tqdm(range(0, len(entries), BLOCK), desc=f"encoding with {name}"):
        block = entries[start : start + BLOCK]
        decoded = decode_all([entry.path for entry in block], SIDE, progress=False)
        for index, why in decoded.faults.items():
            if corrupt == "fail":
                raise NlkitError(f"{folder}: {block[index].name!r} cannot be used: {why}")
            tqdm.write(f"nlkit: left out {block[index].name!r}: {why}")
        good = [i for i in range(len(block)) if i not in decoded.faults]
        rows.append(features(network, torch.from_numpy(decoded.images[good])))
        sound += [block[i] for i in good]
    matrix = torch.cat(rows).numpy()
    columns: dict[str, Any] = {"path": [entry.name for entry in sound], "label": [entry.label for entry in sound]}
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "features.parquet"
        columns |= {f"f{j}": column for j, column in enumerate(np.ascontiguousarray(matrix.T))}
        pq.write_table(pa.table(columns), path)
        yield path


def encoder(name: str) -> nn.Module:
    """The network without its last layer, in evaluation mode; weights are read without unpickling objects."""
    weights = torchvision.models.get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
    network = torchvision.models.get_model(name)
    try:
        network.load_state_dict(weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except Exception as error:  # no network, a wrong hash, a damaged file: almost anything
        raise NlkitError(
            f"--features {name}: its weights cannot be had ({' '.join(str(error).split())[:120]}); place the file of "
            f"{weights.url} below {torch.hub.get_dir()}/checkpoints, or give a file of features"
        ) from None
    network.fc = nn.Identity()
    return network.eval().requires_grad_(False)


@torch.no_grad()
def features(network: nn.Module, images: Tensor, batch: int = 32) -> Tensor:
    """Features float32 [N, d] on the CPU of images uint8 [N, S, S, 1 or 3]."""
    device = next(network.parameters()).device
    rows = [network(_normalised(part.to(device))).float().cpu() for part in images.split(batch)]
    return torch.cat(rows) if rows else torch.zeros(0, 0)


def _normalised(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(values, device=images.device) for values in (MEAN, STD))
    return ((images.expand(*images.shape[:3], 3) / 255 - mean) / std).permute(0, 3, 1, 2)
