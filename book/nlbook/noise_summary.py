"""What is known of several noise models on one data set, in numbers: what the page on noise shows, and may be kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from nlkit.data.files import read_bytes
from nlkit.errors import NlkitError

WORST, AGGREGATE = "human, worst", "human, aggregate"
PEOPLE = {"random1": "human, random 1", "random2": "human, random 2", "random3": "human, random 3"}
"""One label a person: the three were drawn at random for each image."""
LIMIT = 2 * 2**20


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Agreement(_Part):
    """Two sets of labels: share of images that both get wrong, and of these the share with the same wrong label.

    Each beside what independent draws from the two transition matrices would give; None where nothing is shared.
    """

    both: float
    both_expected: float
    same: float | None
    same_expected: float | None


class ModelNumbers(_Part):
    """One noise model: its transition matrix [C, C], and numbers that `noise_statistics` defines.

    curve: noise rate over its mean by tenth of the margin, None where there is no classifier.
    """

    rate: float
    matrix: list[list[float]]
    top_share: float | None
    entropy: float | None
    auc: float | None
    auc_error: float | None
    curve: list[float] | None


class NoiseSummary(_Part):
    """Numbers of all models of a data set of `count` images; lifts by two models, agreements by two sets of labels."""

    title: str
    names: list[str]
    count: int
    models: dict[str, ModelNumbers]
    lifts: dict[str, dict[str, float | None]]
    agreements: dict[str, Agreement]
    missing: list[str]

    def _shown(self, hybrids: bool) -> dict[str, ModelNumbers]:
        """One of the three people stands for all; hybrids have a plus in their name."""
        left_out = list(PEOPLE.values())[1:]
        return {n: one for n, one in self.models.items() if n not in left_out and (hybrids or "+" not in n)}

    def matrices(self) -> dict[str, np.ndarray]:
        """Transition matrices [C, C] by model, with the realised rate in the name."""
        return {f"{n}, {100 * one.rate:.0f} %": np.array(one.matrix) for n, one in self._shown(True).items()}

    def rates(self) -> dict[str, np.ndarray]:
        """Noise rates of the classes [C] by model, without hybrids."""
        return {name: 1 - np.diag(np.array(one.matrix)) for name, one in self._shown(False).items()}

    def curves(self) -> dict[str, np.ndarray]:
        """Noise rate over its mean by tenth of the margin [10], without hybrids; empty without a classifier."""
        return {name: np.array(one.curve) for name, one in self._shown(False).items() if one.curve is not None}

    def lift_table(self) -> pd.DataFrame:
        """How much more often two models hit the same image than independent ones would; NaN on the diagonal."""
        return pd.DataFrame(self.lifts, dtype=float).reindex(index=list(self.lifts), columns=list(self.lifts))

    def table(self) -> pd.DataFrame:
        """One row a model: what tells it from the others."""
        return pd.DataFrame({(self.title, name): _row(one) for name, one in self.models.items()}).T

    def agreement_table(self) -> pd.DataFrame:
        """One row a pair: two draws of a model, or two people; what is shared beside what would be by chance."""
        rows = {
            (self.title, name): {
                "both wrong": _percent(one.both, 1),
                "by chance": _percent(one.both_expected, 1),
                "of these the same label": _percent(one.same, 0),
                "the same by chance": _percent(one.same_expected, 0),
            }
            for name, one in self.agreements.items()
        }
        return pd.DataFrame(rows).T


def _row(one: ModelNumbers) -> dict[str, str]:
    rates = 1 - np.diag(np.array(one.matrix))
    return {
        "wrong labels": _percent(one.rate, 1),
        "by class": f"{100 * rates.min():.0f} to {100 * rates.max():.0f} %",
        "most frequent wrong class": _text(one.top_share),
        "entropy": _text(one.entropy),
        "AUC of the margin": f"{_text(one.auc)} ± {_text(one.auc_error)}" if one.auc else "–",
    }


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _percent(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def read_summary(path: Path) -> NoiseSummary:
    """A summary that was kept; raises NlkitError where it is missing or damaged."""
    try:
        return NoiseSummary.model_validate_json(read_bytes(path, LIMIT))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key, again = ".".join(map(str, first["loc"])), "write it again with python -m nlbook.noise_sources"
        raise NlkitError(f"{path}: key '{key}': {first['msg']}; {again}") from None
