"""Labels of several noise models for the same images, and the numbers that tell the models apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from nlbook import noise_statistics as statistics
from nlbook.contest import percent
from nlkit.data.files import read_bytes
from nlkit.errors import NlkitError
from nlkit.noise import transition_matrix

WORST, AGGREGATE = "human, worst", "human, aggregate"
PEOPLE = {"random1": "human, random 1", "random2": "human, random 2", "random3": "human, random 3"}
"""One label a person: the three were drawn at random for each image."""
LIMIT = 2 * 2**20
Number = Annotated[float, AfterValidator(lambda value: round(float(value), 6))]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Agreement(_Part):
    """Two sets of labels: share of images that both get wrong, and of these the share with the same wrong label.

    Each beside what independent draws from the two transition matrices would give; None where nothing is shared.
    """

    both: Number
    both_expected: Number
    same: Number | None
    same_expected: Number | None


class ModelNumbers(_Part):
    """One noise model: its transition matrix [C, C], and numbers that `noise_statistics` defines.

    curve: noise rate over its mean by tenth of the margin, None where there is no classifier.
    """

    rate: Number
    matrix: list[list[Number]]
    top_share: Number | None
    entropy: Number | None
    auc: Number | None
    auc_error: Number | None
    curve: list[Number] | None

    def row(self) -> dict[str, str]:
        """A row of the table."""
        rates = 1 - np.diag(np.array(self.matrix))
        return {
            "wrong labels": percent(self.rate),
            "by class": f"{100 * rates.min():.0f} to {100 * rates.max():.0f} %",
            "most frequent wrong class": _text(self.top_share),
            "entropy": _text(self.entropy),
            "AUC of the margin": f"{_text(self.auc)} ± {_text(self.auc_error)}" if self.auc else "–",
        }


class NoiseSummary(_Part):
    """Numbers of all models of a data set of `count` images; lifts by two models, agreements by two sets of labels."""

    title: str
    names: list[str]
    count: int
    models: dict[str, ModelNumbers]
    lifts: dict[str, dict[str, Number | None]]
    agreements: dict[str, Agreement]
    missing: list[str]

    def _shown(self, hybrids: bool = False) -> dict[str, ModelNumbers]:
        """One of the three people stands for all; hybrids have a plus in their name."""
        left_out = list(PEOPLE.values())[1:]
        return {n: one for n, one in self.models.items() if n not in left_out and (hybrids or "+" not in n)}

    def matrices(self) -> dict[str, np.ndarray]:
        """Transition matrices [C, C] by model, with the realised rate in the name."""
        return {f"{n}, {100 * one.rate:.0f} %": np.array(one.matrix) for n, one in self._shown(True).items()}

    def rates(self) -> dict[str, np.ndarray]:
        """Noise rates of the classes [C] by model, without hybrids."""
        return {name: 1 - np.diag(np.array(one.matrix)) for name, one in self._shown().items()}

    def curves(self) -> dict[str, np.ndarray]:
        """Noise rate over its mean by tenth of the margin [10], without hybrids; empty without a classifier."""
        return {name: np.array(one.curve) for name, one in self._shown().items() if one.curve is not None}

    def lift_table(self) -> pd.DataFrame:
        """How much more often two models hit the same image than independent ones would; NaN on the diagonal."""
        return pd.DataFrame(self.lifts, dtype=float).reindex(index=list(self.lifts), columns=list(self.lifts))

    def table(self) -> pd.DataFrame:
        """One row a model: what tells it from the others."""
        return pd.DataFrame({(self.title, name): one.row() for name, one in self.models.items()}).T

    def agreement_table(self) -> pd.DataFrame:
        """One row a pair: two draws of a model, or two people; what is shared beside what would be by chance."""
        rows = {(self.title, name): one.model_dump() for name, one in self.agreements.items()}
        names = ["both wrong", "by chance", "of these the same label", "the same by chance"]
        return pd.DataFrame(rows, dtype=float).T.map(percent).set_axis(names, axis="columns")


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def read_summary(path: Path) -> NoiseSummary:
    """A summary that was kept; raises NlkitError where it is missing or damaged."""
    try:
        return NoiseSummary.model_validate_json(read_bytes(path, LIMIT))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key, again = ".".join(map(str, first["loc"])), "write it again with python -m nlbook.noise_sources"
        raise NlkitError(f"{path}: key '{key}': {first['msg']}; {again}") from None


@dataclass(frozen=True)
class NoiseModels:
    """Labels int64 [N] of several noise models by name, for the same images with the same clean labels [N].

    again: a second, independent draw of some models; images: uint8 [N, H, W, channels] where they are here; margin:
    probability of the true class less that of the best other one [N], by classifiers that have not seen the image;
    missing: what this machine lacks.
    """

    title: str
    names: list[str]
    clean: np.ndarray
    labels: dict[str, np.ndarray]
    again: dict[str, np.ndarray]
    images: np.ndarray | None = None
    margin: np.ndarray | None = None
    missing: tuple[str, ...] = ()

    def summary(self) -> NoiseSummary:
        """All numbers of the page."""
        classes, pairs = len(self.names), self._pairs()
        agreed = {name: statistics.agreement(self.clean, *pair, classes) for name, pair in pairs.items()}
        return NoiseSummary(
            title=self.title,
            names=self.names,
            count=len(self.clean),
            models={name: self._numbers(labels) for name, labels in self.labels.items()},
            lifts=self._lifts(),
            agreements={name: Agreement.model_validate(one) for name, one in agreed.items()},
            missing=list(self.missing),
        )

    def hit_rows(self, first: str, second: str, count: int = 9) -> dict[str, np.ndarray]:
        """Images that two models both hit, and that one of them hits only: the first of each class, at most `count`."""
        one, two = self.labels[first] != self.clean, self.labels[second] != self.clean
        rows = {f"{first} and {second}": one & two, f"{first} only": one & ~two, f"{second} only": two & ~one}
        hit = {title: np.flatnonzero(mask) for title, mask in rows.items() if mask.any()}
        firsts = {title: np.sort(np.unique(self.clean[index], return_index=True)[1]) for title, index in hit.items()}
        return {title: index[firsts[title]][:count] for title, index in hit.items()}

    def _numbers(self, labels: np.ndarray) -> ModelNumbers:
        clean, classes, wrong = self.clean, len(self.names), labels != self.clean
        top_share, entropy = statistics.wrong_spread(clean, labels, classes)
        auc = error = curve = None
        if self.margin is not None and wrong.any():
            auc, error = statistics.within_class_auc(self.margin, wrong, clean)
            curve = statistics.rates_by_margin(self.margin, wrong, clean).tolist()
        return ModelNumbers(
            rate=float(wrong.mean()),
            matrix=transition_matrix(clean, labels, classes).tolist(),
            top_share=top_share,
            entropy=entropy,
            auc=auc,
            auc_error=error,
            curve=curve,
        )

    def _lifts(self) -> dict[str, dict[str, float | None]]:
        wrong = {name: labels != self.clean for name, labels in self.labels.items()}
        if any(name in wrong for name in PEOPLE.values()):  # of which the majority and the worst are made
            wrong = {name: mask for name, mask in wrong.items() if name not in (WORST, AGGREGATE)}
        return {
            one: {two: statistics.lift(self.clean, wrong[one], wrong[two]) for two in wrong if two != one}
            for one in wrong
        }

    def _pairs(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Two draws of a model, and each two of the three people."""
        pairs = {f"two draws of {name}": (self.labels[name], other) for name, other in self.again.items()}
        people = [(name, self.labels[name]) for name in PEOPLE.values() if name in self.labels]
        for (one, first), (two, second) in zip(people, [*people[1:], *people[:1]], strict=True):
            pairs[f"{one} and {two.removeprefix('human, ')}"] = first, second
        return pairs
