"""What a trained method says of each label: the table that `nlkit clean` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from torch import Tensor

from nlkit.data.photos.stored import Images
from nlkit.data.problem import Problem
from nlkit.errors import NlkitError
from nlkit.methods import Method
from nlkit.training import checkpoints
from nlkit.training.loop import Fit

FILE = "evidence.safetensors"


def measure(method: Method, images: Images, labels: Tensor) -> dict[str, Tensor]:
    """Prediction [N], its probability and that of the given label, by the ensemble."""
    probability = method.logits(images)[0].double().softmax(dim=1)
    confidence, prediction = probability.max(dim=1)
    quality = probability.gather(1, labels[:, None])[:, 0]
    return {"prediction": prediction, "confidence": confidence, "quality": quality}


def save_evidence(folder: Path, state: Fit, problem: Problem) -> None:
    """Write what the scores are made of, in full precision, for training and held-out images."""
    assert state.split is not None
    tensors = {"train.p_clean": state.split.p_clean.double().mean(dim=0)}
    parts = {"train": (problem.train.images, problem.train.labels), **problem.tests}
    for name, (images, labels) in parts.items():
        tensors |= {f"{name}.{key}": value for key, value in measure(state.method, images, labels).items()}
    info = {"data": problem.sha256, "threshold": state.split.threshold}
    try:
        checkpoints.write(folder / FILE, tensors, info)
    except (OSError, SafetensorError) as error:
        raise NlkitError(f"{folder / FILE}: cannot write the scores ({error})") from None


def load_evidence(folder: Path, sha256: str) -> tuple[dict[str, np.ndarray], float] | None:
    """Arrays by name, and the threshold of P(clean); None where they are missing, damaged or of other data."""
    try:
        tensors, info = checkpoints.read(folder / FILE)
    except checkpoints.DAMAGE:
        return None
    if info.get("data") != sha256:
        return None
    return {name: value.numpy() for name, value in tensors.items()}, float(info["threshold"])


def train_table(
    paths: Sequence[str], labels: np.ndarray, names: Sequence[str], evidence: dict[str, np.ndarray], threshold: float
) -> pd.DataFrame:
    """One row an image: `path, label, p_clean, suggested_label, confidence`, then the columns that cleanlab users know.

    `confidence` is the probability of the suggested label, `label_quality` that of the given one. A label is an issue
    where P(clean) is not above the threshold and another class is predicted.
    """
    given, predicted = _named(labels, names), _named(evidence["train.prediction"], names)
    p_clean = evidence["train.p_clean"]
    return pd.DataFrame(
        {
            "path": list(paths),
            "label": given,
            "p_clean": _rounded(p_clean),
            "suggested_label": predicted,
            "confidence": _rounded(evidence["train.confidence"]),
            "is_label_issue": (p_clean <= threshold) & (evidence["train.prediction"] != labels),
            "label_quality": _rounded(evidence["train.quality"]),
            "given_label": given,
            "predicted_label": predicted,
        }
    )


def test_table(
    paths: Sequence[str], labels: np.ndarray, names: Sequence[str], evidence: dict[str, np.ndarray]
) -> pd.DataFrame:
    """One row a held-out image: `path, label, predicted_label, confidence, label_quality`."""
    return pd.DataFrame(
        {
            "path": list(paths),
            "label": _named(labels, names),
            "predicted_label": _named(evidence["test.prediction"], names),
            "confidence": _rounded(evidence["test.confidence"]),
            "label_quality": _rounded(evidence["test.quality"]),
        }
    )


def _named(labels: np.ndarray, names: Sequence[str]) -> list[str]:
    return [names[int(label)] for label in labels]


def _rounded(values: np.ndarray) -> np.ndarray:
    """Ten significant digits: enough to rank, and the same text on every machine that agrees that far."""
    return np.array([float(f"{value:.10g}") for value in values])


def class_table(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a given label: images, label issues, their share, and what is most often suggested instead."""
    rows = []
    for label, group in scores.groupby("given_label", sort=False):
        issues = group[group["is_label_issue"]]
        instead = issues["predicted_label"].mode()
        rows.append(
            {
                "label": label,
                "images": len(group),
                "issues": len(issues),
                "share": len(issues) / len(group),
                "most often suggested": "" if instead.empty else instead.iloc[0],
            }
        )
    return pd.DataFrame(rows).sort_values(["share", "images"], ascending=False, ignore_index=True)
