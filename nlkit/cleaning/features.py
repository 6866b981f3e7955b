"""Clean labels with frozen features, of a file or of a pre-trained network: no training, a minute on a CPU."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from nlkit.cleaning import results
from nlkit.data.folder import check_enough, class_names, held_out
from nlkit.data.listing import FeatureRows, read_feature_rows, read_listing
from nlkit.data.photos.decode import decode_all
from nlkit.data.photos.layouts import IMAGENET_MEAN, IMAGENET_STD
from nlkit.errors import NlkitError
from nlkit.files import as_path, write_atomically
from nlkit.outputs import swapped
from nlkit.parts.features import nearest, nearest_others
from nlkit.training import measure
from nlkit.training.runs import choose_device

THRESHOLD = 0.5
LEAST_WEIGHT = 0.01
TEMPERATURE = 0.1
SIDE = 224  # in pixels, of the images that a network is given
BLOCK = 512
NEAR = 64  # rows whose neighbours' features are in memory at once
ROWS = 4096  # whose votes for all classes are in memory at once


def clean_features(
    features: str | Path | FeatureRows,
    labels: str | Path | None = None,
    out: str | Path = "scores.csv",
    hold_out: float = 0.0,
    truth: str | None = None,
    k: int = 20,
    seed: int = 0,
    overwrite: bool = False,
) -> results.FeatureResult:
    """Tell for each label how likely it is to be correct, from the labels of its nearest neighbours in the features.

    features: a `.parquet`, `.npz` or `.npy` file; labels: a table `path,label`; see `read_feature_rows`; or rows that
    were read before. P(clean) is the neighbours' probability of the given label. Raises NlkitError for bad input.
    """
    files = (labels, None if isinstance(features, FeatureRows) else features)
    path, target = results.output_paths(out, files, overwrite)
    if not isinstance(k, int) or k < 1:
        raise NlkitError(f"k is {k!r}; expected a whole number of neighbours, at least 1")
    if not isinstance(hold_out, float | int) or not 0 <= hold_out <= 0.9:
        raise NlkitError(f"--hold-out {hold_out}: expected a share from 0 to 0.9")
    begin = time.perf_counter()
    if isinstance(features, FeatureRows):
        rows, source = features, str(labels or "the sub-folders")
    else:
        rows = read_feature_rows(as_path(features, "features"), None if labels is None else Path(labels), truth)
        source = str(labels or features)
    names = class_names(rows.labels)
    check_enough(source, len(rows.labels), names)
    number = {name: index for index, name in enumerate(names)}
    given = np.array([number[label] for label in rows.labels])
    correct = given if rows.truth is None else np.array([number.get(label, -1) for label in rows.truth])
    tested = held_out(given, hold_out, seed)
    paths, train = np.array(rows.names, dtype=object), ~tested
    test, accuracy, auc = None, None, None
    with results.owned_output(path, target, overwrite, source):
        if (target / "record.json").exists() and not overwrite:
            raise NlkitError(f"{target}: holds a run; choose another --out, or --overwrite")
        evidence = _evidence(rows.features, given, tested, len(names), k)
        if tested.any():
            test = results.score_table("test", paths[tested], given[tested], names, evidence)
            accuracy = 100 * float((evidence["test.prediction"] == correct[tested]).mean())
        table = results.score_table("train", paths[train], given[train], names, evidence)
        if rows.truth is not None:
            right = torch.from_numpy((given == correct)[train])
            auc = measure.auc(right, torch.from_numpy(evidence["train.p_clean"]))
        summary = {"classes": names, "k": min(k, len(table) - 1), "temperature": TEMPERATURE, "rows": len(table)}
        summary |= {"accuracy": accuracy, "auc": auc, "seconds": time.perf_counter() - begin}
        found: dict[str, Any] = {"scores": table, "test_scores": test, "accuracy": accuracy, "auc": auc}
        notes = rows.notes + results.never_predicted(table)
        result = results.FeatureResult(**found, path=path, folder=target, notes=notes)
        with swapped(target) as new:
            write_atomically(new / "summary.json", json.dumps(summary, indent=1) + "\n")
            results.write_tables(result, new)
    return result


def _evidence(features: np.ndarray, given: np.ndarray, tested: np.ndarray, classes: int, k: int) -> results.Evidence:
    """Of all rows [N], those that are tested [N] judged by the others; P(clean) is that of the given label."""
    x, y, test = torch.from_numpy(features), torch.from_numpy(given), torch.from_numpy(tested)
    blocks = neighbour_posteriors(x[~test] if tested.any() else x, y[~test], x[test], classes, k)
    parts: dict[str, np.ndarray] = {}
    for part, labels, posteriors in zip(("train", "test"), (y[~test], y[test]), blocks, strict=True):
        found = [results.judged(part, *both) for both in zip(posteriors, labels.split(ROWS), strict=True)]
        parts |= {name: torch.cat([block[name] for block in found]).numpy() for name in found[0]}
    return parts | {"train.p_clean": parts["train.quality"], "threshold": np.array(THRESHOLD)}


@torch.no_grad()
def neighbour_posteriors(
    features: Tensor, labels: Tensor, further: Tensor, classes: int, k: int = 20, rounds: int = 6
) -> tuple[Iterator[Tensor], Iterator[Tensor]]:
    """Probability [N, C] of each class by the labels of a sample's neighbours, its own left out, and [M, C] of others.

    Both come in blocks of 4,096 rows, at least one. features [N, d], labels int64 [N], N > 1; further [M, d]. A label
    votes with exp(cosine / 0.1) times the weight P(clean) = max(p(given label), 0.01) of the round before, at first 1:
    labels that disagree with their surroundings lose their say. At most N - 1 neighbours are asked.
    """
    centre = features.mean(dim=0)
    bank, queries = unit(features, centre), unit(further, centre)
    k = min(k, len(bank) - 1)
    index, others = nearest_others(bank, bank, torch.arange(len(bank)), k)[1], nearest(queries, bank, k)[1]
    likeness, weights = cosines(bank, bank, index), torch.ones(len(bank), dtype=torch.float64)
    for _ in range(rounds):
        votes = vote_shares(likeness, weights[index])
        weights = (votes * (labels[index] == labels[:, None])).sum(dim=1).clamp_min(LEAST_WEIGHT)
    return class_shares(votes, labels[index], classes), class_shares(
        vote_shares(cosines(queries, bank, others), weights[others]), labels[others], classes
    )


def unit(features: Tensor, centre: Tensor) -> Tensor:
    """Features float32 [N, d] without their centre, at length 1; the centre itself stays 0."""
    found = torch.empty(features.shape)
    for part, out in zip(features.split(ROWS), found.split(ROWS), strict=True):
        out.copy_(functional.normalize((part - centre).double(), dim=1))
    return found


def cosines(queries: Tensor, bank: Tensor, index: Tensor) -> Tensor:
    """Cosines float64 [M, k] of queries [M, d] and the rows `index` [M, k] of the bank [N, d], 1/2 for a row of 0."""
    found = torch.empty(index.shape, dtype=torch.float64)  # new pieces of it would lie between what each block frees
    for q, i, out in zip(queries.split(NEAR), index.split(NEAR), found.split(NEAR), strict=True):
        torch.sub(1, (q[:, None] - bank[i]).double().square().sum(dim=2), alpha=0.5, out=out)
    return found


def vote_shares(likeness: Tensor, weights: Tensor) -> Tensor:
    """Shares [M, k] of neighbours in the vote, from cosines [M, k] and weights [M, k]."""
    votes = torch.exp((likeness - likeness.amax(dim=1, keepdim=True)) / TEMPERATURE) * weights
    return votes / votes.sum(dim=1, keepdim=True)


def class_shares(votes: Tensor, labels: Tensor, classes: int) -> Iterator[Tensor]:
    """Shares [B, C] of classes from those of neighbours [M, k] and their labels [M, k], block by block."""
    for part, names in zip(votes.split(ROWS), labels.split(ROWS), strict=True):
        yield part.new_zeros(len(part), classes).scatter_add_(1, names, part)


def encode_images(
    name: str, folder: Path, labels: Path | None, truth: str | None, corrupt: str, device: str, progress: bool = True
) -> FeatureRows:
    """The images of a folder with their labels, encoded by the network `name`; unreadable ones are left out, or fatal.

    Raises NlkitError for bad input and where the weights are neither here nor can be fetched.
    """
    if truth is not None and labels is None:
        raise NlkitError(f"--truth {truth}: correct labels are a column of a table; name one with --labels")
    entries, notes = read_listing(folder, labels, truth)
    network = encoder(name).to(choose_device(device))
    rows, sound = [], []
    for start in tqdm(range(0, len(entries), BLOCK), desc=f"encoding with {name}", disable=not progress):
        block = entries[start : start + BLOCK]
        images, faults = decode_all([entry.path for entry in block], SIDE, progress=False)
        for index, why in faults.items():
            if corrupt == "fail":
                raise NlkitError(f"{folder}: {block[index].name!r} cannot be used: {why}")
            tqdm.write(f"nlkit: left out {block[index].name!r}: {why}")
        good = [i for i in range(len(block)) if i not in faults]
        rows.append(encode(network, torch.from_numpy(images[good])))
        sound += [block[i] for i in good]
    paths, given = tuple(entry.name for entry in sound), tuple(entry.label for entry in sound)
    known = None if truth is None else tuple(str(entry.truth) for entry in sound)
    return FeatureRows(torch.cat(rows).numpy(), paths, given, known, tuple(notes))


def encoder(name: str) -> nn.Module:
    """A network of torchvision without its last layer, in evaluation mode; its weights are read without pickle."""
    import torchvision  # takes seconds, and a file of features needs none

    weights = torchvision.models.get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
    network = torchvision.models.get_model(name)
    try:
        network.load_state_dict(weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except Exception as error:  # no network, a wrong hash, a damaged file: almost anything
        remedy = f"place the file of {weights.url} below {torch.hub.get_dir()}/checkpoints, or give a file of features"
        why = " ".join(str(error).split())[:120]
        raise NlkitError(f"--features {name}: its weights cannot be had ({why}); {remedy}") from None
    network.fc = nn.Identity()
    return network.eval().requires_grad_(False)


@torch.no_grad()
def encode(network: nn.Module, images: Tensor, batch: int = 32) -> Tensor:
    """Features float32 [N, d] on the CPU of images uint8 [N, S, S, 1 or 3]."""
    device = next(network.parameters()).device
    mean, std = (torch.tensor(values, device=device) for values in (IMAGENET_MEAN, IMAGENET_STD))
    rows = []
    for part in images.split(batch):
        pixels = part.to(device).expand(*part.shape[:3], 3) / 255
        rows.append(network(((pixels - mean) / std).permute(0, 3, 1, 2)).float().cpu())
    return torch.cat(rows)
